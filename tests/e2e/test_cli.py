"""The command line as a person has it: a process, in front of Orca itself, with a browser and the OpenSSH client."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.orca.bench.installation import Lab
from scripts.orca.demo.client import Browser
from scripts.orca.paths import ROOT
from tests.fixtures.cloud import wait_until

pytestmark = pytest.mark.cloud

SPEAKS = """
import os, sys
print("hello", *sys.argv[1:], os.environ.get("LEVEL"), flush=True)
print("careful", file=sys.stderr)
os.makedirs("output", exist_ok=True)
open("output/said.txt", "w").write("hello")
sys.exit(int(sys.argv[1]))
"""
WAITS = """
import time
print("waiting", flush=True)
time.sleep(120)
"""
PIPELINE = """
name: {name}
workspace: lab
parameters: {{word: nothing}}
steps:
  - name: write
    script: {name}-write
    arguments: ["${{{{ parameters.word }}}}"]
  - name: read
    script: {name}-read
"""


class Person:
    """Somebody at a terminal, in a home of their own."""

    def __init__(self, lab: Lab, home: Path) -> None:
        self.lab, self.home = lab, home
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCA_", "DISPLAY"))}
        self.environment = {
            **kept,
            "HOME": str(home),
            "ORCA_CONFIG_DIR": str(home / "config"),
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "agents.orca_cli", *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # As from a terminal: what runs in the background of a shell has been told to ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (it is one call)
        )

    def orca(self, *arguments: str, code: int = 0) -> str:
        """What the command says on stdout; it has to end with ``code``."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str, code: int = 0) -> Any:
        ours = arguments.index("--") if "--" in arguments else len(arguments)
        return json.loads(self.orca(*arguments[:ours], "--json", *arguments[ours:], code=code))

    def script(self, name: str, text: str) -> str:
        (self.home / f"{name}.py").write_text(text)
        return f"{name}.py"


@pytest.fixture
def person(lab: Lab, tmp_path: Path) -> Iterator[Person]:
    """Logged in with the lab's token."""
    person = Person(lab, tmp_path)
    token = str(lab.person.api.headers["Authorization"]).removeprefix("Bearer ")
    person.environment |= {"ORCA_URL": lab.person.url, "ORCA_TOKEN": token}
    yield person


@pytest.fixture
def name() -> str:
    """One that no other test has."""
    return f"cli-{secrets.token_hex(4)}"


def test_logging_in_by_browser_and_out(lab: Lab, tmp_path: Path) -> None:
    person = Person(lab, tmp_path)
    process = person.start("login", lab.person.url)
    assert process.stderr is not None
    page = next(found for line in process.stderr if (found := re.search(r"https?://\S+/device/\?code=\S+", line)))
    drain = threading.Thread(target=process.stderr.read)
    drain.start()
    browser = Browser(lab.person.url)
    browser.submit("/accounts/login/", {"login": lab.person.email, "password": lab.person.password})
    code = page.group().rpartition("=")[2]
    shown = browser.get(f"/device/?code={code}").text
    assert code in shown
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', shown)
    assert token is not None
    answer = browser.http.post(
        "/device/",
        data={"code": code, "decision": "allow", "csrfmiddlewaretoken": token[1]},
        headers={"Referer": f"{lab.person.url}/device/"},
    )
    assert "Allowed" in answer.text
    assert process.wait(20) == 0
    drain.join(10)

    config = tmp_path / "config" / "config.ini"
    assert config.stat().st_mode & 0o777 == 0o600
    assert person.json("whoami")["email"] == lab.person.email
    kept = config.read_text()
    person.orca("logout")
    assert "orca_" not in config.read_text()
    config.write_text(kept)
    person.orca("whoami", code=3)  # the token itself is revoked, not only forgotten


def test_a_local_file_runs_and_its_exit_code_is_the_commands(person: Person, name: str) -> None:
    path = person.script(name, SPEAKS)
    started = person.start("run", path, "-e", "LEVEL=info", "-o", "got", "--", "7", "it's; $HOME")
    out, err = started.communicate(timeout=120)
    assert (started.returncode, out) == (7, "hello 7 it's; $HOME info\n"), err
    assert "careful" in err
    assert (person.home / "got" / "said.txt").read_text() == "hello"
    run = person.json("run", name, "--", "0")
    assert (run["state"], run["steps"][0]["exit_code"]) == ("succeeded", 0)
    assert person.json("script", "push", path)["outcome"] == "unchanged"
    assert "hello 0 None" in person.orca("runs", "logs", run["id"])
    person.orca("run", "there-is-no-such-script", code=125)


def test_ctrl_c_stops_the_run(person: Person, name: str) -> None:
    process = person.start("run", person.script(name, WAITS))
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    [run] = person.json("runs", "ls", "--script", name)
    assert run["state"] == "cancelled"


