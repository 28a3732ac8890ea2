"""Reading untrusted JSON: a value has the type and size that we expect, or `Malformed` says which has not.

Keys that nobody asks for are ignored, so that two versions of a message can live side by side.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Callable, Mapping, Optional, Pattern, Tuple, TypeVar

T = TypeVar("T")

ID = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")
SHA256 = re.compile(r"[0-9a-f]{64}")
IMAGE = re.compile(r"[a-z0-9][a-z0-9._/-]{0,126}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?")
IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


UNSAFE = re.compile(r"[^A-Za-z0-9._+=@-]")
SAFE_LENGTH = 150


class ProtocolError(ValueError):
    """A message that must not be used. ``code`` is stable and says why."""

    code = "protocol_error"


class Malformed(ProtocolError):
    """Not JSON, or a value is missing or has the wrong type, form or size."""

    code = "malformed"


class TooLarge(ProtocolError):
    """More bytes than a message may have."""

    code = "too_large"


def load_object(text: str | bytes, where: str) -> Fields:
    """Parse JSON text that must hold an object; ``where`` is how errors call it. Raises `Malformed`."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{where} is not valid JSON") from error
    return Fields.of(value, where)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def clean(value: object, where: str, limit: int) -> str:
    """``value`` as text of at most ``limit`` characters that UTF-8 can carry and that holds no NUL."""
    if not isinstance(value, str):
        raise Malformed(f"{where} is not text")
    if len(value) > limit:
        raise Malformed(f"{where} has more than {limit} characters")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Malformed(f"{where} is not valid Unicode") from error
    if "\0" in value:
        raise Malformed(f"{where} holds a NUL character")
    return value


def matched(value: object, where: str, pattern: Pattern[str]) -> str:
    """``value`` as text that ``pattern`` matches from end to end."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Malformed(f"{where} has the wrong form")
    return value


class Fields:
    """An object read field by field. Without a default, a missing or null key is an error."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = values
        self.where = where

    @classmethod
    def of(cls, value: object, where: str) -> Fields:
        if not isinstance(value, dict):
            raise Malformed(f"{where} is not an object")
        return cls(value, where)

    def _name(self, key: str) -> str:
        return f"{self.where}.{key}"

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self._values.get(key) is not None

    def _take(self, key: str, default: object) -> object:
        value = self._values.get(key)
        if value is None:
            if default is None:
                raise Malformed(f"{self._name(key)} is missing")
            return default
        return value

    def text(self, key: str, *, limit: int = 200, default: Optional[str] = None) -> str:
        return clean(self._take(key, default), self._name(key), limit)

    def match(self, key: str, pattern: Pattern[str], *, default: Optional[str] = None) -> str:
        if default is not None and not self.has(key):
            return default
        return matched(self._take(key, default), self._name(key), pattern)

    def identifier(self, key: str) -> str:
        """A ULID in lower case."""
        return self.match(key, ID)

    def choice(self, key: str, choices: frozenset[str]) -> str:
        value = self._take(key, None)
        if not isinstance(value, str) or value not in choices:
            raise Malformed(f"{self._name(key)} is none of {', '.join(sorted(choices))}")
        return value

    def integer(self, key: str, *, low: int = 0, high: int = 2**53, default: Optional[int] = None) -> int:
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Malformed(f"{self._name(key)} is not an integer from {low} to {high}")
        return value

    def number(self, key: str, *, high: float = 1e12, default: Optional[float] = None) -> float:
        return _number(self._take(key, default), self._name(key), high)

    def flag(self, key: str, *, default: Optional[bool] = None) -> bool:
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise Malformed(f"{self._name(key)} is neither true nor false")
        return value

    def plain(self) -> Mapping[str, Any]:
        """All of the object as it came."""
        return self._values

    def child(self, key: str) -> Fields:
        return Fields.of(self._take(key, None), self._name(key))

    def child_or_none(self, key: str) -> Optional[Fields]:
        return self.child(key) if self.has(key) else None

    def children(self, key: str, *, limit: int, length: int) -> Mapping[str, Fields]:
        """The objects in an object, by their names of at most ``length`` characters; a missing one holds none."""
        values = self.child(key)._values if self.has(key) else {}
        if len(values) > limit:
            raise Malformed(f"{self._name(key)} has more than {limit} entries")
        where = self._name(key)
        return {clean(name, where, length): Fields.of(value, f"{where}.{name}") for name, value in values.items()}

    def items(self, key: str, read: Callable[[object, str], T], *, limit: int) -> Tuple[T, ...]:
        """At most ``limit`` items, each read with ``read(value, where)``; a missing list is empty."""
        value = self._values.get(key)
        if value is None:
            return ()
        if not isinstance(value, (list, tuple)):
            raise Malformed(f"{self._name(key)} is not a list")
        if len(value) > limit:
            raise Malformed(f"{self._name(key)} has more than {limit} items")
        return tuple(read(item, f"{self._name(key)}[{index}]") for index, item in enumerate(value))

    def objects(self, key: str, read: Callable[[Fields], T], *, limit: int) -> Tuple[T, ...]:
        return self.items(key, lambda value, where: read(Fields.of(value, where)), limit=limit)

    def texts(self, key: str, *, limit: int, length: int) -> Tuple[str, ...]:
        return self.items(key, lambda value, where: clean(value, where, length), limit=limit)

    def variables(self, key: str, *, limit: int, length: int) -> Mapping[str, str]:
        """An object of environment variables: names that a shell takes, values of at most ``length``."""
        if not self.has(key):
            return {}
        values = self.child(key)._values
        if len(values) > limit:
            raise Malformed(f"{self._name(key)} has more than {limit} entries")
        where = self._name(key)
        return {matched(name, where, VARIABLE): clean(value, where, length) for name, value in values.items()}


def _number(value: object, where: str, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Malformed(f"{where} is not a number")
    if not 0 <= value <= high or not math.isfinite(value):
        raise Malformed(f"{where} is not from 0 to {high:g}")
    return float(value)


def read_number(value: object, where: str) -> float:
    """A non-negative finite number that stands in a list."""
    return _number(value, where, 1e12)


def relative_path(path: str, where: str) -> str:
    """``path`` if it stays inside the folder that it is relative to; raises `Malformed`."""
    if any(part in {"", ".", ".."} for part in path.split("/")):
        raise Malformed(f"{where} is not a plain relative path")
    return path


def safe_name(text: str) -> str:
    """A name that a file can have anywhere, made of any text: what might lead out or hide becomes ``_``.

    One that is too long loses its middle, so that it keeps its suffix.
    """
    name = UNSAFE.sub("_", text)
    if len(name) > SAFE_LENGTH:
        name = name[: SAFE_LENGTH - 50] + name[-50:]
    return "_" + name[1:] if name.startswith(".") or not name else name


def public_key(value: object, where: str) -> str:
    """One line as it stands in ``authorized_keys``."""
    key = clean(value, where, 16_384).strip()
    if not key or any(ord(character) < 32 for character in key):
        raise Malformed(f"{where} is not one line")
    return key
