"""Wardens of the warm interpreter have one step after the other, and nothing of one step reaches the next."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.orca_agent.steps import processes
from agents.orca_agent.steps.process import Ending, Order, StepProcess, start
from agents.orca_agent.steps.pump import Tail, pump
from agents.orca_agent.steps.warm_server import WarmServer
from tests.unit.agents.orca_agent.steps.test_warm_exit import ACCOUNT, ENVIRONMENT, Heard


@pytest.fixture
def warm() -> Iterator[WarmServer]:
    server = WarmServer(ACCOUNT, ENVIRONMENT)
    assert server.open()
    time.sleep(0.5)
    yield server
    server.close()


def begun(folder: Path, warm: WarmServer, text: str, **more: str) -> StepProcess:
    (folder / "main.py").write_text(text)
    environment = {**ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1", **more}
    order = Order(
        [sys.executable, str(folder / "main.py")], environment, folder, ACCOUNT, 60, 2048, 256, 10_000, 1_000, grace=0.0
    )
    return start(order, warm)


def done(process: StepProcess) -> tuple[Ending, list[str]]:
    tail = Tail(Heard())
    try:
        return pump(process, tail, seconds=60), tail.lines()[:-1]
    finally:
        process.close()


def test_steps_that_follow_each_other_have_one_warden(tmp_path: Path, warm: WarmServer) -> None:
    wardens = set()
    for number in range(5):
        process = begun(tmp_path, warm, "import os; print(os.environ.get('A'), os.getsid(0) == os.getpid())")
        ending, said = done(process)
        assert (ending.exit_code, said) == (0, ["None True"]), number
        wardens.add(process.pid)
    assert len(wardens) == 1


def test_nothing_of_a_step_is_left_for_the_next(tmp_path: Path, warm: WarmServer) -> None:
    text = "import os, resource, sys; os.environ['B'] = 'b'; sys.modules['mine'] = os; os.chdir('/'); os.umask(0o077)"
    done(begun(tmp_path, warm, text, A="a"))
    look = "import os, sys; print(os.environ.get('A'), os.environ.get('B'), 'mine' in sys.modules, os.umask(0o022))"
    assert done(begun(tmp_path, warm, look))[1] == ["None None False 18"]


def test_steps_at_the_same_time_have_wardens_of_their_own(tmp_path: Path, warm: WarmServer) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    for place in places:
        place.mkdir()
    both = [begun(place, warm, "print('end')") for place in places]
    assert both[0].pid != both[1].pid
    assert [done(process)[1] for process in both] == [["end"], ["end"]]


def test_what_a_step_used_counts_for_it_alone(tmp_path: Path, warm: WarmServer) -> None:
    large = "x = bytearray(200_000_000)\nfor i in range(3_000_000): pass\nimport time; time.sleep(0.3)"
    first, _ = done(begun(tmp_path, warm, large))
    second, _ = done(begun(tmp_path, warm, "print()"))
    assert first.peak_memory_mb > 150 > second.peak_memory_mb
    assert first.cpu_seconds > second.cpu_seconds


def test_a_warden_that_was_told_to_stop_gets_no_other_step(tmp_path: Path, warm: WarmServer) -> None:
    process = begun(tmp_path, warm, "import time; time.sleep(60)")
    process.stop(0.0)
    assert done(process)[0].reason == "stopped"
    following = begun(tmp_path, warm, "print('fine')")
    assert following.pid != process.pid
    assert done(following)[1] == ["fine"]


def test_a_warden_that_died_while_it_waited_costs_nothing_but_time(tmp_path: Path, warm: WarmServer) -> None:
    process = begun(tmp_path, warm, "print(1)")
    done(process)
    os.kill(process.pid, signal.SIGKILL)
    again = begun(tmp_path, warm, "print(2)")
    assert (again.warm, done(again)[1]) == (False, ["2"])


def test_wardens_that_nobody_wants_end(tmp_path: Path, warm: WarmServer) -> None:
    process = begun(tmp_path, warm, "print(1)")
    done(process)
    warm.tidy()
    assert processes.is_same(process.pid, process.start)
    warm.tidy(0.0)
    until = time.monotonic() + 5
    while processes.is_same(process.pid, process.start):
        assert time.monotonic() < until
        time.sleep(0.01)
