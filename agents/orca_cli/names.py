"""Finding things by what people call them: a name, an id, or nothing where there is only one."""

from __future__ import annotations

import difflib
import re
from typing import Any

from .api import Api
from .errors import CliError, Exit

_ID = re.compile(r"[0-9][0-9a-z]{25}")


def is_id(text: str) -> bool:
    """Whether this is an identifier of Orca's."""
    return _ID.fullmatch(text) is not None


def named(api: Api, kind: str, name: str) -> Any:
    """The ``kind`` (``script``) with this name or id. Raises ``CliError`` that says which there are."""
    path = f"{kind}s/"
    if is_id(name):
        return api.get(f"{path}{name}/")
    found = list(api.find(path, name=name))
    exact = [entry for entry in found if entry["name"] == name]
    if exact:
        return exact[0]
    known = [str(entry["name"]) for entry in api.find(path)]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        hint = f"Did you mean {' or '.join(close)}?"
    elif known:
        hint = f"There are: {', '.join(sorted(known)[:10])}."
    else:
        hint = {
            "workspace": "You have none yet: orca workspace create lab",
            "script": "You have none yet: orca script push FILE",
            "pipeline": "You have none yet: orca pipeline apply FILE",
            "job": "You have none yet: orca job submit FILE",
        }.get(kind, "You have none yet.")
    raise CliError(f"There is no {kind} called {name}.", hint=hint, code="not_found", exit_code=Exit.NOT_FOUND)


def workspace(api: Api, name: str) -> Any:
    """The workspace with this name or id; without one the only one. Raises ``CliError``."""
    if name:
        return named(api, "workspace", name)
    found = [entry for entry in api.find("workspaces/") if entry["state"] != "destroyed"]
    if len(found) == 1:
        return found[0]
    if not found:
        raise CliError(
            "You have no workspace yet.",
            hint="Make one: orca workspace create lab",
            code="no_workspace",
            exit_code=Exit.NOT_FOUND,
        )
    names = ", ".join(sorted(str(entry["name"]) for entry in found))
    raise CliError(
        "You have several workspaces.",
        hint=f"Name one of: {names} (ORCA_WORKSPACE names the usual one).",
        code="which_workspace",
        exit_code=Exit.USAGE,
    )
