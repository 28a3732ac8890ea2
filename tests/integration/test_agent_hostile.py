"""Scripts that mean harm, or are merely broken: each ends, says why, and leaves the agent and its host unharmed."""

from __future__ import annotations

import io
import os
import stat
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agents.orca_agent.ids import new_id
from agents.orca_agent.protocol import MAX_LINE, Desired, Limits, tasks_body

if TYPE_CHECKING:
    from tests.fixtures.agent import AgentProcess, Events, MotoCloud

    Shared = tuple[MotoCloud, Events, AgentProcess]

pytest_plugins = ["tests.fixtures.agent"]

COLD = pytest.mark.parametrize("cold", ["", "1"], ids=["warm", "cold"])
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="steps run as another user only where the agent is root")


def alive(marker: str) -> list[int]:
    """Processes with ``marker`` in their command line or environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(marker.encode() in (folder / name).read_bytes() for name in ("cmdline", "environ")):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@COLD
def test_a_step_that_never_ends_is_ended(shared_agent: Shared, cold: str) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("while True: pass", limits=Limits(seconds=1), environment={"ORCA_COLD_START": cold})
    finished = events.finished(task)
    assert (finished.state, finished.reason) == ("timed_out", "time_limit")
    assert finished.message == "It ran for more than 1 seconds."
    assert finished.cpu_seconds > 0.02  # however busy the machine is


@COLD
def test_what_ignores_sigterm_and_hides_its_children_dies_all_the_same(shared_agent: Shared, cold: str) -> None:
    cloud, events, _ = shared_agent
    marker = f"orca-marker-{new_id()}"
    task = cloud.run(
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for _ in range(2):\n"
        f"    subprocess.Popen(['sleep', '600'], start_new_session=True, env={{'M': '{marker}'}})\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    if os.fork() == 0: os.execve('/bin/sleep', ['sleep', '600'], {{'M': '{marker}'}})\n"
        "    os._exit(0)\n"
        "print('there', flush=True)\n"
        "time.sleep(600)",
        environment={"ORCA_COLD_START": cold},
    )
    events.wait_for_line(task, "there")
    assert len(alive(marker)) >= 3
    cloud.desire(Desired(generation=2, cancelled=(task.step,)))
    finished = events.finished(task)
    assert (finished.state, finished.signal) == ("cancelled", 9)
    assert alive(marker) == []


def test_what_a_step_leaves_running_is_ended_with_it(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    marker = f"orca-marker-{new_id()}"
    files = {"go.sh": f"M={marker} setsid sleep 600 & M={marker} sleep 600 & echo started"}
    task = cloud.run(cloud.script(files, entrypoint="go.sh", runtime="shell"))
    finished = events.finished(task)
    assert (finished.state, events.text(task)) == ("succeeded", ["started"])
    assert alive(marker) == []


@COLD
def test_a_fork_bomb_is_defused(shared_agent: Shared, cold: str) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        limits=Limits(processes=40),
        environment={"ORCA_COLD_START": cold},
    )
    finished = events.finished(task, 60)
    assert (finished.state, finished.reason) == ("failed", "process_limit")
    after = cloud.run("print('still here')")
    assert events.finished(after).state == "succeeded"


@COLD
def test_memory_is_limited(shared_agent: Shared, cold: str) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(
        "import time\nheld = []\nwhile True: held.append(bytearray(10_000_000)); time.sleep(0.001)",
        limits=Limits(memory_mb=100),
        environment={"ORCA_COLD_START": cold},
    )
    finished = events.finished(task)
    assert (finished.state, finished.reason) == ("failed", "memory_limit")
    assert finished.peak_memory_mb > 100


def test_memory_is_counted_over_all_processes(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(
        "import os, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0: held = bytearray(60_000_000); time.sleep(600)\n"
        "time.sleep(600)",
        limits=Limits(memory_mb=150),
    )
    assert events.finished(task).reason == "memory_limit"


def test_a_hundred_megabytes_of_output_are_cut_and_counted(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(
        "import sys\nline = 'x' * 99 + '\\n'\nfor _ in range(1000): sys.stdout.write(line * 1000)\nprint('last')",
        limits=Limits(log_mb=1),
    )
    finished = events.finished(task, 60)
    assert finished.state == "succeeded"
    assert finished.log.truncated
    assert finished.log.bytes < 1_100_000
    lines = events.lines(task)
    assert len(lines) == finished.log.lines < 11_000
    assert lines[-1].stream == "orca"
    assert "more lines" in lines[-1].text
    assert len(cloud.get(finished.log.key)) == finished.log.bytes


def test_one_line_without_end_is_cut_in_pieces(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("import sys; sys.stdout.write('ä' * 1_000_000)")
    assert events.finished(task).state == "succeeded"
    lines = events.text(task)
    assert "".join(lines) == "ä" * 1_000_000
    assert max(len(line.encode()) for line in lines) <= MAX_LINE


def test_any_bytes_may_be_printed(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(
        "import os, sys\n"
        "os.write(1, bytes(range(256)) + b'\\n')\n"
        "os.write(1, 'größe\\n'.encode('latin-1'))\n"
        "os.write(1, b'windows\\r\\n')\n"
        "os.write(1, b' 10%\\r 20%\\r100%\\n')\n"
        "os.write(1, '\\uffff\\ufffe\\U0001f40b'.encode())"
    )
    assert events.finished(task).state == "succeeded"
    text = "\n".join(events.text(task))
    assert "\0" not in text
    assert "gr\ufffd\ufffde" in text
    assert text.endswith("windows\n100%\n\uffff\ufffe\U0001f40b")


def test_windows_line_ends_do_not_break_a_shell_script(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    files = {"go.sh": b"\xef\xbb\xbf#!/bin/sh\r\nif true; then\r\n  echo fine\r\nfi\r\n"}
    task = cloud.run(cloud.script(files, entrypoint="go.sh", runtime="shell"))
    assert events.finished(task).state == "succeeded"
    assert events.text(task) == ["fine"]


def test_nobody_answers_what_a_step_asks(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("import sys; print(repr(sys.stdin.read())); input()")
    finished = events.finished(task)
    assert finished.exit_code == 1
    assert events.text(task) == ["''"]
    assert events.text(task, "err")[-1] == "EOFError: EOF when reading a line"


@COLD
def test_death_by_signal_is_told(shared_agent: Shared, cold: str) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("import os; os.kill(os.getpid(), 11)", environment={"ORCA_COLD_START": cold})
    finished = events.finished(task)
    assert (finished.state, finished.reason, finished.exit_code, finished.signal) == (
        "failed",
        "signal",
        None,
        11,
    )
    assert finished.message == "It was ended by signal 11 (SIGSEGV)."


@COLD
def test_an_empty_script_succeeds(shared_agent: Shared, cold: str) -> None:
    cloud, events, _ = shared_agent
    finished = events.finished(cloud.run("", environment={"ORCA_COLD_START": cold}))
    assert (finished.state, finished.log.lines) == ("succeeded", 0)


def test_a_syntax_error_is_shown(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("def f(:\n")
    assert events.finished(task).exit_code == 1
    assert events.text(task, "err")[-1].startswith("SyntaxError: ")


def packed(entries: list[tuple[zipfile.ZipInfo | str, bytes]]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return content.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    "content",
    [
        b"this is no zip",
        b"",
        packed([("../../escaped.py", b"x")]),
        packed([("/tmp/escaped.py", b"x")]),
        packed([("a\\..\\..\\escaped.py", b"x")]),
        packed([(link("main.py"), b"/etc/passwd")]),
        packed([("other.py", b"")]),
        packed([("main.py/x", b"")]),
    ],
    ids=["garbage", "empty", "up", "absolute", "backslash", "link", "no entrypoint", "a folder"],
)
def test_a_bundle_that_cannot_be_trusted_is_refused(shared_agent: Shared, content: bytes) -> None:
    cloud, events, agent = shared_agent
    task = cloud.run(cloud.bundle(content))
    finished = events.finished(task)
    assert (finished.state, finished.reason) == ("failed", "bundle_invalid")
    assert finished.message
    # os.walk minds no folder that goes while it looks: those of the other steps do.
    assert not [folder for folder, _, names in os.walk(agent.root) if "escaped.py" in names]


def test_a_bundle_that_is_not_what_was_promised_is_refused(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    script = cloud.script({"main.py": "print('original')"})
    cloud.s3.put_object(Bucket=cloud.bucket, Key=script.key, Body=packed([("main.py", b"print('changed')")]))
    finished = events.finished(cloud.run(script))
    assert finished.reason == "bundle_invalid"
    assert "checksum" in finished.message


def test_a_missing_bundle_is_told(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    script = cloud.script({"main.py": f"# {new_id()}"})
    cloud.s3.delete_object(Bucket=cloud.bucket, Key=script.key)
    assert events.finished(cloud.run(script)).reason == "bundle_invalid"


def test_only_plain_files_below_the_output_folder_are_stored(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(
        "import os, socket\n"
        "open('output/good', 'w').write('1')\n"
        "os.symlink('/etc/passwd', 'output/link')\n"
        "os.symlink('/etc', 'output/folder')\n"
        "os.mkfifo('output/fifo')\n"
        "socket.socket(socket.AF_UNIX).bind('output/socket')\n"
        "open(b'output/\\xff\\n', 'w').write('2')\n"
    )
    finished = events.finished(task)
    assert finished.state == "succeeded", events.text(task, "err") + events.text(task, "orca")
    assert sorted(output.path for output in finished.outputs) == ["good", "\ufffd\ufffd"]
    assert len(cloud.keys(f"runs/{task.run}/{task.step}/1/output/")) == 2


def test_an_output_folder_that_is_a_link_is_not_followed(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("import os; os.rmdir('output'); os.symlink('/etc', 'output')")
    finished = events.finished(task)
    assert (finished.state, finished.outputs) == ("succeeded", ())


@ROOT_ONLY
def test_a_step_cannot_read_or_change_what_is_the_agents(shared_agent: Shared) -> None:
    cloud, events, agent = shared_agent
    other = cloud.run("import time; time.sleep(600)")
    state = agent.root / "var/lib/orca"
    task = cloud.run(
        "import os, subprocess\n"
        "def attempt(what, *arguments):\n"
        "    try: print('did it', what.__name__, what(*arguments))\n"
        "    except OSError as error: print('denied')\n"
        f"attempt(os.listdir, {str(state / 'journal')!r})\n"
        f"attempt(os.listdir, {str(state / 'bundles')!r})\n"
        f"attempt(os.listdir, {str(state / 'work')!r})\n"
        f"attempt(os.rename, {str(state / 'work')!r}, {str(state / 'x')!r})\n"
        f"attempt(open, {str(state / 'journal/events')!r}, 'w')\n"
        f"attempt(open, {str(agent.root / 'etc/orca/agent.json')!r}, 'w')\n"
        "attempt(open, '../log.txt')\n"
        "attempt(os.unlink, '../log.txt')\n"
        f"attempt(os.kill, {agent.process.pid if agent.process else 0}, 9)\n"
        "attempt(os.setuid, 0)\n"
    )
    assert events.finished(task).state == "succeeded"
    assert events.text(task) == ["denied"] * 10
    cloud.desire(Desired(generation=3, cancelled=(other.step,)))
    events.finished(other)


@COLD
def test_a_step_that_kills_its_warden_ends_with_it(shared_agent: Shared, cold: str) -> None:
    cloud, events, _ = shared_agent
    marker = f"orca-marker-{new_id()}"
    task = cloud.run(
        "import os, subprocess, time\n"
        f"subprocess.Popen(['sleep', '600'], start_new_session=True, env={{'M': '{marker}'}})\n"
        "try: os.kill(os.getppid(), 9)\n"
        "except PermissionError: raise SystemExit(77)\n"
        "time.sleep(600)",
        environment={"ORCA_COLD_START": cold},
    )
    finished = events.finished(task)
    assert (finished.reason, finished.exit_code) in {("start_failed", None), ("exit_code", 77)}
    until = time.monotonic() + 15
    while alive(marker) and time.monotonic() < until:
        time.sleep(0.1)
    assert alive(marker) == []


def test_the_warm_interpreter_is_replaced_when_it_dies(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("import os; print(os.getpid(), os.getppid(), open(f'/proc/{os.getppid()}/stat').read())")
    events.finished(task)
    server = int(events.text(task)[0].rpartition(")")[2].split()[1])
    os.kill(server, 9)
    for _ in range(3):
        assert events.finished(cloud.run("print(1)")).state == "succeeded"


def test_a_message_that_is_garbage_does_not_stop_the_others(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    for body in ("{", "[]", '{"tasks": []}', tasks_body([])):
        cloud.send(body, group=new_id())
    assert events.finished(cloud.run("print(1)")).state == "succeeded"
