"""The process that runs Terraform, with a program in Terraform's place that does what a test tells it to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from portal.gateways.terraform_errors import TerraformCancelled, TerraformError, TerraformTimeout
from portal.gateways.terraform_process import Invocation, Terraform, environment_for, processes_of, run

REPOSITORY = Path(__file__).parents[4]


def _program(folder: Path, code: str) -> Path:
    path = folder / "terraform"
    path.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{textwrap.dedent(code)}")
    path.chmod(0o755)
    return path


def _invocation(folder: Path, **environment: str) -> Invocation:
    given = {"PATH": os.environ["PATH"], **environment}
    return Invocation("terraform", folder, folder / "data", "w1", folder / "terraform.rc", given)


def _run(
    folder: Path, code: str, *, cancelled: threading.Event | None = None, seconds: float = 20.0, grace: float = 10.0
) -> tuple[int, str, list[str]]:
    heard: list[str] = []
    program = _program(folder, code)
    ended, said = run(
        [str(program), "apply"],
        _invocation(folder),
        hear=heard.append,
        seconds=seconds,
        cancelled=cancelled or threading.Event(),
        grace=grace,
    )
    return ended, said, heard


def test_output_error_output_and_code(tmp_path: Path) -> None:
    code = "print('one'); print('two'); print('why', file=sys.stderr); sys.exit(3)"
    assert _run(tmp_path, code) == (3, "why", ["one", "two"])


def test_lines_are_heard_while_it_runs(tmp_path: Path) -> None:
    go = tmp_path / "go"
    program = _program(
        tmp_path,
        f"""
        print("first", flush=True)
        while not os.path.exists({str(go)!r}):
            time.sleep(0.01)
        """,
    )
    ended, _ = run(
        [str(program)], _invocation(tmp_path), hear=lambda line: go.touch(), seconds=20, cancelled=threading.Event()
    )
    assert ended == 0


def test_it_gets_no_input(tmp_path: Path) -> None:
    assert _run(tmp_path, "print(repr(sys.stdin.read()))")[2] == ["''"]


def test_what_it_writes_is_for_its_owner_only(tmp_path: Path) -> None:
    _run(tmp_path, "open('made', 'w').close()")
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600


_PATIENT = """
def stop(*_):
    print("saved", flush=True)
    sys.exit(1)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""

_STUBBORN = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


def test_cancel_lets_it_end_in_order(tmp_path: Path) -> None:
    cancelled, heard = threading.Event(), []

    def hear(line: str) -> None:
        heard.append(line)
        cancelled.set()

    program = _program(tmp_path, _PATIENT)
    with pytest.raises(TerraformCancelled) as caught:
        run([str(program)], _invocation(tmp_path), hear=hear, seconds=20, cancelled=cancelled)
    assert heard == ["ready", "saved"]
    assert not caught.value.state_lost


def test_one_that_does_not_end_is_killed_after_a_grace(tmp_path: Path) -> None:
    cancelled = threading.Event()
    program = _program(tmp_path, _STUBBORN)
    began = time.monotonic()
    with pytest.raises(TerraformCancelled) as caught:
        run(
            [str(program)],
            _invocation(tmp_path),
            hear=lambda line: cancelled.set(),
            seconds=20,
            cancelled=cancelled,
            grace=0.5,
        )
    assert 0.5 <= time.monotonic() - began < 10
    assert caught.value.state_lost


