"""What else runs one script many times on a machine: GNU parallel, and Dask's cluster of local processes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.orca.console import ScriptError, step
from scripts.orca.paths import ROOT

DASK: str = "2026.8.0"
_PEER = Path(__file__).with_name("dask_peer.py")


def parallel_seconds(folder: Path, *, slots: int, shards: int, command: Sequence[str]) -> float:
    """From the first one's start to the last one's end, as GNU parallel's own log tells them."""
    program = shutil.which("parallel")
    if program is None:
        raise ScriptError("GNU parallel is not there.", "sudo apt-get install parallel")
    log = folder / "parallel.log"
    numbers = "\n".join(map(str, range(shards)))
    called = [program, "--will-cite", "-j", str(slots), "-N1", "--joblog", str(log), f"{shlex.join(command)} # {{}}"]
    done = subprocess.run(called, input=numbers, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ScriptError("GNU parallel failed.", detail=done.stderr[-2_000:])
    rows = [line.split("\t") for line in log.read_text().splitlines()[1:]]
    begins = [float(row[2]) for row in rows]
    return max(float(row[2]) + float(row[3]) for row in rows) - min(begins)


def parallel_version() -> str:
    """Of GNU parallel; "" without it."""
    program = shutil.which("parallel")
    if program is None:
        return ""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0].split()[-1] if said else ""


def dask_seconds(*, slots: int, shards: int, command: Sequence[str]) -> float:
    """The same on Dask's ``LocalCluster``, as many processes as slots; each shard a process of its own."""
    python = _installed(ROOT / "var" / f"dask-{DASK}")
    called = [str(python), str(_PEER), str(slots), str(shards), *command]
    done = subprocess.run(called, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ScriptError("Dask failed.", detail=done.stderr[-2_000:])
    return float(done.stdout.split()[-1])


def _installed(place: Path) -> Path:
    python = place / "bin" / "python"
    if not (place / "installed").exists():
        with step(f"Dask {DASK} is installed (once)"):
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            packages = [f"dask=={DASK}", f"distributed=={DASK}"]
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
            (place / "installed").touch()
    return python
