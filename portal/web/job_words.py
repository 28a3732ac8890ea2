"""A job's data and variables as people type them, and back: conditions, corners, lists, lines."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

# Longest first: “<=” is not “<”. The names are those of the data description.
_SIGNS = {
    "!=": "neq",
    "<=": "lte",
    ">=": "gte",
    "^=": "startsWith",
    "$=": "endsWith",
    "*=": "contains",
    "<": "lt",
    ">": "gt",
    "=": "eq",
}
_CONDITION = re.compile(r"(?P<name>[^\s<>=!^$*]+)\s*(?P<sign>!=|<=|>=|\^=|\$=|\*=|<|>|=|\bin\b)\s*(?P<value>.*)")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def words(text: str) -> list[str]:
    """What stands between commas, spaces and ends of lines."""
    return [word for word in re.split(r"[\s,]+", text) if word]


def lines(text: str) -> list[str]:
    """The lines that say something."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def pairs(text: str) -> dict[str, str]:
    """``NAME=value`` lines. Raises ``ValueError`` in words."""
    found = {}
    for line in lines(text):
        name, sign, value = line.partition("=")
        if not sign or not name.strip():
            raise ValueError(f"“{line[:40]}” is not like NAME=value.")
        found[name.strip()] = value
    return found


def pairs_text(found: Mapping[str, str]) -> str:
    """The same as lines."""
    return "\n".join(f"{name}={value}" for name, value in found.items())


def conditions(text: str) -> dict[str, Any]:
    """``eo:cloud_cover <= 20``, one a line, as a query. Raises ``ValueError`` in words."""
    found: dict[str, Any] = {}
    for line in lines(text):
        match = _CONDITION.fullmatch(line)
        if match is None or not match["value"]:
            raise ValueError(f"“{line[:60]}” is not like eo:cloud_cover <= 20.")
        name, sign = match["name"], match["sign"]
        if sign == "in":
            value: Any = [_value(part.strip()) for part in match["value"].split(",") if part.strip()]
        else:
            value = _value(match["value"].strip())
        known = found.setdefault(name, {})
        known["in" if sign == "in" else _SIGNS[sign]] = value
    return {name: asked["eq"] if set(asked) == {"eq"} else asked for name, asked in found.items()}


def _value(text: str) -> Any:
    """A number, true or false where it reads so; in quotes it is text."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1]
    if text in {"true", "false"}:
        return text == "true"
    if _NUMBER.fullmatch(text):
        number = float(text)
        return int(number) if number.is_integer() and abs(number) < 1e15 and not set(text) & set(".eE") else number
    return text


def conditions_text(query: Mapping[str, Any]) -> str:
    """A query as lines."""
    signs = {name: sign for sign, name in _SIGNS.items()}
    said = []
    for name, asked in query.items():
        for kind, value in (asked if isinstance(asked, Mapping) else {"eq": asked}).items():
            if kind == "in":
                said.append(f"{name} in {', '.join(_value_text(each) for each in value)}")
            else:
                said.append(f"{name} {signs.get(kind, '=')} {_value_text(value)}")
    return "\n".join(said)


def _value_text(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if _value(value) != value else value
    return json.dumps(value)


def instant(text: str) -> str:
    """The same instant as people write it: UTC as Z."""
    return f"{text.removesuffix('+00:00')}Z" if text.endswith("+00:00") else text


def corners(bbox: Sequence[Any]) -> tuple[Any, ...]:
    """West, south, east and north of a box in either of its ways to be written; empty texts where there is none."""
    flat = [part for corner in bbox for part in corner] if bbox and isinstance(bbox[0], Sequence) else list(bbox)
    return tuple(flat) if len(flat) == 4 else ("", "", "", "")


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their names, texts of several lines are written as such."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.SequenceNode:
    plain = all(isinstance(part, str | int | float) for part in value) and len(str(value)) < 90
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=plain)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def as_yaml(submission: Mapping[str, Any]) -> str:
    """A submission as a file for ``orca job submit``."""
    return yaml.dump(dict(submission), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
