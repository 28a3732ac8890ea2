"""Memory as the kernel counts it, of processes whose size is known."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from scripts.orca.bench.memory import cpu_ticks, family, memory_alone_mb, memory_mb, sampled_mb, wait_until_idle

HELD_MB = 40
# A parent that holds some memory, and a child that its own program shares with it.
PROGRAM = (
    "import subprocess, sys, time\n"
    f"held = b'x' * ({HELD_MB} << 20)\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import sys; print(1, flush=True); sys.stdin.read()'],"
    " stdin=subprocess.PIPE)\n"
    "sys.stdin.read()\n"
)


@pytest.fixture
def parent() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    process.stdout.readline()
    yield process.pid
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


def test_a_family_has_the_children_and_nobody_else(parent: int) -> None:
    found = family(parent)
    assert parent in found
    assert len(found) == 2


def test_what_is_shared_counts_once(parent: int) -> None:
    processes = family(parent)
    each = sum(memory_alone_mb([pid]) for pid in processes)
    assert HELD_MB < memory_alone_mb(processes) < each
    assert memory_mb(processes, "Pss") <= memory_alone_mb(processes) <= memory_mb(processes, "Rss")


def test_a_process_that_has_ended_takes_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(10)
    assert memory_mb([ended.pid]) == memory_alone_mb([ended.pid]) == cpu_ticks([ended.pid]) == 0


def test_rest_is_waited_for(parent: int) -> None:
    wait_until_idle(parent, quiet=0.1)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with pytest.raises(TimeoutError):
            wait_until_idle(busy.pid, quiet=0.1, longest=1)
    finally:
        busy.kill()
        busy.wait(10)


def test_samples_are_of_the_whole_family(parent: int) -> None:
    with sampled_mb(parent, every=0.05) as samples:
        wait_until_idle(parent, quiet=0.3)
    assert min(samples) > HELD_MB
