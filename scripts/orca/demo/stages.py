"""The stages of a demo: each is announced, timed, and explained when it fails."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scripts.orca.console import ScriptError, say
from scripts.orca.paths import HOME, LOGS, private_folder
from scripts.orca.run.configuration import Configuration

_LOG_LINES = 15


@dataclass(frozen=True)
class Stage:
    """A stage that has ended well."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Result:
    """What a demo showed. ``facts`` are for the person who reads along: commands and addresses."""

    demo: str
    scenario: str
    stages: list[Stage]
    seconds: float
    facts: dict[str, str]

    def line(self) -> str:
        """One JSON object on one line."""
        return json.dumps(asdict(self))


@dataclass
class Walk:
    """One walk through a scenario, with a folder of its own for keys and files, which stays."""

    scenario: str
    configuration: Configuration
    stages: list[Stage] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(dir=private_folder(HOME / "demo"))))
    _began: float = field(default_factory=time.monotonic)

    @contextmanager
    def stage(self, name: str, *logs: str) -> Iterator[None]:
        """One stage; ``logs`` name the services whose logs say why it failed."""
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            raise self._explained(name, error, logs) from error
        seconds = round(time.monotonic() - began, 2)
        self.stages.append(Stage(name, seconds))
        say(f"  {name:<34} {seconds:6.1f} s")

    def result(self) -> Result:
        """What to report of a walk that has ended well."""
        seconds = round(time.monotonic() - self._began, 2)
        return Result("ok", self.scenario, list(self.stages), seconds, dict(self.facts))

    def _explained(self, name: str, error: Exception, logs: tuple[str, ...]) -> ScriptError:
        message = error.message if isinstance(error, ScriptError) else f"{type(error).__name__}: {error}"
        hint = (
            error.hint if isinstance(error, ScriptError) and error.hint else "The logs below and in full: " + str(LOGS)
        )
        parts = [error.detail] if isinstance(error, ScriptError) and error.detail else []
        for log in logs:
            path = LOGS / f"{log}.log"
            if path.is_file():
                lines = path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
                parts.append("\n".join([f"--- the end of {path}", *lines]))
        return ScriptError(f"The demo failed at “{name}”: {message}", hint, "\n".join(parts))
