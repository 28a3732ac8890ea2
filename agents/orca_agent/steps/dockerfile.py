"""What a Dockerfile says, as far as it has to be known before it is built. Lines are joined as the engine does."""

from __future__ import annotations

import re
from typing import Final, Iterable, List

_FROM: Final = re.compile(r"\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_COPIES_FROM: Final = re.compile(r"\s*(?:ONBUILD\s+)?COPY\s.*?--from=(\S+)", re.IGNORECASE)
_COPIES: Final = re.compile(r"\s*(?:ONBUILD\s+)?(?:COPY|ADD)\s", re.IGNORECASE)
_FETCHES: Final = re.compile(r"\s*(?:ONBUILD\s+)*ADD\s.*(?::/|\$|git@)", re.IGNORECASE)
_ESCAPE: Final = re.compile(r"\s*#\s*escape\s*=", re.IGNORECASE)

FETCHES: Final = (
    "ADD with an address or a variable is not allowed: the engine itself would fetch that, past the build's network. "
    "Use COPY for files of the bundle, and RUN with network: true for what comes from elsewhere."
)
ESCAPES: Final = "The directive `escape` is not allowed."


def instructions(dockerfile: str) -> List[str]:
    """One line each: what continues is put together, comments and empty lines are left out."""
    found, begun = [], ""
    for line in dockerfile.lstrip("\ufeff").split("\n"):
        plain = line.rstrip()
        if not plain or plain.lstrip().startswith("#"):
            continue
        if plain.endswith("\\"):
            begun += plain[:-1]
            continue
        found.append(begun + plain)
        begun = ""
    return [*found, begun] if begun else found


def base_images(dockerfile: str) -> List[str]:
    """The images that it begins with or copies from, without its own stages."""
    stages, bases = set(), []
    for line in instructions(dockerfile):
        begins, copies = _FROM.match(line), _COPIES_FROM.match(line)
        name = begins.group(1) if begins else copies.group(1) if copies else ""
        own = name.lower() in stages or name == "scratch" or (copies is not None and name.isdigit())
        if name and not own and "$" not in name:
            bases.append(name)
        if begins and begins.group(2):
            stages.add(begins.group(2).lower())
    return list(dict.fromkeys(bases))


def uses_context(dockerfile: str) -> bool:
    """Whether files of the bundle come into the image; else it is the same whatever they are."""
    return any(_COPIES.match(line) for line in instructions(dockerfile))


def refusal(dockerfile: str, triggers: Iterable[str] = ()) -> str:
    """Why it is not built, or "". ``triggers`` are the instructions that its base images add."""
    if any(_ESCAPE.match(line) for line in dockerfile.lstrip("\ufeff").split("\n")):
        return ESCAPES
    if any(_FETCHES.match(line) for line in [*instructions(dockerfile), *triggers]):
        return FETCHES
    return ""
