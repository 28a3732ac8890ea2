"""The warm interpreter: a process that has imported what scripts usually import, and forks for each of them.

It runs as the steps' user and knows no credentials. The agent sends it, over the socket that is its
descriptor 0, one byte and one descriptor: a channel. It forks a warden for it (see `warden`). Over the channel
the agent sends the warden one byte and two descriptors, a step's output and error stream, and then the order.
The warden forks once more; that process becomes the step and runs the script as ``python script.py`` would.
When the step has ended, the warden waits for another, until the agent closes the channel: it is half the work
of starting a step to fork the process that watches over it.
"""

from __future__ import annotations

import atexit
import builtins
import ctypes
import gc
import importlib
import importlib.machinery
import io
import os
import signal
import socket
import sys
import threading
import time
import traceback
import types

from agents.orca_agent.steps import warden
from agents.orca_agent.steps.preload import PRELOAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, NoReturn, Optional, Set


def preload() -> None:
    """Import what is there; an image may leave out parts of the standard library."""
    for name in PRELOAD:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    gc.collect()
    gc.freeze()


def serve(server: socket.socket) -> Optional[warden.Warden]:
    """Fork a warden for every channel that comes. Returns in the process that becomes a step, or at the end.

    Returning, instead of running the script from here, keeps our frames out of the script's stack.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        byte, descriptors, _, _ = socket.recv_fds(server, 1, 1)
        if not byte:
            return None
        if os.fork() == 0:
            server.close()
            return watch_over(socket.socket(fileno=descriptors[0]))
        os.close(descriptors[0])


def watch_over(channel: socket.socket) -> warden.Warden:
    """In a fork: be the warden of one step after the other; or, in a fork of that, return to become the step."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    watching = warden.Warden(channel.fileno())
    while True:
        try:
            byte, streams, _, _ = socket.recv_fds(channel, 1, 2)
            if not byte:
                os._exit(0)
            for number, stream in enumerate(streams, 1):
                os.dup2(stream, number)
                os.close(stream)
            if watching.begin():
                return watching
        except (EOFError, OSError):
            os._exit(1)
        for number in (1, 2):
            os.dup2(null, number)
        watching.watch()


def prepare(order: Mapping[str, Any], report: int) -> str:
    """In the step's process: limits, environment, arguments. Returns the script's path."""
    warden.settle(order, report)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.argv = order["argv"][1:]
    path = os.path.abspath(sys.argv[0])  # noqa: PTH100 (pathlib is not ours to rely on here)
    sys.path[0] = os.path.dirname(path)  # noqa: PTH120
    for name in [name for name in sys.modules if name.partition(".")[0] == "agents"]:
        del sys.modules[name]  # a script may have an ``agents`` of its own
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    return path


def run(path: str) -> None:
    """Run a script as ``__main__``. An exception is shown as the interpreter would, without our own frames."""
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=builtins, __cached__=None)
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    sys.modules["__main__"] = main
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            source = file.read()
        try:
            code = compile(source, path, "exec")
        except (SyntaxError, ValueError) as error:
            traceback.print_exception(type(error), error, None)
            sys.exit(1)
        exec(code, main.__dict__)  # noqa: S102 (this is what it is for)
    except SystemExit:
        raise
    except BaseException as error:
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        sys.exit(1)


def exit_status(end: SystemExit) -> int:
    """The status that ``sys.exit`` asks for; what is no number is printed, as the interpreter does."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    sys.stderr.write(f"{end.code}\n")
    return 1


def write_out() -> bool:
    """Write out what open files have buffered; False if standard output cannot."""
    well = True
    for found in [*gc.get_objects(), sys.stdout, sys.stderr]:
        if isinstance(found, io.IOBase):
            try:
                if not found.closed and found.writable():
                    found.flush()
            except BaseException:
                well = well and found is not sys.stdout
    return well


def leave(status: int, own: Set[str]) -> NoReturn:
    """End as the interpreter does, but leave the ``own`` modules, those of the warm interpreter, as they are.

    Taking them apart would copy all their memory, which is shared with the interpreter that was forked: 14 ms of work
    after each script. What the script has made is taken apart: threads are waited for, ``atexit`` runs, objects die,
    open files are written out.
    """
    for last in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        try:
            last()
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
    theirs = [name for name in sys.modules if name not in own or name == "__main__"]
    compiled = any(str(getattr(sys.modules[name], "__file__", "")).endswith(".so") for name in theirs)
    exit_in_c = ctypes.CDLL(None).exit  # writes out what code in C has buffered
    for name in theirs:
        del sys.modules[name]
    sys.last_type = sys.last_value = sys.last_traceback = None
    write_out()  # before files die in an order that nobody knows
    gc.collect()
    status = status if write_out() else 120
    if compiled:
        exit_in_c(status)
    os._exit(status)


def main() -> None:
    """Serve until the agent closes the socket."""
    server = socket.socket(fileno=os.dup(0))
    preload()
    watching = serve(server)
    if watching is None:
        return
    try:
        path = prepare(watching.order, watching.report)
    except BaseException as error:
        warden.complain(error)
    os.close(warden.REPORT)
    own = set(sys.modules)
    try:
        run(path)
    except SystemExit as end:
        status = exit_status(end)
    else:
        status = 0
    leave(status, own)
