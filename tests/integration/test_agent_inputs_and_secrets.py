"""Steps that find what earlier ones have left, and secrets of their workspace; run by the agent as a process."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest

from agents.orca_agent.cloud.bucket import Links, S3Bucket
from agents.orca_agent.cloud.client import Client
from agents.orca_agent.cloud.errors import Missing
from agents.orca_agent.cloud.metadata import FixedCredentials
from agents.orca_agent.cloud.secrets import SecretsManager
from agents.orca_agent.cloud.signing import Credentials
from agents.orca_agent.cloud.transport import FilePart, Transport
from agents.orca_agent.protocol import Desired, Input, Task, event_json
from tests.fixtures.cloud import wait_until

if TYPE_CHECKING:
    from tests.fixtures.agent import AgentProcess, Events, MotoCloud

    Shared = tuple[MotoCloud, Events, AgentProcess]

pytest_plugins = ["tests.fixtures.agent"]

REGION: Final = "eu-central-1"
TREE = """
import json, os
top = os.environ["ORCA_INPUTS"]
found = {}
for folder, _, files in os.walk(top):
    for name in files:
        path = os.path.join(folder, name)
        found[os.path.relpath(path, top)] = open(path, errors="replace").read()[:50]
print(json.dumps([sorted(os.listdir(top)), found], ensure_ascii=False))
"""


def client(service: str, keys: FixedCredentials | None) -> Client:
    return Client(service, REGION, keys, Transport(), pause=lambda seconds: None)


@pytest.fixture
def bucket(moto_cloud: MotoCloud) -> S3Bucket:
    keys = FixedCredentials(Credentials("AKIATEST", "secret"))
    return S3Bucket(moto_cloud.bucket, client("s3", keys), environment=moto_cloud.environment)


def prefix_of(task: Task) -> str:
    return f"runs/{task.run}/{task.step}/{task.attempt}/output/"


def tree(events: Events, task: Task) -> Any:
    finished = events.finished(task)
    assert finished.state == "succeeded", (finished, events.lines(task))
    return json.loads("".join(events.text(task)))


@pytest.mark.parametrize("cold", ["", "1"], ids=["warm", "cold"])
def test_outputs_of_one_step_are_inputs_of_the_next(shared_agent: Shared, cold: str) -> None:
    cloud, events, _ = shared_agent
    names = ["a.csv", "deep/größe +%41&<x>.txt", "empty", "a\\b", " lead"]
    first = cloud.run(f"import os\nos.mkdir('output/deep')\nfor n in {names!r}: open('output/' + n, 'w').write(n[:5])")
    open_first = events.finished(first)
    assert open_first.state == "succeeded"
    second = cloud.run(
        TREE,
        inputs=(Input("fetch", prefix=prefix_of(first)), Input("nothing left")),
        environment={"ORCA_COLD_START": cold},
    )
    folders, found = tree(events, second)
    assert folders == ["fetch", "nothing left"]
    assert found == {f"fetch/{name}": name[:5] for name in names}


def test_inputs_cannot_be_changed_and_are_no_outputs(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    cloud.s3.put_object(Bucket=cloud.bucket, Key="runs/a/b/1/output/x", Body=b"1")
    task = cloud.run(
        "import os\n"
        "top = os.environ['ORCA_INPUTS']\n"
        "for path in (top + '/fetch/x', top + '/fetch/new', top + '/new'):\n"
        "    try: open(path, 'w'); print('written')\n"
        "    except PermissionError: print('refused')\n"
        "print(os.path.relpath(top))\n",
        inputs=(Input("fetch", prefix="runs/a/b/1/output/"),),
    )
    finished = events.finished(task)
    assert (finished.state, finished.outputs) == ("succeeded", ())
    expected = ["refused"] * 3 if os.geteuid() == 0 else ["refused", "written", "written"]
    assert events.text(task) == [*expected, "../inputs"]


def test_a_step_without_inputs_finds_an_empty_folder(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    assert tree(events, cloud.run(TREE)) == [[], {}]


def test_another_workspaces_files_come_by_links_without_keys(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    other = boto3.Session("AKIAOTHER", "other", region_name=REGION).client("s3", endpoint_url=cloud.endpoint)
    name = f"orca-other-{cloud.workspace}"
    other.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    other.put_object(Bucket=name, Key="runs/x/größe.csv", Body=b"1,2,3")
    link = other.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "runs/x/größe.csv"})
    files = [{"path": "deep/größe.csv", "size": 5, "url": link}, {"path": "empty", "size": 0, "url": link}]
    manifest = json.dumps({"files": files}).encode()
    cloud.s3.put_object(Bucket=cloud.bucket, Key="control/inputs/far.json", Body=manifest)
    task = cloud.run(TREE, inputs=(Input("far", manifest="control/inputs/far.json"),))
    assert tree(events, task) == [["far"], {"far/deep/größe.csv": "1,2,3", "far/empty": ""}]


def test_inputs_that_are_not_there_end_the_step(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("print('never')", inputs=(Input("far", manifest="control/inputs/none.json"),))
    finished = events.finished(task)
    assert (finished.state, finished.reason) == ("failed", "input_failed")
    assert finished.message == "The list of what step far has left is not there."
    assert events.text(task) == []


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server whose file never ends: a byte now and then."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(206)
            self.send_header("content-length", "1000000")
            self.send_header("content-range", "bytes 0-999999/1000000")
            self.end_headers()
            while not over.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/x"
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_step_is_cancelled_while_its_inputs_come(shared_agent: Shared, dripping: str) -> None:
    cloud, events, _ = shared_agent
    manifest = json.dumps({"files": [{"path": "x", "size": 1_000_000, "url": dripping}]}).encode()
    cloud.s3.put_object(Bucket=cloud.bucket, Key="control/inputs/slow.json", Body=manifest)
    task = cloud.run("print('never')", inputs=(Input("slow", manifest="control/inputs/slow.json"),))
    cloud.desire(Desired(generation=1, cancelled=(task.step,)))
    finished = events.finished(task, 15)
    assert (finished.state, finished.reason) == ("cancelled", "cancelled")
    cloud.desire(Desired(generation=2))


def test_lists_are_read_to_their_end(bucket: S3Bucket, moto_cloud: MotoCloud) -> None:
    keys = sorted(["p/a b", "p/+&<>\"'%41", "p/größe", "p/tab\there", *(f"p/{n:04}" for n in range(1_010))])
    for key in keys:
        moto_cloud.s3.put_object(Bucket=moto_cloud.bucket, Key=key, Body=key.encode())
    moto_cloud.s3.put_object(Bucket=moto_cloud.bucket, Key="q", Body=b"")
    found = list(bucket.list("p/"))
    assert sorted(listed.key for listed in found) == keys
    assert all(listed.size == len(listed.key.encode()) for listed in found)
    assert list(bucket.list("nothing/")) == []


def test_parts_come_to_lie_where_they_belong(bucket: S3Bucket, tmp_path: Path) -> None:
    content = os.urandom(100_000)
    bucket.put("x", content, "text/plain")
    with (tmp_path / "x").open("w+b") as file:
        for start in (60_000, 0):
            part = FilePart(file.fileno(), start, lambda: None)
            assert bucket.fetch("x", part, start=start, length=min(60_000, 100_000 - start)) == 100_000
    assert (tmp_path / "x").read_bytes() == content
    with pytest.raises(Missing):
        bucket.fetch("y", FilePart(0, 0, lambda: None), start=0, length=1)


def test_a_part_whose_connection_breaks_is_asked_for_again(tmp_path: Path) -> None:
    content = os.urandom(600_000)
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["range"])
            start, end = map(int, self.headers["range"].removeprefix("bytes=").split("-"))
            self.send_response(206)
            self.send_header("content-length", str(end - start + 1))
            self.send_header("content-range", f"bytes {start}-{end}/{len(content)}")
            self.end_headers()
            whole = len(asked) > 2
            self.wfile.write(content[start : end + 1 if whole else start + 100_000 * len(asked)])

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server, (tmp_path / "x").open("w+b") as file:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        part = FilePart(file.fileno(), 1_000, lambda: None)
        url = f"http://127.0.0.1:{server.server_port}/"
        found = Links(client("s3", None)).fetch(url, part, start=1_000, length=500_000)
        server.shutdown()
        thread.join()
    assert (found, part.written, asked) == (600_000, 500_000, ["bytes=1000-500999"] * 3)
    assert (tmp_path / "x").read_bytes()[1_000:] == content[1_000:501_000]


def test_a_server_that_knows_no_parts_serves_small_files_all_the_same(tmp_path: Path) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "authorization" not in self.headers
            self.send_response(200)
            self.send_header("content-length", "5")
            self.end_headers()
            self.wfile.write(b"whole")

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server, (tmp_path / "x").open("w+b") as file:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        part = FilePart(file.fileno(), 0, lambda: None)
        assert Links(client("s3", None)).fetch(f"http://127.0.0.1:{server.server_port}/", part, start=0, length=5) == 5
        thread.join()
    assert (tmp_path / "x").read_bytes() == b"whole"


@pytest.mark.parametrize("cold", ["", "1"], ids=["warm", "cold"])
def test_secrets_are_given_as_variables_and_files_and_masked(shared_agent: Shared, cold: str) -> None:
    cloud, events, agent = shared_agent
    cloud.put_secret("API_KEY", "hunter2-hunter2")
    cloud.put_secret("KEY_FILE", "-----BEGIN-----\nline-one-of-it\n-----END-----\n")
    task = cloud.run(
        "import base64, os, stat\n"
        "folder = os.environ['ORCA_SECRETS']\n"
        "for name in sorted(os.listdir(folder)):\n"
        "    path = os.path.join(folder, name)\n"
        "    print(name, oct(stat.S_IMODE(os.stat(path).st_mode)), open(path).read() == os.environ[name])\n"
        "print(len(os.environ['API_KEY']), os.environ['API_KEY'])\n"
        "print(base64.b64encode(b'user:' + os.environb[b'API_KEY']).decode())\n"
        "print(open(folder + '/KEY_FILE').read())\n",
        secret_names=("API_KEY", "KEY_FILE"),
        environment={"ORCA_COLD_START": cold, "API_KEY": "of the environment"},
    )
    finished = events.finished(task)
    assert finished.state == "succeeded", events.lines(task)
    said = events.text(task)
    assert said[:3] == ["API_KEY 0o400 True", "KEY_FILE 0o400 True", "15 ***"]
    assert said[3].startswith("dXNlcj")
    assert "***" in said[3]
    assert said[4:7] == ["***"] * 3
    everything = json.dumps([event_json(event) for event in events.seen])
    assert "hunter2" not in everything
    assert "line-one" not in everything
    folder = agent.root / "run/orca/secrets"
    wait_until(lambda: not list(folder.iterdir()) and not agent.work, what="the end of the step's folders")
    left = [path for path in agent.root.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert left == []


def test_a_secret_that_is_missing_ends_the_step_and_is_named(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("print('never')", secret_names=("NO_SUCH_SECRET",))
    finished = events.finished(task)
    assert (finished.state, finished.reason) == ("failed", "secret_missing")
    assert finished.message.startswith("It needs a secret NO_SUCH_SECRET, which the workspace does not have. Add it")


def test_secrets_of_other_workspaces_are_not_asked_for(moto_cloud: MotoCloud) -> None:
    moto_cloud.secrets.create_secret(Name=f"orca/{'z' * 26}/MINE", SecretString="theirs")
    moto_cloud.put_secret("OWN", "größe")
    moto_cloud.secrets.create_secret(Name=f"orca/{moto_cloud.workspace}/BYTES", SecretBinary=b"\xff")
    keys = FixedCredentials(Credentials("AKIATEST", "secret"))
    own = SecretsManager(
        f"orca/{moto_cloud.workspace}/", client("secretsmanager", keys), environment=moto_cloud.environment
    )
    assert own.get("OWN") == "größe"
    with pytest.raises(Missing):
        own.get("MINE")
    with pytest.raises(Exception, match="holds no text"):
        own.get("BYTES")
    moto_cloud.secrets.delete_secret(SecretId=f"orca/{moto_cloud.workspace}/OWN")
    with pytest.raises(Missing):  # also while it can still be restored
        own.get("OWN")
