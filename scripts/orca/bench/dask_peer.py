"""Runs in Dask's own environment: the same script in as many processes of a ``LocalCluster``, as a peer to Orca's jobs.

``SLOTS SHARDS PROGRAM [argument ...]``: each shard starts the program as a process of its own, as Orca does; prints the
seconds from the first one's start to the last one's end.
"""

from __future__ import annotations

import subprocess
import sys
import time

from distributed import Client, LocalCluster  # type: ignore[import-not-found]  # only there is it installed


def shard(number: int, command: list[str]) -> tuple[float, float]:
    """One shard; when it began and ended."""
    began = time.time()
    subprocess.run(command, check=True)
    return began, time.time()


def main(slots: int, shards: int, command: list[str]) -> None:
    """All shards, on workers that are up already."""
    with (
        LocalCluster(n_workers=slots, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.gather(client.map(shard, range(-slots, 0), command=["true"], pure=False))
        done = client.gather(client.map(shard, range(shards), command=command, pure=False))
        print(max(end for _, end in done) - min(begin for begin, _ in done))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
