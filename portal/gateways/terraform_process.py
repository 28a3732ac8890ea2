"""One Terraform process: its command line, its environment, its output line by line, and its end.

python-terraform keeps what it does well, turning options into a command line. What it does badly is replaced: it
waits at prompts, cannot stream, stop or time a command, gives it the whole environment, logs variables, reads the
wrong state, and runs any mistyped method name as a command.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import python_terraform

from portal.gateways.terraform_errors import TerraformCancelled, TerraformError, TerraformTimeout

GRACE_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_PIPE_BYTES = 1 << 20
_ERROR_BYTES = 1 << 16
_CHILD = Path(__file__).with_name("terraform_child.py")

_INHERITED = frozenset(
    (
        *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "GOGC"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    )
)


@dataclass(frozen=True)
class Invocation:
    """Where and how a Terraform process runs."""

    binary: str
    directory: Path
    data_dir: Path
    workspace: str
    cli_config: Path
    environment: Mapping[str, str]


def environment_for(invocation: Invocation) -> dict[str, str]:
    """What a Terraform process gets to see: the cloud's variables and what any program needs, nothing else of Orca's.

    No ``TF_*`` of the outside gets in: a ``TF_CLI_ARGS``, ``TF_LOG`` or ``TF_PLUGIN_CACHE_DIR`` would change what a run
    does, or corrupt the providers under parallel ones.
    """
    given = invocation.environment
    kept = {key: value for key, value in given.items() if key in _INHERITED or key.startswith("AWS_")}
    return {
        # Loading the provider's schemas is mostly garbage collection: half of it saves a third of the processor time.
        "GOGC": "400",
        **kept,
        "TF_WORKSPACE": invocation.workspace,
        "TF_DATA_DIR": str(invocation.data_dir),
        "TF_CLI_CONFIG_FILE": str(invocation.cli_config),
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
    }


class Terraform(python_terraform.Terraform):  # type: ignore[misc]  # python_terraform has no types
    """python-terraform's command building over a process of our own."""

    def __init__(self, invocation: Invocation, *, cancelled: threading.Event) -> None:
        self.invocation = invocation
        self.cancelled = cancelled
        super().__init__(
            working_dir=str(invocation.directory),
            terraform_bin_path=invocation.binary,
            is_env_vars_included=False,
        )

    def cmd(
        self,
        cmd: str,
        *args: str,
        hear: Callable[[str], None] = lambda line: None,
        seconds: float = 60.0,
        **options: Any,
    ) -> tuple[int, str, str]:
        """Run a command to its end; each line of its output goes to ``hear`` at once.

        Answers the exit code, an empty string (the output has been heard) and what came on standard error. Raises
        ``TerraformCancelled`` and ``TerraformTimeout`` when it was stopped for either reason.
        """
        line: list[str] = self.generate_cmd_string(cmd, *args, **options)
        code, errors = run(line, self.invocation, hear=hear, seconds=seconds, cancelled=self.cancelled)
        return code, "", errors

    def read_state_file(self, file_path: str | None = None) -> None:
        """Nothing: the state is in S3, and only Terraform reads it."""

    def _refused(self, *_: object, **__: object) -> NoReturn:
        raise NotImplementedError("Orca runs Terraform's commands through cmd() only.")

    # Each of these sends flags that Terraform refuses, or waits for an answer.
    init = plan = apply = destroy = output = set_workspace = create_workspace = delete_workspace = _refused

    def __getattr__(self, item: str) -> NoReturn:
        raise AttributeError(item)


def run(
    command: Sequence[str],
    invocation: Invocation,
    *,
    hear: Callable[[str], None],
    seconds: float,
    cancelled: threading.Event,
    grace: float = GRACE_SECONDS,
) -> tuple[int, str]:
    """Run ``command`` to its end; its exit code and the last of what came on standard error.

    Stopping, for whatever reason, is one SIGINT, upon which Terraform saves its state and gives the lock back, then
    ``grace`` seconds of waiting, then SIGKILL for it and its providers.
    """
    if cancelled.is_set():
        raise TerraformCancelled
    with tempfile.TemporaryFile() as errors:
        process, output = _start(command, invocation, errors)
        watch = _Watch(process, cancelled, seconds, grace)
        with output:
            watch.start()
            try:
                for raw in output:
                    hear(raw.decode("utf-8", "replace").rstrip("\n"))
                process.wait()
            finally:
                watch.end()
        said = _tail(errors)
    if process.returncode != 0 and watch.reason:
        stopped: TerraformError = (
            TerraformCancelled(detail=said)
            if watch.reason == "cancelled"
            else TerraformTimeout(command[1], seconds, detail=said)
        )
        stopped.state_lost = process.returncode < 0
        raise stopped
    return process.returncode, said


def _start(
    command: Sequence[str], invocation: Invocation, errors: IO[bytes]
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """The process and the stream of its output.

    The child holds the reading end of its own output too. When the worker dies, Terraform must still end in order; a
    last line written to a pipe that nobody reads would kill it before it has saved its state.
    """
    environment = environment_for(invocation)
    program = [sys.executable, "-I", "-S", str(_CHILD), str(os.getpid())]
    read_end, write_end = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    try:
        process = subprocess.Popen(
            [*program, _binary(command[0], environment), *command[1:]],
            cwd=invocation.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=write_end,
            stderr=errors,
            pass_fds=[read_end],
            start_new_session=True,
            umask=0o077,
        )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    return process, os.fdopen(read_end, "rb")


def _binary(name: str, environment: Mapping[str, str]) -> str:
    found = shutil.which(name, path=environment.get("PATH"))
    if found is None:
        raise TerraformError(
            f"The program {name} is not there.",
            code="terraform_no_program",
            hint="An operator installs Terraform 1.10 or newer.",
            fault="operator",
        )
    return found


def _tail(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _ERROR_BYTES))
    return errors.read().decode("utf-8", "replace").strip()


class _Watch:
    """Stops a process that was cancelled or takes too long."""

    def __init__(
        self, process: subprocess.Popen[bytes], cancelled: threading.Event, seconds: float, grace: float
    ) -> None:
        self.reason = ""
        self._process = process
        self._cancelled = cancelled
        self._deadline = time.monotonic() + seconds
        self._grace = grace
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name=f"terraform-{process.pid}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Leave nothing running: neither Terraform, if its reader failed, nor providers that it left behind."""
        if self._process.poll() is None and not self.reason:
            self._process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self._grace)
        self._ended.set()
        self._kill()
        self._process.wait()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            if self._cancelled.is_set():
                return self._interrupt("cancelled")
            if time.monotonic() > self._deadline:
                return self._interrupt("time")
        return None

    def _interrupt(self, reason: str) -> None:
        self.reason = reason
        self._process.send_signal(signal.SIGINT)
        if not self._ended.wait(self._grace):
            self._kill()

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def processes_of(data_dir: Path) -> list[int]:
    """Ids of the processes on this machine that work with ``data_dir``: Terraform itself and its providers.

    Whoever asks wants to know that nothing is left, so where that cannot be seen (no ``/proc``), this raises
    ``NotImplementedError`` rather than answer with an empty list.
    """
    if not Path("/proc/self/environ").exists():
        raise NotImplementedError("the processes of this machine cannot be seen")
    mark = f"TF_DATA_DIR={data_dir}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
