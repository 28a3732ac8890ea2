"""One SSH session: a shell, a command, sftp or scp, run as ``analyst`` inside of the running sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import termios
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import asyncssh

from agents.local_cloud.instances.machine import Machine
from agents.local_cloud.instances.root_folder import USER
from agents.local_cloud.instances.sandbox import INSIDE, INSIDE_AT, PATH, Tools, join_command

SHELL = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")

#: Linux: open the other end of a terminal by its near end alone, whatever file systems are in sight.
TIOCGPTPEER = 0x5441
TIOCSPTLCK = 0x40045431

_CHUNK = 64 * 1024
_CLIENT_VARIABLES = ("LANG", "TERM", "COLORTERM")


#: Serves one session from its start to its end.
SessionHandler = Callable[[asyncssh.SSHServerProcess[bytes]], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Launch:
    """A command as it is started: its environment, and the descriptors that it inherits."""

    command: list[str]
    environment: dict[str, str]
    descriptors: tuple[int, ...]


class Session(asyncssh.SSHServerProcess[bytes]):
    """A session in which sftp is a command like any other, run inside of the instance; asyncssh's own is not used."""

    def __init__(self, handler: SessionHandler) -> None:
        super().__init__(handler, None, 0, False)
        self._handler = handler

    def subsystem_requested(self, subsystem: str) -> bool:
        """Only sftp is there."""
        return subsystem == "sftp"

    def session_started(self) -> None:
        """Hand the streams to the handler, whatever kind of session it is."""
        channel = self.channel
        self._stdin = asyncssh.SSHReader[bytes](self, channel)
        self._stdout = asyncssh.SSHWriter[bytes](self, channel)
        self._stderr = asyncssh.SSHWriter[bytes](self, channel, asyncssh.EXTENDED_DATA_STDERR)
        channel.get_connection().create_task(self._handler(self))


async def serve_session(
    process: asyncssh.SSHServerProcess[bytes], machine: Machine, tools: Tools, environment: dict[str, str]
) -> None:
    """Run what the client asks for and report how it ended."""
    try:
        standing = machine.standing
        command = _command(process, tools)
        if command is None:
            process.exit(127)
            return
        home = f"/home/{USER}" if tools.bwrap else str(machine.folder.home)
        joined = join_command(tools, machine.folder, standing, command)
        launch = Launch(joined, _environment(process, environment, home), standing.descriptors)
        if process.term_type is not None:
            terminal = _open_terminal(standing.init_pid, machine.folder.place.user_id)
            status = await _on_terminal(process, launch, terminal)
        else:
            status = await _on_pipes(process, launch)
        if status < 0:
            process.exit_with_signal(_signal_name(-status))
        else:
            process.exit(status)
    except (ConnectionError, asyncssh.ConnectionLost):
        process.close()
    except Exception:
        traceback.print_exc()
        process.exit(255)


def _command(process: asyncssh.SSHServerProcess[bytes], tools: Tools) -> list[str] | None:
    if process.subsystem == "sftp":
        server = next((path for path in SFTP_SERVERS if Path(path).exists()), None)
        inside = INSIDE_AT if tools.bwrap else str(INSIDE)
        return [server] if server else [tools.python, "-I", "-B", f"{inside}/sftp_server.py"]
    if process.subsystem:
        return None
    if process.command is None:
        return [SHELL, "-l"]
    return [SHELL, "-c", process.command]


def _environment(process: asyncssh.SSHServerProcess[bytes], instance: dict[str, str], home: str) -> dict[str, str]:
    asked = {
        name: value
        for name, value in process.env.items()
        if isinstance(name, str) and isinstance(value, str) and (name in _CLIENT_VARIABLES or name[:3] == "LC_")
    }
    peer = process.get_extra_info("peername")
    own = process.get_extra_info("sockname")
    connection = f"{peer[0]} {peer[1]} {own[0]} {own[1]}" if peer and own else ""
    variables = {
        **instance,
        **asked,
        "HOME": home,
        "LOGNAME": USER,
        "PATH": PATH,
        "SHELL": SHELL,
        "SSH_CONNECTION": connection,
        "USER": USER,
    }
    if process.term_type is not None:
        variables["TERM"] = process.term_type or "dumb"
    return variables


async def _on_pipes(process: asyncssh.SSHServerProcess[bytes], launch: Launch) -> int:
    """Run the command on pipes; its status. What it leaves running keeps no session open."""
    child = await asyncio.create_subprocess_exec(
        *launch.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=launch.environment,
        limit=4 * _CHUNK,
        pass_fds=launch.descriptors,
        start_new_session=True,
    )
    feeding = asyncio.create_task(_feed(process, Pipe(child.stdin)))
    outputs = [
        asyncio.create_task(_drain(child.stdout, process.stdout)),
        asyncio.create_task(_drain(child.stderr, process.stderr)),
    ]
    try:
        status = await child.wait()
        await asyncio.wait(outputs, timeout=5)
        return status
    finally:
        for task in (feeding, *outputs):
            task.cancel()