def test_a_cancelled_one_is_not_even_started(tmp_path: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(TerraformCancelled):
        _run(tmp_path, "open('made', 'w').close()", cancelled=cancelled)
    assert not (tmp_path / "made").exists()


def test_a_time_limit(tmp_path: Path) -> None:
    with pytest.raises(TerraformTimeout, match="longer than 1 seconds"):
        _run(tmp_path, _PATIENT, seconds=1.0)


def test_a_cancel_that_comes_too_late_changes_nothing(tmp_path: Path) -> None:
    cancelled = threading.Event()
    code = """
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    print("ready", flush=True)
    time.sleep(20)
    """
    program = _program(tmp_path, code)
    ended, _ = run(
        [str(program)], _invocation(tmp_path), hear=lambda line: cancelled.set(), seconds=20, cancelled=cancelled
    )
    assert ended == 0


def test_a_listener_that_fails_leaves_nothing_running(tmp_path: Path) -> None:
    def hear(line: str) -> None:
        raise RuntimeError("the listener broke")

    program = _program(tmp_path, _PATIENT)
    with pytest.raises(RuntimeError, match="the listener broke"):
        run([str(program)], _invocation(tmp_path), hear=hear, seconds=20, cancelled=threading.Event())
    assert processes_of(tmp_path / "data") == []


def test_providers_go_with_a_terraform_that_was_killed(tmp_path: Path) -> None:
    code = """
    if os.fork() == 0:
        os.close(1)
        time.sleep(60)
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    ended, _, heard = _run(tmp_path, code)
    assert (ended, heard) == (-signal.SIGKILL, ["ready"])
    until = time.monotonic() + 5
    while processes_of(tmp_path / "data") and time.monotonic() < until:
        time.sleep(0.02)
    assert processes_of(tmp_path / "data") == []


def test_a_worker_that_is_killed_lets_terraform_save_its_state(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    _program(
        tmp_path,
        f"""
        told = []
        signal.signal(signal.SIGINT, lambda *_: told.append(1))
        os.write(1, b"ready\\n")
        while not told:
            time.sleep(0.05)
        for number in range(2000):
            os.write(1, b"a last line\\n")
        time.sleep(0.3)
        with open({str(saved)!r} + ".new", "w") as file:
            file.write(str(len(told)))
        os.rename({str(saved)!r} + ".new", {str(saved)!r})
        """,
    )
    worker = f"""
import sys, threading
from pathlib import Path
from portal.gateways.terraform_process import Invocation, run
folder = Path({str(tmp_path)!r})
invocation = Invocation("terraform", folder, folder / "data", "w1", folder / "rc", {{"PATH": ""}})
run([str(folder / "terraform")], invocation, hear=lambda line: print(line, flush=True), seconds=60,
    cancelled=threading.Event())
"""
    with subprocess.Popen([sys.executable, "-c", worker], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    until = time.monotonic() + 10
    while not saved.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert saved.read_text() == "1", "told to stop twice, Terraform drops its state"


def test_it_sees_the_cloud_and_nothing_of_orca(tmp_path: Path) -> None:
    given = {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://proxy",
        "AWS_ENDPOINT_URL": "http://cloud",
        "SECRET_KEY": "hidden",
        "DATABASE_URL": "hidden",
        "TF_LOG": "trace",
        "TF_CLI_ARGS": "-lock=false",
        "TF_PLUGIN_CACHE_DIR": "/cache",
        "TF_VAR_signing_key": "hidden",
    }
    seen = environment_for(Invocation("terraform", tmp_path, tmp_path / "data", "w1", tmp_path / "rc", given))
    assert {name for name in seen if name.startswith("TF_")} == {
        *("TF_WORKSPACE", "TF_DATA_DIR", "TF_CLI_CONFIG_FILE", "TF_IN_AUTOMATION", "TF_INPUT")
    }
    assert (seen["TF_WORKSPACE"], seen["TF_DATA_DIR"], seen["TF_INPUT"]) == ("w1", str(tmp_path / "data"), "0")
    assert seen["AWS_ENDPOINT_URL"] == "http://cloud"
    assert seen["HTTPS_PROXY"] == "http://proxy"
    assert "hidden" not in seen.values()


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TerraformError) as caught:
        run(["no-such-terraform"], _invocation(tmp_path), hear=print, seconds=5, cancelled=threading.Event())
    assert caught.value.code == "terraform_no_program"


def test_python_terraforms_traps_are_closed(tmp_path: Path) -> None:
    terraform = Terraform(_invocation(tmp_path), cancelled=threading.Event())
    with pytest.raises(AttributeError):
        terraform.aply()
    for name in ("init", "plan", "apply", "destroy", "output", "set_workspace"):
        with pytest.raises(NotImplementedError):
            getattr(terraform, name)()


def test_options_become_a_command_line(tmp_path: Path) -> None:
    _program(tmp_path, "print(sys.argv[1:])")
    heard: list[str] = []
    invocation = _invocation(tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    terraform = Terraform(invocation, cancelled=threading.Event())
    code, _, _ = terraform.cmd("plan", "file", hear=heard.append, lock_timeout="0s", input=False, replace=["a", "b"])
    assert code == 0
    assert heard == ["['plan', '-lock-timeout=0s', '-input=false', '-replace=a', '-replace=b', 'file']"]
