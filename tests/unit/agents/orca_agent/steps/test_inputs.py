"""What earlier steps have left arrives whole, below its step's name, and nothing else arrives."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.cloud.transport import CannotWrite, FilePart, Target
from agents.orca_agent.events import Reason
from agents.orca_agent.orders import Input
from agents.orca_agent.steps import inputs, transfer
from agents.orca_agent.steps.failure import StepFailed, StepStopped
from tests.unit.agents.orca_agent.doubles import MemoryBucket, any_links

FETCH = Input("fetch", prefix="runs/r/s/1/output/")
MANIFEST = Input("far", manifest="control/inputs/m.json")


def never() -> None:
    return


def bucket_of(files: dict[str, bytes], prefix: str = FETCH.prefix) -> MemoryBucket:
    return MemoryBucket({prefix + path: content for path, content in files.items()})


def fetched(
    folder: Path,
    bucket: MemoryBucket,
    wanted: Sequence[Input] = (FETCH,),
    *,
    room: int = 10**9,
    check: Callable[[], object] = never,
) -> dict[str, bytes]:
    """What lies in the folder then, by path."""
    inputs.fetch(wanted, folder, bucket, any_links(), room=room, check=check, count=lambda size, own: None)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(folder: Path, bucket: MemoryBucket, wanted: Input = FETCH, *, room: int = 10**9) -> str:
    with pytest.raises(StepFailed) as failed:
        fetched(folder, bucket, [wanted], room=room)
    assert failed.value.reason == Reason.INPUT_FAILED
    return failed.value.message


def test_files_lie_below_the_name_of_their_step(tmp_path: Path) -> None:
    bucket = bucket_of({"a.csv": b"1,2", "deep/er/größe +%41.txt": b"x", "empty": b""})
    bucket.objects["runs/r/s/2/output/other"] = b"of another attempt"
    bucket.objects["runs/r/t/1/output/b"] = b"of another step"
    found = fetched(tmp_path, bucket, [FETCH, Input("second", prefix="runs/r/t/1/output/"), Input("nothing")])
    assert found == {
        "fetch/a.csv": b"1,2",
        "fetch/deep/er/größe +%41.txt": b"x",
        "fetch/empty": b"",
        "second/b": b"of another step",
    }
    assert (tmp_path / "nothing").is_dir()


def test_everybody_may_read_them_and_nobody_change_them(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        fetched(tmp_path, bucket_of({"deep/a": b"1"}))
    finally:
        os.umask(before)
    assert (tmp_path / "fetch/deep/a").stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "fetch/deep").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "fetch").stat().st_mode & 0o777 == 0o755


def test_a_large_file_comes_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PART", 1_000)
    content = os.urandom(10_500)
    bucket = bucket_of({"large": content, "small": b"s"})
    assert fetched(tmp_path, bucket)["fetch/large"] == content
    assert bucket.reads == 1 + 11 + 1  # the list, the parts, the small one


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/.", "x" * 256, "a\0b", "\ud800", "a/" * 600 + "b"]
)
def test_no_name_leads_out(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    assert "cannot be a file here" in refusal(folder, bucket_of({path: b"1"}))
    assert [found.name for found in tmp_path.rglob("*") if found.is_file()] == []


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    assert "'a/b'" in refusal(tmp_path, bucket_of({"a": b"1", "a/b": b"2"}))


def test_what_consoles_keep_for_folders_is_no_file(tmp_path: Path) -> None:
    assert fetched(tmp_path, bucket_of({"": b"", "a/": b"", "a/b": b"1"})) == {"fetch/a/b": b"1"}


def test_nothing_is_fetched_for_which_there_is_no_room(tmp_path: Path) -> None:
    bucket = bucket_of({"a": b"x" * 1_000_000, "b": b"x" * 1_000_000})
    message = refusal(tmp_path, bucket, room=1_500_000)
    assert message == "Its inputs take 1.9 MB; the disk has room for 1.4 MB."
    assert list(tmp_path.iterdir()) == []


def test_what_must_be_there_is_missed(tmp_path: Path) -> None:
    wanted = Input("fetch", prefix=FETCH.prefix, files=("a", "deep/b", "c"))
    bucket = bucket_of({"a": b"1", "other": b"2"})
    assert refusal(tmp_path, bucket, wanted) == "Step fetch has left no 'deep/b', 'c', which this step needs."
    assert refusal(tmp_path, bucket, Input("none", files=("a",))).startswith("Step none has left no 'a'")
    bucket.objects |= {FETCH.prefix + "deep/b": b"", FETCH.prefix + "c": b""}
    assert len(fetched(tmp_path, bucket, [wanted])) == 4


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MAX_FILES", 10)
    assert "at most 10" in refusal(tmp_path, bucket_of({str(n): b"" for n in range(12)}))


def test_it_can_be_broken_off_in_the_middle_of_a_file(tmp_path: Path) -> None:
    stopped = threading.Event()

    class Slow(MemoryBucket):
        def fetch(self, key: str, into: Target, *, start: int, length: int) -> int:
            stopped.set()
            into.write(b"x")
            return pytest.fail("the step had been stopped")

    def check() -> None:
        if stopped.is_set():
            raise StepStopped("cancelled")

    with pytest.raises(StepStopped):
        fetched(tmp_path, Slow({FETCH.prefix + "a": b"xyz"}), check=check)


def test_one_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    hanging, go_on = threading.Event(), threading.Event()

    class Hanging(MemoryBucket):
        def fetch(self, key: str, into: Target, *, start: int, length: int) -> int:
            hanging.set()
            go_on.wait(30)
            return length

    def check() -> None:
        if hanging.is_set():
            raise StepStopped("cancelled")

    try:
        with pytest.raises(StepStopped):
            fetched(tmp_path, Hanging({FETCH.prefix + "a": b"xyz"}), check=check)
        assert not go_on.is_set()
    finally:
        go_on.set()


def test_what_cannot_be_fetched_names_the_file(tmp_path: Path) -> None:
    bucket = bucket_of({"a": b"1", "b": b"2"})
    bucket.fail.add("output/b")
    assert refusal(tmp_path, bucket).startswith("'b' of step fetch could not be fetched: Unreachable")


def test_what_fails_in_passing_is_fetched_all_the_same(tmp_path: Path) -> None:
    class Moody(MemoryBucket):
        def fetch(self, key: str, into: Target, *, start: int, length: int) -> int:
            if self.fail:
                self.fail.clear()
                raise CloudError("SlowDown", key, retryable=True)
            return super().fetch(key, into, start=start, length=length)

    assert fetched(tmp_path, Moody({FETCH.prefix + "a": b"xyz"}, fail={"once"})) == {"fetch/a": b"xyz"}


def test_what_cannot_be_listed_names_the_step(tmp_path: Path) -> None:
    bucket = bucket_of({"a": b"1"})
    bucket.fail.add("runs/r")
    assert refusal(tmp_path, bucket).startswith("What step fetch has left cannot be listed: Unreachable")


def test_a_file_that_changes_meanwhile_is_not_taken_for_whole(tmp_path: Path) -> None:
    class Shrinking(MemoryBucket):
        def fetch(self, key: str, into: Target, *, start: int, length: int) -> int:
            return super().fetch(key, into, start=start, length=length - 1) - 1

    assert "its size has changed" in refusal(tmp_path, Shrinking({FETCH.prefix + "a": b"xyz"}))


def manifest_of(*files: object) -> MemoryBucket:
    return MemoryBucket({MANIFEST.manifest: json.dumps({"files": files}).encode()})


@pytest.mark.parametrize(
    "file",
    [
        {"path": "a", "size": 1},
        {"path": "a", "size": -1, "url": "https://b.example/a"},
        {"path": "a", "size": "1", "url": "https://b.example/a"},
        {"path": "a", "size": 1, "url": "file:///etc/passwd"},
        {"path": "a", "size": 1, "url": "ftp://b.example/a"},
        {"path": "a", "size": 1, "url": "https:///a"},
        {"path": "a", "size": 1, "url": "https://b.example/a b"},
        {"path": "a", "size": 1, "url": "https://b.example/\r\nx-evil: 1"},
        {"path": "a", "size": 1, "url": "https://me:word@b.example/"},
        {"path": "a", "size": 1, "url": "https://b.example/" + "x" * 9_000},
        "a",
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(tmp_path: Path, file: object) -> None:
    assert refusal(tmp_path, manifest_of(file), MANIFEST).startswith("What step far has left cannot be listed: ")


def test_a_manifest_that_is_none_or_not_there_is_told(tmp_path: Path) -> None:
    assert "not valid JSON" in refusal(tmp_path, MemoryBucket({MANIFEST.manifest: b"<html>"}), MANIFEST)
    assert refusal(tmp_path, MemoryBucket(), MANIFEST) == "The list of what step far has left is not there."


def test_a_manifest_of_ten_thousand_files_is_read(tmp_path: Path) -> None:
    links = [{"path": f"d/{n}", "size": 0, "url": f"https://b.example/{n}?{'x' * 2_000}"} for n in range(10_000)]
    assert len(fetched(tmp_path, manifest_of(*links), [MANIFEST])) == 10_000


def test_names_in_a_manifest_do_not_lead_out_either(tmp_path: Path) -> None:
    bucket = manifest_of({"path": "../x", "size": 1, "url": "https://b.example/a"})
    assert "cannot be a file here" in refusal(tmp_path, bucket, MANIFEST)


def test_a_disk_that_is_full_is_no_broken_connection(tmp_path: Path) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(CannotWrite, match="No space left"):
            FilePart(descriptor, 0, never).write(b"x")
    finally:
        os.close(descriptor)
    assert not CannotWrite("CannotWrite", "").retryable
    assert issubclass(CannotWrite, CloudError)
