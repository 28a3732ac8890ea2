"""The same shards on one node, two, four and eight; and beside GNU parallel and Dask with as many slots."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from scripts.orca.bench.dispatch import interpreter_of
from scripts.orca.bench.fanout_jobs import SLEEPS, Shards, ended_well, files_served, shards_of, submitted
from scripts.orca.bench.figures import Report
from scripts.orca.bench.installation import Lab
from scripts.orca.bench.shard_peers import dask_seconds, parallel_seconds
from scripts.orca.console import ScriptError, say

_NODES_WITHIN = 300.0


def scaled(report: Report, lab: Lab, *, most: int, each: int, seconds: float, rounds: int, folder: Path) -> None:
    """Adds the efficiency of ``most`` nodes of one slot, with ``each`` shards for every node of that last turn."""
    script = lab.person.upload("sleeps", main_py=SLEEPS)
    shards = most * each
    took: dict[int, float] = {}
    nodes = 1
    while nodes <= most:
        report.add(f"nodes_{nodes}_start_s", [_started(lab, script, nodes)], "s")
        _turn(lab, script, nodes=nodes, shards=2 * nodes, seconds=seconds)  # instances that are new warm up
        runs = [_turn(lab, script, nodes=nodes, shards=shards, seconds=seconds) for _ in range(rounds)]
        found = report.add(f"nodes_{nodes}_s", [run.seconds for run in runs], "s")
        took[nodes] = found.median
        report.add(
            f"nodes_{nodes}_overhead_ms",
            [overhead_ms(run.seconds, slots=nodes, shards=shards, seconds=seconds) for run in runs],
            "ms",
        )
        report.add(f"nodes_{nodes}_shard_ms", [1000 * run.each for run in runs], "ms")
        nodes *= 2
    last = nodes // 2
    for few, wall in took.items():
        report.ratio(f"efficiency_{few}_nodes", took[1] / (few * wall))
    _beside(report, lab, script, nodes=last, shards=shards, seconds=seconds, rounds=rounds, folder=folder)


def overhead_ms(wall: float, *, slots: int, shards: int, seconds: float) -> float:
    """Milliseconds that a slot is taken for each shard, beyond what the shard sleeps."""
    return 1000 * (wall * slots - shards * seconds) / shards


def _started(lab: Lab, script: str, nodes: int) -> float:
    """Have so many nodes come, by a job that wants them; seconds from its submission until they are up."""
    began = time.monotonic()
    with files_served(nodes) as urls:
        data = {"kind": "urls", "urls": urls}
        job = submitted(lab, script, data, seconds=1, nodes=nodes, shards=nodes)
        path = f"workspaces/{lab.workspace}/"
        lab.person.until(
            path,
            lambda found: sum(one["state"] == "running" for one in found["instances"]) >= nodes,
            seconds=_NODES_WITHIN,
        )
        took = time.monotonic() - began
        ended_well(lab, job)
    return took


def _turn(lab: Lab, script: str, *, nodes: int, shards: int, seconds: float) -> Shards:
    with files_served(shards) as urls:
        data = {"kind": "urls", "urls": urls}
        job = submitted(lab, script, data, seconds=seconds, nodes=nodes, shards=shards)
        ended_well(lab, job, every=1.0)
    found = shards_of(lab, job)
    if found.instances != min(nodes, shards):
        raise ScriptError(f"A job on {nodes} nodes ran on {found.instances}.")
    say(f"  {shards} shards of {seconds:g} s on {nodes} nodes: {found.seconds:.2f} s")
    return found


def _beside(
    report: Report, lab: Lab, script: str, *, nodes: int, shards: int, seconds: float, rounds: int, folder: Path
) -> None:
    """The same script with the same interpreter on this machine, in turn with ours."""
    program = folder / "main.py"
    program.write_text(SLEEPS)
    command = [interpreter_of(lab), str(program), str(seconds)]
    ours, parallel, dask = [], [], []
    for _ in range(rounds):
        ours.append(_turn(lab, script, nodes=nodes, shards=shards, seconds=seconds).seconds)
        parallel.append(parallel_seconds(folder, slots=nodes, shards=shards, command=command))
        dask.append(dask_seconds(slots=nodes, shards=shards, command=command))
    for name, walls in (("orca", ours), ("parallel", parallel), ("dask", dask)):
        report.add(
            f"overhead_{name}_ms",
            [overhead_ms(wall, slots=nodes, shards=shards, seconds=seconds) for wall in walls],
            "ms",
        )
    pairs = zip(ours, parallel, dask, strict=True)
    each = [[overhead_ms(wall, slots=nodes, shards=shards, seconds=seconds) for wall in walls] for walls in pairs]
    report.ratio("overhead_to_parallel", median(mine / theirs for mine, theirs, _ in each))
    report.ratio("overhead_to_dask", median(mine / theirs for mine, _, theirs in each))
