"""What goes wrong, in a person's words, and the exit code that tells a script which kind it was."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes. While a run is followed the script's own code counts: all other trouble is ``ORCA`` then."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    LOGIN = 3
    NOT_FOUND = 4
    CONFLICT = 5
    UNREACHABLE = 6
    TIMED_OUT = 124
    ORCA = 125
    INTERRUPTED = 130


class CliError(Exception):
    """Something that the person is told: one sentence, and what to do next."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "error",
        fields: Mapping[str, str] | None = None,
        exit_code: int = Exit.REFUSED,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.fields = dict(fields or {})
        self.exit_code = exit_code

    def body(self) -> dict[str, Any]:
        """The same for programs, in the API's own shape."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "fields": self.fields}

    def lines(self) -> list[str]:
        """The message with what is wrong with which input, and the hint below."""
        said = [f"{name}: {text}" for name, text in self.fields.items() if text and text not in self.message]
        message = self.message if not said else f"{self.message} ({'; '.join(said)})"
        return [message, *([self.hint] if self.hint else [])]
