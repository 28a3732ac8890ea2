"""Shards whose items come from a web server, good and bad ones; run by the agent as a process."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from agents.orca_agent.protocol import Desired, StepFinished, Task
from scripts.orca.demo.scenes import catalogue_make
from scripts.orca.demo.site import served
from scripts.orca.paths import ROOT
from tests.fixtures.cloud import wait_until
from tests.fixtures.shards import item, shard

if TYPE_CHECKING:
    from tests.fixtures.agent import AgentProcess, Events, MotoCloud

    Shared = tuple[MotoCloud, Events, AgentProcess]

pytest_plugins = ["tests.fixtures.agent"]

LARGE: Final = os.urandom(20_000_000)


class Handler(http.server.BaseHTTPRequestHandler):
    """Small files by any name; by their first folder, slow ones, broken ones, endless ones."""

    protocol_version = "HTTP/1.1"
    broken: set[str] = set()
    over = threading.Event()

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        with contextlib.suppress(ConnectionError):
            getattr(self, f"_{kind}", self._missing)()

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _small(self, content: bytes = b"small") -> None:
        self._head(200, len(content))
        self.wfile.write(content)

    def _slow(self) -> None:
        self._head(200, 10)
        for _ in range(10):
            self.over.wait(0.1)
            self.wfile.write(b"s")

    def _breaks(self) -> None:
        """The first time in the middle, then not."""
        if self.path in self.broken:
            self._small(b"whole")
            return
        self.broken.add(self.path)
        self._head(200, 5)
        self.wfile.write(b"wh")
        self.close_connection = True

    def _always(self) -> None:
        self._head(200, 5)
        self.wfile.write(b"wh")
        self.close_connection = True

    def _large(self) -> None:
        start, end = map(int, self.headers["range"].removeprefix("bytes=").split("-"))
        part = LARGE[start : end + 1]
        self._head(206, len(part), content_range=f"bytes {start}-{start + len(part) - 1}/{len(LARGE)}")
        self.wfile.write(part)

    def _huge(self) -> None:
        self._head(200, 10**15)

    def _drips(self) -> None:
        self._head(200, 10**6)
        while not self.over.wait(0.05):
            self.wfile.write(b"x")

    def _missing(self) -> None:
        self._head(404, 0)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Handler.over.set()
        server.shutdown()
        thread.join()


def failure(events: Events, task: Task) -> StepFinished:
    finished = events.finished(task)
    assert (finished.state, finished.reason) == ("failed", "input_failed")
    assert events.text(task) == []
    return finished


def test_a_shard_finds_its_items_where_it_was_told(shared_agent: Shared, site: str) -> None:
    cloud, events, _ = shared_agent
    cloud.s3.put_object(Bucket=cloud.bucket, Key="jobs/earlier/outputs/own.png", Body=b"own")
    own = {**item("OWN"), "assets": {"image": {"key": "jobs/earlier/outputs/own.png"}}}
    task = shard(
        cloud,
        item("A", thumbnail=f"{site}/small/A.jpg", slow=f"{site}/slow/A.tif", breaks=f"{site}/breaks/A.tif"),
        item("../B", thumbnail=f"{site}/small/..%2f..%2fB.jpg"),
        own,
    )
    finished = events.finished(task)
    assert finished.state == "succeeded", (finished, events.lines(task))
    folders, found, number = json.loads("".join(events.text(task)))
    metadata = {path: json.loads(found.pop(path)) for path in sorted(found) if path.startswith("metadata/")}
    assert (folders, number) == (["images", "metadata"], "17")
    assert found == {
        "images/A/A.jpg": "small",
        "images/A/A.tif": "s" * 10,
        "images/A/A-2.tif": "whole",
        "images/_._B/_._.._B.jpg": "small",
        "images/OWN/own.png": "own",
    }
    assert list(metadata) == ["metadata/A.json", "metadata/OWN.json", "metadata/_._B.json"]
    assert metadata["metadata/_._B.json"]["id"] == "../B"
    assert metadata["metadata/A.json"]["bbox"] == [-54.0, -23.0, -53.0, -22.0]
    came = task.data.length + len("small" + "s" * 10 + "wh" + "whole" + "small" + "own")  # type: ignore[union-attr]
    bundle = int(cloud.s3.head_object(Bucket=cloud.bucket, Key=task.script.key)["ContentLength"])
    assert finished.bytes_in in {came, came + bundle}  # the bundle comes once for all of these tests
    fetched = came - len("small" + "s" * 10 + "wh" + "whole" + "small")
    assert finished.bytes_fetched in {fetched, fetched + bundle}
    assert finished.bytes_out == 1_000


def test_a_program_can_read_its_items_and_not_change_them(shared_agent: Shared, site: str) -> None:
    cloud, events, _ = shared_agent
    program = (
        "import os\ntop = os.environ['ORCA_INPUT']\n"
        "for path in ('images/A/A.jpg', 'metadata/A.json'):\n"
        "    try: open(os.path.join(top, path), 'w'); print('written')\n"
        "    except PermissionError: print('refused')\n"
    )
    task = shard(cloud, item("A", thumbnail=f"{site}/small/A.jpg"), program=program)
    assert events.finished(task).state == "succeeded"
    assert events.text(task) == ["refused", "refused"]


def test_a_large_asset_comes_whole_and_is_counted(shared_agent: Shared, site: str) -> None:
    cloud, events, _ = shared_agent
    program = (
        "import hashlib, os\n"
        "print(hashlib.sha256(open(os.environ['ORCA_INPUT'] + '/images/A/x.tif', 'rb').read()).hexdigest())\n"
        "print('y' * 30000)\n"
    )
    task = shard(cloud, item("A", band=f"{site}/large/x.tif"), program=program)
    finished = events.finished(task)
    assert events.text(task)[0] == hashlib.sha256(LARGE).hexdigest()
    assert len(LARGE) < finished.bytes_in < len(LARGE) + 5_000
    assert finished.bytes_out == len(cloud.get(finished.log.key))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere/x.jpg", "could not be fetched: NotFound (status 404)"),
        ("always/x.jpg", "could not be fetched: Unreachable"),
        ("huge/x.jpg", "could not be fetched: TooLarge: it has 1000000000000000 bytes; at most"),
    ],
)
def test_one_bad_asset_fails_the_shard_and_is_named(shared_agent: Shared, site: str, path: str, said: str) -> None:
    cloud, events, _ = shared_agent
    good = item("GOOD", thumbnail=f"{site}/small/A.jpg")
    finished = failure(events, shard(cloud, good, item("BAD", thumbnail=f"{site}/{path}?token=permission"), good))
    assert finished.message.startswith(f"Asset 'thumbnail' of item 'BAD' ({site}/{path}) {said}")
    assert finished.bytes_in > 0


def test_a_server_that_nobody_answers_at_is_named(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    finished = failure(events, shard(cloud, item("X", thumbnail="http://127.0.0.1:9/x.jpg")))
    assert "item 'X' (http://127.0.0.1:9/x.jpg) could not be fetched: Unreachable" in finished.message


def test_a_shard_is_cancelled_while_its_items_come(shared_agent: Shared, site: str) -> None:
    cloud, events, agent = shared_agent
    task = shard(cloud, item("X", thumbnail=f"{site}/drips/x.jpg"))
    wait_until(lambda: list(Path(agent.root).glob("var/lib/orca/work/*/input/images/X/x.jpg")), what="its first bytes")
    cloud.desire(Desired(generation=3, cancelled=(task.step,)))
    finished = events.finished(task, 15)
    assert (finished.state, finished.reason) == ("cancelled", "cancelled")
    cloud.desire(Desired(generation=4))


def test_a_step_without_items_is_told_of_no_folder(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("import os; print(os.environ.get('ORCA_INPUT'))")
    assert events.finished(task).state == "succeeded"
    assert events.text(task) == ["None"]


def test_the_cbers_example_runs_over_a_shard_of_the_small_sky(shared_agent: Shared, tmp_path: Path) -> None:
    cloud, events, _ = shared_agent
    with served(tmp_path) as sky:
        made = catalogue_make(
            tmp_path, paths=(150,), rows=(100,), dates=(date(2019, 1, 1), date(2019, 1, 27)), base_url=sky.url
        )
        items = [{**item, "assets": {"thumbnail": item["assets"]["thumbnail"]}} for item in made.items]
        files = {path.name: path.read_bytes() for path in (ROOT / "examples/cbers").iterdir() if path.is_file()}
        script = cloud.script(files, entrypoint="shrink.py", requirements="requirements.txt")
        task = shard(cloud, *items, program=script, arguments=("--width", "100"))
        finished = events.finished(task, 120)
    assert finished.state == "succeeded", (finished, events.lines(task))
    scenes = [item["id"] for item in made.items]
    assert [output.path for output in finished.outputs] == [
        f"{scene}/{scene.removesuffix('_L2')}-small.jpg" for scene in scenes
    ]
    assert finished.bytes_out == sum(output.size for output in finished.outputs)
    thumbnails = sum(path.stat().st_size for path in tmp_path.rglob("CBERS*.jpg"))
    assert finished.bytes_in > thumbnails
    assert f"{scenes[0]} ({made.items[0]['properties']['datetime']}): " in "\n".join(events.text(task))