def test_files_go_to_the_bucket_and_come_back(person: Person, name: str) -> None:
    folder = person.home / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("hello")
    (folder / "deep" / "ä & b+c%41.bin").write_bytes(os.urandom(3_000_000))
    (folder / "empty").touch()
    large = os.urandom(70_000_000)  # more than one part
    (folder / "large.bin").write_bytes(large)
    person.orca("cp", "-r", "data", f"orca://lab/{name}/")
    listed = {entry["path"]: entry["size"] for entry in person.json("ls", "-r", f"orca://lab/{name}")}
    assert listed == {
        f"{name}/data/{path}": (folder / path).stat().st_size
        for path in ("a.txt", "deep/ä & b+c%41.bin", "empty", "large.bin")
    }
    person.orca("cp", "-r", f"orca://lab/{name}/data", "back")
    for path in ("a.txt", "deep/ä & b+c%41.bin", "empty", "large.bin"):
        assert (person.home / "back" / path).read_bytes() == (folder / path).read_bytes()
    person.orca("rm", "-r", "--yes", f"orca://lab/{name}")
    person.orca("ls", f"orca://lab/{name}", code=4)


def test_a_pipeline_is_applied_and_followed(person: Person, name: str) -> None:
    person.script(f"{name}-write", "import sys; print('wrote', sys.argv[1])")
    person.script(f"{name}-read", "print('read')")
    (person.home / "pipeline.yaml").write_text(PIPELINE.format(name=name))
    assert person.json("pipeline", "apply", "pipeline.yaml")["outcome"] == "created"
    assert person.json("pipeline", "apply", "pipeline.yaml")["outcome"] == "unchanged"
    shown = person.orca("pipeline", "run", name, "-p", "word=snow", "--follow")
    assert shown == "write | wrote snow\nread | read\n"
    person.script(f"{name}-read", "import sys; sys.exit(9)")
    changed = person.json("pipeline", "apply", "pipeline.yaml")
    assert (changed["outcome"], [one["outcome"] for one in changed["scripts"]]) == (
        "unchanged",
        ["unchanged", "changed"],
    )
    person.orca("pipeline", "run", name, "--follow", code=9)
    assert [run["state"] for run in person.json("pipeline", "runs", name)] == ["failed", "succeeded"]
    (person.home / "wrong.yaml").write_text(PIPELINE.format(name=name) + "    needs: [nowhere]\n")
    assert "wrong.yaml:11:5: steps.1.needs: " in person.orca("pipeline", "validate", "wrong.yaml", code=1)


def test_a_schedule_is_set_shown_and_fired_by_hand(person: Person, name: str) -> None:
    person.orca("script", "push", person.script(name, "import sys; print('on time', *sys.argv[1:])"))
    wanted = ("--script", name, "--cron", "30 2 * * *", "--zone", "Europe/Berlin")
    made = person.json("schedule", "set", name, *wanted, "--", "--quick")
    assert (made["outcome"], made["schedule"]["arguments"]) == ("created", ["--quick"])
    assert person.json("schedule", "set", name, *wanted, "--", "--quick")["outcome"] == "unchanged"
    assert person.json("schedule", "set", name, *wanted)["outcome"] == "changed"
    shown = person.orca("schedule", "show", name)
    assert len(re.findall(r"T02:30:00\+0[12]:00", shown)) == 5
    assert name in [one["name"] for one in person.json("schedule", "ls")]
    fired = person.json("schedule", "run", name)
    assert "on time\n" in person.orca("runs", "logs", fired["run"], "--follow")
    [fire] = person.json("schedule", "fires", name)
    assert (fire["by_hand"], fire["run_state"]) == (True, "succeeded")
    assert person.json("schedule", "disable", name)["enabled"] is False
    person.orca("schedule", "rm", name, "--yes")
    person.orca("schedule", "show", name, code=4)


def test_logging_in_to_the_workspace(person: Person, lab: Lab) -> None:
    key = person.home / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    added = person.json("ssh-key", "add", str(key))  # its public half is meant
    options = ("-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes")

    def login(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            person.command("workspace", "ssh", "lab", "--", *options, command),
            env=person.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    try:
        wait_until(lambda: login("true").returncode == 0, 20, "the key's way to the instance")
        done = login("whoami; exit 5")
        assert (done.returncode, done.stdout) == (5, "analyst\n")
        (person.home / "ssh_config").write_text(person.orca("workspace", "ssh-config", "lab"))
        plain = subprocess.run(
            ["ssh", "-F", "ssh_config", *options, "orca-lab", "pwd"],
            cwd=person.home,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert plain.stdout == "/home/analyst\n"
    finally:
        person.orca("ssh-key", "rm", added["id"])
