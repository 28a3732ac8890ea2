"""While one shard runs, the agent fetches what the next one needs; and lets it go where the first takes too long."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

from agents.orca_agent.ids import new_id
from agents.orca_agent.protocol import Desired, StepFinished, StepStarted, Task
from tests.fixtures.cloud import wait_until
from tests.fixtures.shards import item, shard

if TYPE_CHECKING:
    from tests.fixtures.agent import AgentProcess, Events, MotoCloud

pytest_plugins = ["tests.fixtures.agent"]

#: Sleeps as its first argument says, and tells what it found.
PROGRAM: Final = """
import os, sys, time
time.sleep(float(sys.argv[1]))
for folder, _, files in os.walk(os.environ["ORCA_INPUT"] + "/images"):
    for name in files:
        print(open(os.path.join(folder, name)).read())
"""
USUAL: Final = 1.5
FETCHING: Final = 0.6


class Site:
    """A web server that takes its time, and notes when it was asked for what."""

    def __init__(self) -> None:
        self.asked: dict[str, float] = {}
        self.refuses: set[str] = set()
        self.over = threading.Event()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.setdefault(self.path, time.time())
                site.over.wait(FETCHING)
                content = f"content of {self.path}".encode()
                status = 404 if self.path in site.refuses else 200
                with contextlib.suppress(ConnectionError):
                    self.send_response(status)
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.over.set()
    made.server.shutdown()
    thread.join()
    made.server.server_close()


class Bench:
    """An agent of one slot that has run two shards of a job, and so knows how long one takes."""

    def __init__(self, cloud: MotoCloud, site: Site, agent: AgentProcess, events: Events) -> None:
        self.cloud, self.site, self.agent, self.events = cloud, site, agent, events
        self.script = cloud.script({"main.py": PROGRAM})
        self.run = new_id()
        for name in ("first", "second"):
            assert self.events.finished(self.shard(name)).state == "succeeded"

    def shard(self, name: str, seconds: float = USUAL) -> Task:
        """One that sleeps so long, and whose only item takes its time to come."""
        found = item(name, file=f"{self.site.url}/{name}")
        return shard(self.cloud, found, program=self.script, run=self.run, arguments=(str(seconds),))

    def one_behind(self, name: str, seconds: float) -> tuple[Task, Task]:
        """One that runs for so long, and one that waits behind it while its item comes."""
        runs = self.shard("runs", seconds)
        self.events.wait(StepStarted, runs.step)
        waits = self.shard(name)
        wait_until(lambda: f"/{name}" in self.site.asked, what="its items are asked for")
        assert not self.events.of(StepStarted, waits.step)
        return runs, waits

    def left(self) -> list[str]:
        """The steps that have a folder."""
        return [path.name.split("-")[0] for path in self.agent.work]


@pytest.fixture
def bench(moto_cloud: MotoCloud, site: Site) -> Iterator[Bench]:
    from tests.fixtures.agent import agent_on

    with agent_on(moto_cloud, slots=1) as (agent, events):
        agent.start()
        yield Bench(moto_cloud, site, agent, events)


def test_the_next_shards_items_come_while_one_runs(bench: Bench) -> None:
    tasks = {name: bench.shard(name) for name in "abc"}
    ended = {name: bench.events.finished(task) for name, task in tasks.items()}
    for name, task in tasks.items():
        assert (ended[name].state, bench.events.text(task)) == ("succeeded", [f"content of /{name}"])
    *_, before, last = sorted(tasks, key=lambda name: ended[name].started_at)
    runs, follows = ended[before], ended[last]
    assert runs.started_at < bench.site.asked[f"/{last}"] < runs.finished_at - FETCHING / 2
    assert runs.finished_at <= follows.started_at < runs.finished_at + FETCHING / 2
    assert USUAL <= follows.finished_at - follows.started_at < USUAL + FETCHING
    assert follows.bytes_in > follows.bytes_fetched > 0


def test_what_waits_behind_a_shard_that_takes_too_long_goes_to_others(bench: Bench) -> None:
    runs, waits = bench.one_behind("waits", 60.0)
    wait_until(lambda: bench.cloud.depth() == (1, 1), 20, what="its message is free for others")
    wait_until(lambda: bench.left() == [runs.step], what="what came is removed")
    bench.cloud.desire(Desired(generation=2, cancelled=(runs.step,)))
    finished = bench.events.finished(waits)
    assert (finished.state, bench.events.text(waits)) == ("succeeded", ["content of /waits"])
    assert [event.state for event in bench.events.of(StepFinished, runs.step)] == ["cancelled"]


def test_what_could_not_be_fetched_ahead_is_told_in_its_turn(bench: Bench) -> None:
    bench.site.refuses.add("/bad")
    runs, bad = bench.one_behind("bad", USUAL + 0.5)
    last = bench.shard("last")
    finished = bench.events.finished(bad)
    assert (finished.state, finished.reason) == ("failed", "input_failed")
    assert "item 'bad'" in finished.message
    assert [bench.events.finished(task).state for task in (runs, last)] == ["succeeded"] * 2
    assert bench.events.text(last) == ["content of /last"]


def test_a_shard_that_waits_here_is_cancelled_and_leaves_nothing(bench: Bench) -> None:
    runs, waits = bench.one_behind("waits", 6.0)
    bench.cloud.desire(Desired(generation=2, cancelled=(waits.step,)))
    finished = bench.events.finished(waits)
    assert (finished.state, finished.started_at) == ("cancelled", finished.finished_at)
    wait_until(lambda: bench.left() == [runs.step], what="what came is removed")
    assert bench.events.finished(runs).state == "succeeded"


def test_what_waits_is_begun_again_after_the_agent_was_killed(bench: Bench) -> None:
    runs, waits = bench.one_behind("waits", 4.0)
    bench.agent.kill()
    bench.agent.start()
    assert {bench.events.finished(task).state for task in (runs, waits)} == {"succeeded"}
    assert bench.events.text(waits) == ["content of /waits"]
    wait_until(lambda: not bench.left(), what="nothing is left")
