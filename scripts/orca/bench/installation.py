"""Orca itself, started as a newcomer starts it, in a home and on ports of its own: for benchmarks and tests.

Every process is real. A `Person` is somebody who has signed up, a `Lab` their workspace.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from scripts.orca.console import ScriptError
from scripts.orca.demo.client import Browser
from scripts.orca.paths import ROOT
from scripts.orca.run.ports import free_port

START_SECONDS: Final = 300.0
BUILD_SECONDS: Final = 300.0
FINAL: Final = {"succeeded", "failed", "cancelled", "timed_out", "lost"}
# What whoever starts it may have set for itself, and would mislead an Orca of its own.
_OWN: Final = {
    "ORCA_ENV_FILE",
    "SECRET_KEY",
    "DATABASE_URL",
    "ORCA_BROKER_URL",
    "EMAIL_BACKEND",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "DJANGO_SETTINGS_MODULE",
}


@dataclass
class Orca:
    """One running installation."""

    home: Path
    port: int
    cloud_port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def cloud_url(self) -> str:
        return f"http://127.0.0.1:{self.cloud_port}"

    def pid_of(self, name: str) -> int:
        """The process id of one of Orca's own processes (``web``, ``worker``, ``relay``, ``cloud``)."""
        return _supervised(self.home)[name]

    def kill(self, name: str) -> None:
        """SIGKILL one of Orca's own processes."""
        self.kill_pid(self.pid_of(name))

    def kill_pid(self, pid: int) -> None:
        """SIGKILL a process."""
        os.kill(pid, signal.SIGKILL)

    def environment(self) -> dict[str, str]:
        """Variables that point AWS tools at its cloud, as the platform's administrator."""
        keys = json.loads((self.home / "cloud" / "credentials.json").read_text())["accounts"]["100000000001"]
        return {
            "AWS_ENDPOINT_URL": self.cloud_url,
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": keys["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"],
        }


def _supervised(home: Path) -> dict[str, int]:
    from supervisor.options import ClientOptions
    from supervisor.supervisorctl import Controller

    options = ClientOptions()
    options.realize(["-c", str(next((home / "run").glob("*.conf")))])
    found = Controller(options).get_supervisor().getAllProcessInfo()
    return {process["name"]: process["pid"] for process in found}


