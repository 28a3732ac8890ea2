"""``python -m agents.orca_agent``: run the agent until SIGTERM, or until another release takes over."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Optional, Sequence

from agents.orca_agent import release
from agents.orca_agent.agent import USER, Agent
from agents.orca_agent.fields import Malformed
from agents.orca_agent.layout import Layout

log = logging.getLogger("agents.orca_agent")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The exit code: 0 after SIGTERM, 1 where this is no instance of a workspace."""
    parser = argparse.ArgumentParser("orca-agent", description="Runs the steps of an Orca workspace.")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where etc, var, home and opt lie")
    parser.add_argument("--user", default=USER, help="the user that steps run as")
    parser.add_argument("--check", action="store_true", help="only see whether the agent starts here")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="orca-agent %(levelname)s %(message)s", stream=sys.stderr)
    if options.check:
        log.info("release %s on Python %s", release.running_version(), sys.version.split()[0])
        return 0
    os.umask(0o022)
    agent = Agent(Layout(options.root.resolve()), os.environ, user=options.user)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: agent.stop())
    gc.freeze()
    try:
        successor = agent.run()
    except (OSError, Malformed) as error:
        log.error("%s", error)
        return 1
    if successor is not None:
        release.become(successor)
    return 0


if __name__ == "__main__":
    sys.exit(main())
