"""YAML that a person wrote, with the place of every value, so that an error can name line and column.

The core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema): ``no`` is a word, ``010`` is ten. Aliases
are refused: with them a few lines become any size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

MOST_CHARACTERS = 512 * 1024
_DEEPEST = 50
Path = tuple[str | int, ...]

_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value", "seq", "map")
)


@dataclass(frozen=True)
class Problem:
    """What is wrong, in which field (``steps.2.needs``), at which line and column, both from 1."""

    line: int
    column: int
    field: str
    message: str


class Unreadable(Exception):
    """The source cannot be used; ``problems`` say why, in the order of their lines."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems[0].message)
        self.problems = sorted(problems, key=lambda problem: (problem.line, problem.column))


class Document:
    """A document that was read: ``value`` as plain Python."""

    def __init__(self, source: str) -> None:
        """Raises ``Unreadable``."""
        self._marks: dict[Path, tuple[int, int]] = {}
        self._texts: dict[Path, str] = {}
        self._twice: list[Problem] = []
        try:
            self.value: Any = self._read(source)
        except RecursionError:
            raise Unreadable([Problem(1, 1, "", "It is nested too deeply.")]) from None
        if self._twice:
            raise Unreadable(self._twice)

    def text(self, path: Path) -> str:
        """A single value as it was written: ``007`` stays that."""
        return self._texts[path]

    def problem(self, path: Path, message: str) -> Problem:
        """A problem at the value of this path, or at the nearest value around it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self._marks:
                line, column = self._marks[path[:end]]
                return Problem(line, column, ".".join(map(str, path)), message)
        return Problem(1, 1, ".".join(map(str, path)), message)

    def _read(self, source: str) -> Any:
        if len(source) > MOST_CHARACTERS:
            raise Unreadable([Problem(1, 1, "", f"It has more than {MOST_CHARACTERS:,} characters.")])
        try:
            depth = 0
            for event in yaml.parse(source, Loader=yaml.SafeLoader):
                if isinstance(event, yaml.AliasEvent):
                    raise Unreadable([_at(event.start_mark, "Aliases (*name) cannot be used here.")])
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if depth > _DEEPEST:  # each token costs the parser the more the deeper it is
                    raise Unreadable([_at(event.start_mark, "It is nested too deeply.")])
            root = yaml.compose(source, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            what = " ".join(part for part in (error.context, error.problem) if part)
            raise Unreadable([_at(error.problem_mark or error.context_mark, f"This is not YAML: {what}.")]) from error
        except yaml.YAMLError as error:
            raise Unreadable([Problem(1, 1, "", f"This is not YAML: {' '.join(str(error).split())}.")]) from error
        if root is None:
            raise Unreadable([Problem(1, 1, "", "It is empty.")])
        return self._plain(root, ())

    def _plain(self, node: yaml.Node, path: Path) -> Any:
        self._marks[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if node.tag not in _TAGS:
            raise Unreadable([self.problem(path, f"The tag {node.tag} cannot be used here.")])
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        self._texts[path] = node.value
        quoted = isinstance(node, yaml.ScalarNode) and node.style is not None
        return node.value if quoted else _scalar(node.value)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Unreadable([_at(key.start_mark, "A name is expected here.")])
            if key.value in found:
                self._twice.append(_at(key.start_mark, f"{key.value} is there twice.", (*path, key.value)))
            found[key.value] = self._plain(value, (*path, key.value))
            # An error in a value is shown where the line begins: at its name.
            self._marks[*path, key.value] = (key.start_mark.line + 1, key.start_mark.column + 1)
        return found


def _at(mark: Any, message: str, path: Path = ()) -> Problem:
    field = ".".join(map(str, path))
    return Problem(mark.line + 1, mark.column + 1, field, message) if mark else Problem(1, 1, field, message)


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text
