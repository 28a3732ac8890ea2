"""A step that fills the disk is ended; the agent and the other steps of the instance go on."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from agents.orca_agent.protocol import InstanceHeartbeat, InstanceRegistered

if TYPE_CHECKING:
    from tests.fixtures.agent import AgentProcess, Events, MotoCloud

    Small = tuple[MotoCloud, Events, AgentProcess]

pytest_plugins = ["tests.fixtures.agent"]

DISK_MB = 1_000


def may_mount() -> bool:
    """Whether a disk of any size can be had here."""
    tried = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return os.geteuid() == 0 and subprocess.run(tried, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not may_mount(), reason="a small disk can only be mounted by root")


@pytest.fixture
def on_a_small_disk(moto_cloud: MotoCloud) -> Iterator[Small]:
    """An agent all of whose state lies on a disk of `DISK_MB`."""
    from tests.fixtures.agent import agent_on

    with agent_on(moto_cloud, slots=2) as (agent, events):
        state = agent.root / "var/lib/orca"
        state.mkdir(parents=True)
        mount = f"mount -t tmpfs -o size={DISK_MB}m,mode=711 none {shlex.quote(str(state))}"
        agent.under = ("unshare", "--mount", "sh", "-ec", f'{mount}; exec "$@"', "sh")
        agent.start()
        events.wait(InstanceRegistered)
        yield moto_cloud, events, agent
        assert agent.stop() == 0


FILLS = """
import os, time
block = b"x" * 1_000_000
number = 0
print("filling", flush=True)
while True:
    number += 1
    time.sleep(0.02)  # as fast as a disk, not as memory
    try:
        with open(f"output/{number}", "wb") as file:
            for _ in range(20): file.write(block)
    except OSError:
        time.sleep(0.01)
"""
SPEAKS = """
import time
for number in range(80):
    print("line", number, flush=True)
    time.sleep(0.1)
open("output/kept", "w").write("kept")
"""


def test_who_fills_the_disk_goes_and_its_neighbour_stays(on_a_small_disk: Small) -> None:
    cloud, events, _ = on_a_small_disk
    neighbour = cloud.run(SPEAKS)
    events.wait_for_line(neighbour, "line 0")
    greedy = cloud.run(FILLS)
    ended = events.finished(greedy, 60)
    assert (ended.state, ended.reason) == ("failed", "disk_limit")
    assert ended.message == "The instance's disk was nearly full, and this step used most of it."
    assert events.finished(neighbour, 60).state == "succeeded"
    assert events.text(neighbour) == [f"line {number}" for number in range(80)]
    after = cloud.run("print('still here')")
    assert events.finished(after).state == "succeeded"
    events.wait(InstanceHeartbeat, where=lambda beat: beat.disk_free_mb > DISK_MB // 2 and not beat.running)