@dataclass
class Person:
    """Somebody with an account, a token and (once asked for) workspaces."""

    url: str
    email: str
    password: str
    api: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.api = httpx.Client(base_url=f"{self.url}/api/v1/", timeout=60, trust_env=False)

    def ask(self, method: str, path: str, **given: Any) -> Any:
        """A call that must succeed; its answer."""
        answer = self.api.request(method, path, **given)
        if not answer.is_success:
            raise ScriptError(f"{method} {path} answered {answer.status_code}", detail=answer.text)
        return answer.json() if answer.content else None

    def get(self, path: str, /, **params: Any) -> Any:
        return self.ask("GET", path, params=params)

    def post(self, path: str, body: dict[str, Any] | None = None, **given: Any) -> Any:
        return self.ask("POST", path, **({"json": body or {}} | given))

    def until(self, path: str, done: Callable[[Any], bool], *, seconds: float = 60) -> Any:
        """Ask until the answer is as wanted."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.get(path)
            if done(found):
                return found
            if time.monotonic() > deadline:
                raise ScriptError(f"{path} is not there after {seconds:.0f} s", detail=json.dumps(found)[:2000])
            time.sleep(0.1)

    def upload(self, name: str, **files: str | bytes) -> str:
        """A script of these files (``main_py="…"`` becomes ``main.py``); its id."""
        parts = [
            ("files", (path.replace("_", "."), text.encode() if isinstance(text, str) else text))
            for path, text in files.items()
        ]
        return str(self.post("scripts/", data={"name": name}, json=None, files=parts)["script"])

    def run(self, workspace: str, script: str, **given: Any) -> Any:
        """Start a run."""
        return self.post("runs/", {"workspace": workspace, "script": script, **given})

    def ended(self, run: Any, *, seconds: float = 60) -> Any:
        """The run when it has ended."""
        return self.until(f"runs/{run['id']}/", lambda found: found["state"] in FINAL, seconds=seconds)

    def is_answered(self) -> bool:
        """Whether the portal answers them now."""
        try:
            return self.api.get("me/").is_success
        except httpx.HTTPError:
            return False

    def log(self, run: Any) -> list[str]:
        """All that its first step printed, page by page."""
        found: list[dict[str, Any]] = []
        while more := self.get(f"runs/{run['id']}/steps/{run['steps'][0]['id']}/log/", after=len(found)):
            found += more
        return [line["text"] for line in found if line["stream"] != "orca"]


@dataclass
class Lab:
    """A person with a workspace that is ready."""

    person: Person
    workspace: str

    def script(self, text: str, **more: str) -> str:
        """A Python script with this text; its id."""
        return self.person.upload(f"script-{secrets.token_hex(4)}", main_py=text, **more)

    def run(self, text: str, **given: Any) -> Any:
        """Run this text as a Python script; the run as it was accepted."""
        return self.person.run(self.workspace, self.script(text), **given)


@contextmanager
def orca_running(folder: Path, **settings: str) -> Iterator[Orca]:
    """Orca, up, in the new folder ``folder/home``; ``settings`` are environment variables. Stopped at the end."""
    home, port, cloud_port = folder / "home", free_port(), free_port()
    kept = {name: value for name, value in os.environ.items() if name not in _OWN and not name.startswith("AWS_ACCESS")}
    own: Mapping[str, str] = {"ORCA_HOME": str(home), "ORCA_SSH_PORT": str(free_port()), "ORCA_TERRAFORM_SILENCE": "10"}
    with (folder / "orca.log").open("w+") as log:
        process = subprocess.Popen(
            [str(ROOT / "scripts" / "run"), "--port", str(port), "--cloud-port", str(cloud_port)],
            cwd=ROOT,
            env={**kept, **own, **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        orca = Orca(home, port, cloud_port, process)
        try:
            _wait_until_up(orca, Path(log.name))
            yield orca
        finally:
            process.terminate()
            process.wait(120)


def _wait_until_up(orca: Orca, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "Orca is up" not in log.read_text():
        if orca.process.poll() is not None or time.monotonic() > deadline:
            raise ScriptError("scripts/run did not come up.", detail=log.read_text())
        time.sleep(0.2)


def person_signed_up(orca: Orca) -> Person:
    """Somebody new, through the real form and the link in the real mail, with a token."""
    person = Person(orca.url, f"p-{secrets.token_hex(5)}@example.org", secrets.token_urlsafe(16))
    browser = Browser(orca.url)
    form = {"email": person.email, "password1": person.password, "password2": person.password}
    browser.submit("/accounts/signup/", form)
    browser.get(urlsplit(link_mailed(orca, person.email)).path)
    wanted = {"email": person.email, "password": person.password, "name": "tests"}
    person.api.headers["Authorization"] = f"Bearer {person.post('tokens/', wanted)['token']}"
    return person


def link_mailed(orca: Orca, email: str) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for mail in (orca.home / "mail").glob("*"):
            text = mail.read_text().replace("=\n", "")
            found = re.search(r"https?://\S+/confirm-email/\S+", text)
            if found and f"To: {email}" in text:
                return found.group()
        time.sleep(0.1)
    raise ScriptError(f"No mail came to {email}.")


def lab_built(orca: Orca, name: str = "lab") -> Lab:
    """Somebody new with a workspace, ready."""
    person = person_signed_up(orca)
    made = person.post("workspaces/", {"name": name})
    path = f"workspaces/{made['id']}/"
    found = person.until(path, lambda w: w["state"] in {"ready", "failed", "degraded"}, seconds=BUILD_SECONDS)
    if found["state"] != "ready":
        raise ScriptError(f"The workspace is {found['state']}.", detail=json.dumps(found))
    return Lab(person, made["id"])
