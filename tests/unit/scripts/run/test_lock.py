"""One Orca at a time: the second is told where the first is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.orca.console import ScriptError
from scripts.orca.run.lock import lock_take

# Looks like `scripts/run` in the process list, and holds the lock until its input ends.
_HOLDER = """
import sys
from pathlib import Path
from scripts.orca.run.lock import lock_take
lock_take(Path(sys.argv[1]), "http://127.0.0.1:8000")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "lock"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _HOLDER, str(path), "scripts.orca.run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_refused_with_address_and_process(path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(ScriptError) as refused:
        lock_take(path, "http://127.0.0.1:9000")
    assert refused.value.message == f"Orca is running already: http://127.0.0.1:8000 (process {holder.pid})."
    assert f"kill {holder.pid}" in refused.value.hint


def test_it_is_free_again_when_the_first_is_killed(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    file = lock_take(path, "http://127.0.0.1:9000")
    assert json.loads(path.read_text()) == {"pid": os.getpid(), "url": "http://127.0.0.1:9000"}
    os.close(file)


def test_one_that_is_only_stopping_is_waited_for(path: Path, holder: subprocess.Popen[str]) -> None:
    # Its scripts/run is gone, supervisor still holds the lock.
    path.write_text(json.dumps({"pid": 2**22 + 1, "url": "http://127.0.0.1:8000"}))
    end = threading.Timer(0.3, holder.kill)
    end.start()
    os.close(lock_take(path, "http://127.0.0.1:9000"))
    end.join()
