"""All that comes to a step before it starts, apart from its script: what earlier steps have left, a shard's items."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Callable, Final, List

from agents.orca_agent.cloud.bucket import Bucket, Links
from agents.orca_agent.orders import Task
from agents.orca_agent.steps import data, inputs
from agents.orca_agent.steps.command import INPUT
from agents.orca_agent.steps.transfer import MB, Check, Count, Fetched, make_folder

WORTH_A_LINE: Final = 1.0
"""Seconds that fetching may take before the log says how much there was."""


def fetch(
    task: Task,
    folder: Path,
    bucket: Bucket,
    links: Links,
    *,
    reserve: int,
    check: Check,
    count: Count,
    say: Callable[[str], object],
) -> None:
    """Fetch it into folders below that of the step, leaving ``reserve`` bytes of the disk. Raises `StepFailed`."""

    def room() -> int:
        return shutil.disk_usage(folder).free - reserve

    began = time.monotonic()
    done: List[Fetched] = []
    make_folder(folder / "inputs")
    if task.inputs:
        done.append(inputs.fetch(task.inputs, folder / "inputs", bucket, links, room=room(), check=check, count=count))
    if task.data is not None:
        items = folder / INPUT
        make_folder(items)
        done.append(data.fetch(task.data, items, bucket, links, room=room(), check=check, count=count, say=say))
    took = time.monotonic() - began
    if took > WORTH_A_LINE and done:
        files, size = sum(one.files for one in done), sum(one.bytes for one in done) / MB
        say(f"Fetched its inputs in {took:.1f} s: {files} files, {size:.1f} MB.")
