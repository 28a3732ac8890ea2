"""A real supervisor with small services: what dies comes back, what stops leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.orca.console import ScriptError
from scripts.orca.run import services as services_module
from scripts.orca.run import supervision as supervision_module
from scripts.orca.run.configuration import Configuration
from scripts.orca.run.options import parse
from scripts.orca.run.services import Service
from scripts.orca.run.supervision import Supervision

_PATIENCE = 20

# Notes its start, and on SIGTERM its end, in a file that all share.
_SERVICE = """
import signal, sys, os, pathlib
name, diary = sys.argv[1:]
def note(what):
    with open(diary, "a") as file:
        file.write(f"{what} {name} {os.getpid()}\\n")
def stop(*_):
    note("end")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
note("start")
while True:
    signal.pause()
"""
# Has a child in a process group of its own, as the worker has Terraform.
_PARENT = """
import subprocess, sys
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
open(sys.argv[1], "w").write(str(child.pid))
child.wait()
"""


def _eventually(is_true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not is_true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def _exists(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


class Diary:
    """What the services noted, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self, what: str, name: str = "") -> list[tuple[str, int]]:
        text = self.path.read_text() if self.path.is_file() else ""
        found = [line.split() for line in text.splitlines()]
        return [(who, int(pid)) for did, who, pid in found if did == what and name in {"", who}]


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "diary")


@pytest.fixture
def supervise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Supervision]]:
    for module in (services_module, supervision_module):
        monkeypatch.setattr(module, "LOGS", tmp_path / "log")
    monkeypatch.setattr(supervision_module, "RUN", tmp_path)
    begun = []

    def launched(*found: Service) -> Supervision:
        environment = dict(os.environ)
        configuration = Configuration(parse([]), "", "", tmp_path, environment, False, False)
        held = os.open(tmp_path, os.O_RDONLY)
        supervision = Supervision(configuration, list(found), held)
        begun.append(supervision)
        supervision.launch()
        return supervision

    yield launched
    for supervision in begun:
        supervision.stop()


def _service(name: str, diary: Diary) -> Service:
    return Service(name, (sys.executable, _program(diary.path, _SERVICE), name, str(diary.path)), stop_within=5)


def _program(beside: Path, text: str) -> str:
    path = beside.with_name("program.py")
    path.write_text(text)
    return str(path)


def test_a_service_that_dies_comes_back_whatever_its_exit(supervise: Callable[..., Supervision], diary: Diary) -> None:
    supervision = supervise(_service("web", diary))
    supervision.start("web")
    for number in (signal.SIGTERM, signal.SIGKILL):
        _eventually(lambda: diary.lines("start"), "not started")
        pid = diary.lines("start")[0][1]
        diary.path.unlink()
        os.kill(pid, number)
    _eventually(lambda: diary.lines("start"), "not back after SIGKILL")


def test_services_stop_in_order_and_the_supervisor_with_them(
    supervise: Callable[..., Supervision], diary: Diary
) -> None:
    supervision = supervise(*(_service(name, diary) for name in ("redis", "cloud", "worker", "terraform", "web")))
    supervision.start("redis", "cloud", "worker", "terraform", "web")
    _eventually(lambda: len(diary.lines("start")) == 5, "not all started")
    assert supervision.stop() == []
    ended = [name for name, _ in diary.lines("end")]
    assert set(ended[:3]) == {"worker", "terraform", "web"}
    assert ended[3:] == ["cloud", "redis"]
    assert not supervision.is_alive()


def test_nothing_is_left_when_the_supervisor_is_killed(supervise: Callable[..., Supervision], diary: Diary) -> None:
    supervision = supervise(_service("cloud", diary), _service("web", diary))
    supervision.start("cloud", "web")
    _eventually(lambda: len(diary.lines("start")) == 2, "not all started")
    os.kill(int((supervision.configuration.sockets / "supervisor.pid").read_text()), signal.SIGKILL)
    _eventually(lambda: not supervision.is_alive(), "still alive")
    _eventually(lambda: not any(_exists(pid) for _, pid in diary.lines("start")), "services outlived their supervisor")
    assert len(diary.lines("end")) == 2


def test_a_child_that_lost_its_service_is_swept_up(supervise: Callable[..., Supervision], tmp_path: Path) -> None:
    note = tmp_path / "child"
    supervision = supervise(Service("worker", (sys.executable, _program(note, _PARENT), str(note))))
    supervision.start("worker")
    _eventually(lambda: note.is_file() and note.read_text(), "no child")
    assert _exists(int(note.read_text()))
    supervision.stop()
    assert not _exists(int(note.read_text()))


def test_a_service_that_never_gets_up_is_reported_with_its_own_words(
    supervise: Callable[..., Supervision],
) -> None:
    complaint = "import sys; sys.exit('the database is on fire')"
    supervision = supervise(Service("web", (sys.executable, "-c", complaint)))
    supervision.start("web")
    with pytest.raises(ScriptError) as reported:
        supervision.wait_for("web", lambda: False)
    assert reported.value.message == "web keeps ending."
    assert "the database is on fire" in reported.value.detail
    assert "web.log" in reported.value.hint


def test_words_of_an_earlier_start_are_not_taken_for_todays(
    supervise: Callable[..., Supervision], tmp_path: Path, diary: Diary
) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "web.log").write_text("ready.\n")
    supervision = supervise(_service("web", diary))
    supervision.start("web")
    assert supervision.log_since_start("web") == ""


def _holds(pid: int, path: Path) -> bool:
    return any(link.readlink() == path for link in Path(f"/proc/{pid}/fd").iterdir())


def test_everything_ends_when_the_one_who_started_it_is_killed(tmp_path: Path, diary: Diary) -> None:
    """Until then supervisor, and not the services, holds the lock that keeps a second Orca out."""
    starter = f"""
import os, sys, signal
from pathlib import Path
from scripts.orca.run import services, supervision
from scripts.orca.run.configuration import Configuration
from scripts.orca.run.options import parse
folder = Path({str(tmp_path)!r})
services.LOGS = supervision.LOGS = folder / "log"
supervision.RUN = folder
configuration = Configuration(parse([]), "", "", folder, dict(os.environ), False, False)
program = {_program(diary.path, _SERVICE)!r}
service = services.Service("web", (sys.executable, program, "web", {str(diary.path)!r}))
found = supervision.Supervision(configuration, [service], os.open(folder, os.O_RDONLY))
found.launch()
found.start("web")
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", starter]) as process:
        _eventually(lambda: diary.lines("start"), "not started")
        supervisor = int((tmp_path / "supervisor.pid").read_text())
        assert _holds(supervisor, tmp_path)
        assert not _holds(diary.lines("start")[0][1], tmp_path)
        process.kill()
    _eventually(lambda: diary.lines("end"), "the service outlived scripts/run")
    _eventually(lambda: not _exists(supervisor), "supervisor outlived scripts/run")
