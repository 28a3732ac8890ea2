"""Runs in Prefect's own environment: a graph of steps, each a process of a worker, as a peer to Orca's pipelines.

``serve FOLDER``: deploy; ``run PIPELINES STEPS``: run so many sequences at once, and print the seconds that it took.
"""

from __future__ import annotations

import asyncio
import sys
import time

from prefect import flow  # type: ignore[import-not-found]  # only there is it installed
from prefect.deployments import run_deployment  # type: ignore[import-not-found]

POOL = "bench"


@flow  # type: ignore[untyped-decorator]
def step() -> None:
    """Does as little as Orca's step in the same benchmark."""
    print(time.time())


def serve(folder: str) -> None:
    """Deploy the step to the worker's pool."""
    source = flow.from_source(source=folder, entrypoint="prefect_peer.py:step")
    source.deploy(name="bench", work_pool_name=POOL, ignore_warnings=True, print_next_steps=False)


async def run(pipelines: int, steps: int) -> None:
    """Sequences side by side; each step is a flow run that the worker starts as a process."""

    async def sequence() -> None:
        for _ in range(steps):
            ended = await run_deployment("step/bench", poll_interval=0.1)
            if not ended.state.is_completed():
                raise RuntimeError(f"a step ended as {ended.state}")

    began = time.monotonic()
    await asyncio.gather(*(sequence() for _ in range(pipelines)))
    print(time.monotonic() - began)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        asyncio.run(run(int(sys.argv[2]), int(sys.argv[3])))