async def _on_terminal(process: asyncssh.SSHServerProcess[bytes], launch: Launch, terminal: tuple[int, int]) -> int:
    """Run the command on a terminal of its own; its status. Hanging up ends it."""
    loop = asyncio.get_running_loop()
    master, slave = terminal
    _resize(master, process.term_size)
    try:
        # setsid(1) takes the terminal: code of ours between fork and exec could hang in a process with threads.
        child = await asyncio.create_subprocess_exec(
            *("setsid", "--ctty", *launch.command),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=launch.environment,
            pass_fds=launch.descriptors,
        )
    finally:
        os.close(slave)
    output = asyncio.StreamReader(limit=4 * _CHUNK)
    reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(output), os.fdopen(master, "rb", 0))
    tasks = {
        "typing": asyncio.create_task(_feed(process, Keyboard(master))),
        "showing": asyncio.create_task(_drain(output, process.stdout)),
        "waiting": asyncio.create_task(child.wait()),
        "leaving": asyncio.create_task(process.wait_closed()),
    }
    try:
        await asyncio.wait({tasks["waiting"], tasks["leaving"]}, return_when=asyncio.FIRST_COMPLETED)
        if tasks["waiting"].done():
            await asyncio.wait({tasks["showing"]}, timeout=1)
    finally:
        for task in tasks.values():
            task.cancel()
        # Closing the last end of the terminal hangs up what still runs on it.
        reading.close()
    await _end(child)
    return child.returncode if child.returncode is not None else -signal.SIGHUP


async def _end(child: asyncio.subprocess.Process) -> None:
    """See that a command ends whose terminal was hung up, also where it had not taken the terminal yet."""
    for number in (signal.SIGHUP, signal.SIGKILL):
        if child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), 2)


class Sink(Protocol):
    """Where the client's input goes."""

    async def put(self, data: bytes) -> None:
        """Take ``data``; wait as long as there is no room for it."""

    def end(self) -> None:
        """No more will come."""

    def resize(self, size: tuple[int, int, int, int]) -> None:
        """The client's window has another size now: columns, rows, pixels."""


class Pipe:
    """The standard input of a command without a terminal."""

    def __init__(self, writer: asyncio.StreamWriter | None) -> None:
        if writer is None:
            raise ValueError("the command has no standard input")
        self._writer = writer

    async def put(self, data: bytes) -> None:
        """See ``Sink``."""
        self._writer.write(data)
        await self._writer.drain()

    def end(self) -> None:
        """See ``Sink``."""
        self._writer.close()

    def resize(self, size: tuple[int, int, int, int]) -> None:
        """See ``Sink``: there is no window."""


class Keyboard:
    """The near end of a terminal, not blocking."""

    def __init__(self, master: int) -> None:
        self._master = master

    async def put(self, data: bytes) -> None:
        """See ``Sink``."""
        loop = asyncio.get_running_loop()
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                room = loop.create_future()
                loop.add_writer(self._master, room.set_result, None)
                try:
                    await room
                finally:
                    loop.remove_writer(self._master)

    def end(self) -> None:
        """See ``Sink``: what ^D means to a terminal."""
        with contextlib.suppress(OSError):
            os.write(self._master, b"\x04")

    def resize(self, size: tuple[int, int, int, int]) -> None:
        """See ``Sink``."""
        _resize(self._master, size)


async def _feed(process: asyncssh.SSHServerProcess[bytes], sink: Sink) -> None:
    """Carry what the client types until it is done."""
    with contextlib.suppress(OSError, asyncssh.Error):
        while True:
            try:
                data = await process.stdin.read(_CHUNK)
            except asyncssh.TerminalSizeChanged as change:
                sink.resize((change.width, change.height, change.pixwidth, change.pixheight))
                continue
            except (asyncssh.BreakReceived, asyncssh.SignalReceived):
                continue
            if not data:
                break
            await sink.put(data)
    sink.end()


async def _drain(source: asyncio.StreamReader | None, target: Any) -> None:
    """Carry what the command writes. A terminal whose last process has gone reads as an error, not as an end."""
    if source is None:
        return
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()


def _open_terminal(init_pid: int, user_id: int) -> tuple[int, int]:
    """A terminal of the instance's own /dev/pts, so that ``tty`` and ``screen`` find it; else one of this machine's."""
    try:
        master = os.open(f"/proc/{init_pid}/root/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW)
    except OSError:
        return pty.openpty()
    try:
        fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
        slave: int = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        os.close(master)
        return pty.openpty()
    with contextlib.suppress(OSError):
        os.fchown(slave, user_id, -1)
    return master, slave


def _resize(master: int, size: tuple[int, int, int, int]) -> None:
    width, height, pixels_wide, pixels_high = size
    with contextlib.suppress(OSError):
        fcntl.ioctl(
            master, termios.TIOCSWINSZ, struct.pack("HHHH", height or 24, width or 80, pixels_wide, pixels_high)
        )


def _signal_name(number: int) -> str:
    return signal.Signals(number).name.removeprefix("SIG")
