"""The command line as it is, in front of a portal that is only its HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from agents.orca_cli.app import app
from agents.orca_cli.profiles import Profile, Profiles

URL = "https://orca.example.org"
WORKSPACE = "01k00000000000000000000001"
SCRIPT = "01k00000000000000000000002"
RUN = "01k00000000000000000000003"
STEP = "01k00000000000000000000004"

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


def answer(body: Any = None, status: int = 200, **headers: str) -> httpx.Response:
    """What the API would say."""
    if body is None:
        return httpx.Response(status)
    return httpx.Response(status, json=body, headers=headers)


def problem(code: str, status: int, message: str = "No.", hint: str = "", **fields: str) -> httpx.Response:
    return answer({"code": code, "message": message, "hint": hint, "fields": fields}, status)


def page(*entries: Any, following: str | None = None) -> httpx.Response:
    return answer({"next": following, "previous": None, "results": list(entries)})


def events(*told: tuple[str, Any]) -> httpx.Response:
    text = "".join(f"event: {kind}\ndata: {json.dumps(body)}\n\n" for kind, body in told)
    return httpx.Response(200, content=text.encode(), headers={"content-type": "text/event-stream"})


def workspace(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "id": WORKSPACE,
        "name": "lab",
        "state": "ready",
        "state_reason": "",
        "stop_requested_at": None,
        "instance_type": "t3.small",
        "volume_gb": 20,
        "bucket": f"orca-{WORKSPACE}",
        "active_run": None,
        "instances": [],
        "ssh": None,
        "created_at": "2026-11-21T12:00:00Z",
    }
    return given | more


def step(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "id": STEP,
        "name": "hello",
        "state": "running",
        "attempt": 1,
        "instance_id": "i-1",
        "log_lines": 0,
        "exit_code": None,
        "signal": None,
        "message": "",
        "seconds": 1.0,
        "outputs": [],
    }
    return given | more


def run(state: str = "running", *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "id": RUN,
        "name": "hello",
        "state": state,
        "via": "api",
        "seconds": 1.0,
        "created_at": "2026-11-21T12:00:00Z",
        "steps": list(steps) or [step(state=state)],
    }
    return given | more


def lines(*texts: str, first: int = 1, stream: str = "out") -> httpx.Response:
    return answer([{"number": n, "stream": stream, "at": 0.0, "text": text} for n, text in enumerate(texts, first)])


@dataclass
class Portal:
    """Answers as it was told, in order (the last again and again), and remembers what it was asked."""

    answers: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)
    asked: list[httpx.Request] = field(default_factory=list)

    def says(self, method: str, path: str, *told: Answer) -> None:
        self.answers[method, path] = list(told)

    def handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        path = str(request.url.copy_with(query=None)).removeprefix(f"{URL}/api/v1/")
        told = self.answers.get((request.method, path))
        if not told:
            return problem("not_found", 404, f"nobody told the test what {request.method} {path} answers")
        now = told.pop(0) if len(told) > 1 else told[0]
        if isinstance(now, Exception):
            raise now
        if isinstance(now, httpx.Response):
            return httpx.Response(now.status_code, headers=now.headers, stream=httpx.ByteStream(now.content))
        return now(request)

    def sent(self, method: str, path: str) -> list[httpx.Request]:
        """Those requests, in order."""
        where = path if path.startswith("http") else f"{URL}/api/v1/{path}"
        return [r for r in self.asked if r.method == method and str(r.url.copy_with(query=None)) == where]

    def bodies(self, method: str, path: str) -> list[Any]:
        return [json.loads(request.content) for request in self.sent(method, path)]


@pytest.fixture
def portal(monkeypatch: pytest.MonkeyPatch) -> Portal:
    """What answers instead of the network, whichever client asks."""
    made = Portal()
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda self, request: made.handle(request))
    return made


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own folder, and none of what whoever runs the tests may have set."""
    for name in ("ORCA_URL", "ORCA_TOKEN", "ORCA_PROFILE", "ORCA_WORKSPACE", "ORCA_DEBUG", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ORCA_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was slept; nobody really sleeps."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


@pytest.fixture
def logged_in(home: Path) -> Profile:
    profile = Profile("default", URL, "orca_secret", "ada@example.org")
    Profiles(home / "config" / "config.ini").put(profile)
    return profile


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def orca(portal: Portal) -> Iterator[Callable[..., Done]]:
    """The command line, called."""
    runner = CliRunner()

    def call(*arguments: str, typed: str = "") -> Done:
        found = runner.invoke(app, list(arguments), input=typed, prog_name="orca", catch_exceptions=False)
        return Done(found.exit_code, found.stdout, found.stderr)

    yield call
