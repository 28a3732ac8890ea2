"""Jobs: how well shards fill several nodes, what one costs, how data is found, large jobs, and a statement.

``efficiency_8_nodes``     of shards that sleep, on one node, two, four and eight of one slot each: the time on one node
                           over eight times that on eight; from the first shard's start to the last one's end, on nodes
                           that are up. How long they take to come is reported apart.
``overhead_to_parallel``   what a slot is taken for each shard beyond its sleep, against GNU parallel that runs the same
                           script with the same interpreter in as many slots, in turn; Dask's cluster beside them.
``catalogue_to_pystac``    items found a second, as `scripts/bench/catalogue` measures them.
``statement_ms``           a month's statement of somebody with a million usage records, and its page.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.orca.bench.catalogue import catalogue_ratio
from scripts.orca.bench.dispatch import settled
from scripts.orca.bench.fanout_many import many
from scripts.orca.bench.fanout_scale import scaled
from scripts.orca.bench.figures import Report
from scripts.orca.bench.installation import lab_built, orca_running
from scripts.orca.bench.shard_peers import DASK, parallel_version
from scripts.orca.bench.statement import statement
from scripts.orca.console import say, step


def measure(arguments: list[str]) -> Report:
    """Run the benchmark."""
    given = _given(arguments)
    report = Report("fanout")
    report.versions |= {"dask": DASK, "parallel": parallel_version()}
    with TemporaryDirectory(prefix="orca-bench-") as name:
        if given.items:
            catalogue_ratio(report, items=given.items, turns=given.turns)
        if given.records:
            statement(report, Path(name), records=given.records)
        if given.nodes or given.many:
            _jobs(report, given, Path(name))
    return report


def _given(arguments: list[str]) -> argparse.Namespace:
    reader = argparse.ArgumentParser(prog="scripts/bench/fanout", description=(__doc__ or "").splitlines()[0])
    reader.add_argument("--nodes", type=int, default=8, help="at most; 0 leaves that part out (default: %(default)s)")
    reader.add_argument("--each", type=int, default=12, help="shards for each of these nodes (default: %(default)s)")
    reader.add_argument("--seconds", type=float, default=1.0, help="that a shard sleeps (default: %(default)s)")
    reader.add_argument("--rounds", type=int, default=2, help="turns of each number of nodes (default: %(default)s)")
    reader.add_argument("--items", type=int, default=3_000, help="of the catalogue (default: %(default)s)")
    reader.add_argument("--turns", type=int, default=5, help="of walking it (default: %(default)s)")
    reader.add_argument("--many", type=int, default=10_000, help="shards of the large job (default: %(default)s)")
    reader.add_argument("--many-seconds", type=float, default=300, help="that it is watched (default: %(default)s)")
    reader.add_argument("--records", type=int, default=1_000_000, help="of usage (default: %(default)s)")
    return reader.parse_args(arguments)


def _jobs(report: Report, given: argparse.Namespace, folder: Path) -> None:
    say("  Orca starts ...")
    nodes = max(1, given.nodes)
    with orca_running(folder, ORCA_SLOTS="1", ORCA_MAX_NODES=str(nodes), ORCA_NODES_LINGER="120") as orca:
        with step("A workspace"):
            lab = lab_built(orca)
            settled(lab)
        if given.nodes:
            scaled(
                report,
                lab,
                most=given.nodes,
                each=given.each,
                seconds=given.seconds,
                rounds=given.rounds,
                folder=folder,
            )
        if given.many:
            many(report, orca, lab, shards=given.many, nodes=nodes, seconds=given.many_seconds)
