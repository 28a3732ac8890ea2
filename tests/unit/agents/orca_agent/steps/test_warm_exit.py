"""A script that the warm interpreter runs ends as it does under an interpreter of its own: nothing it wrote is lost."""

from __future__ import annotations

import getpass
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.orca_agent.account import Account
from agents.orca_agent.steps.process import Order, start
from agents.orca_agent.steps.pump import pump
from agents.orca_agent.steps.warm_server import WarmServer

ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8"}
ACCOUNT = Account(getpass.getuser(), None, None, Path("/"))

SCRIPTS = {
    "a file left open": "f = open('f', 'w'); f.write('x' * 10)",
    "a file left open in a cycle": "class A: pass\na = A(); a.me = a; a.f = open('f', 'w'); a.f.write('kept')",
    "a file that another module holds": "import string; string.kept = open('f', 'w'); string.kept.write('kept')",
    "a gzip file left open": "import gzip; g = gzip.GzipFile('f', 'wb', mtime=0); g.write(b'kept')",
    "a zip file left open": "import zipfile; z = zipfile.ZipFile('f', 'w'); z.writestr(zipfile.ZipInfo('a'), 'kept')",
    "a csv writer": "import csv; w = csv.writer(open('f', 'w', newline='')); w.writerow([1, 2])",
    "a finalizer": "class A:\n  def __del__(self): print('gone', sorted(k for k in [1, 2]))\na = A()",
    "a finalizer with globals": "import os\nN = 3\nclass A:\n  def __del__(self): print(N, os.sep)\na = A()",
    "atexit": "import atexit; atexit.register(print, 'last'); atexit.register(print, 'first')",
    "atexit that fails": """
import atexit
def f(): raise ValueError('no')
atexit.register(print, 'still')
atexit.register(f)
""",
    "a thread": "import threading, time; threading.Thread(target=lambda: (time.sleep(.2), print('done'))).start()",
    "a daemon thread": "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "a pool": "from concurrent.futures import ThreadPoolExecutor as P; P().submit(lambda: print('in the pool'))",
    "no line end": "import sys; sys.stdout.write('abc'); sys.stderr.write('def')",
    "bytes": "import sys; sys.stdout.buffer.write(bytes(range(256)))",
    "a status": "raise SystemExit(300)",
    "a negative status": "raise SystemExit(-1)",
    "a word as status": "import sys; sys.exit('it went wrong')",
    "none as status": "import sys; sys.exit(None)",
    "an error": "open('f', 'w').write('before')\n1 / 0",
    "a closed stdout": "import sys; sys.stdout.close()",
    "os._exit": "import os; print('said', flush=True); os._exit(5)",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "an interrupt": "raise KeyboardInterrupt",
    "a module of its own": "import sys; sys.path.insert(0, '.'); import mine",
    "a compiled module": "import array; print(array.array('i', [1]))",
    "a hook": "import sys; sys.excepthook = lambda *e: print('hooked', e[0].__name__); 1 / 0",
    "a child": """
import multiprocessing
context = multiprocessing.get_context('fork')
context.Process(target=print, args=('child',), kwargs={'flush': True}).start()
""",
}


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmServer]:
    server = WarmServer(ACCOUNT, ENVIRONMENT)
    assert server.open()
    time.sleep(0.5)
    yield server
    server.close()


class Heard:
    """A sink that keeps all."""

    def __init__(self) -> None:
        self.said = {"out": b"", "err": b""}

    def write(self, stream: str, data: bytes) -> None:
        self.said[stream] += data

    def due(self) -> float:
        return float("inf")

    def flush(self) -> None:
        """Nothing waits."""


def ended(folder: Path, text: str, warm: WarmServer | None) -> tuple[object, ...]:
    folder.mkdir()
    (folder / "main.py").write_text(text)
    (folder / "mine.py").write_text("f = open('f', 'w'); f.write('from mine')")
    argv = [sys.executable, str(folder / "main.py")]
    order = Order(argv, {**ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1"}, folder, ACCOUNT, 60, 2048, 256, 10_000, 1_000)
    process = start(order, warm)
    assert process.warm is (warm is not None)
    heard = Heard()
    try:
        ending = pump(process, heard, seconds=60)
    finally:
        process.close()
    kept = folder / "f"
    plain = [heard.said[stream].decode("latin-1").replace(str(folder), "") for stream in ("out", "err")]
    said = [re.sub(r"0x[0-9a-f]+", "0x", text) for text in plain]
    return ending.exit_code, ending.signal, ending.failed, *said, kept.read_bytes() if kept.exists() else None


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_ends_as_under_an_interpreter_of_its_own(tmp_path: Path, warm: WarmServer, name: str) -> None:
    text = SCRIPTS[name]
    assert ended(tmp_path / "warm", text, warm) == ended(tmp_path / "cold", text, None)
