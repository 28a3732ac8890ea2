"""What `scripts/run` can be told."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

SCENARIOS = ("newcomer", "linked", "satellite")


@dataclass(frozen=True)
class Options:
    """The command line, checked."""

    host: str
    port: int
    cloud: str
    cloud_port: int
    demo: str | None
    exit: bool


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 1 to 65535")
    return int(text)


def parse(arguments: list[str]) -> Options:
    """Reads the command line; leaves with a message where it makes no sense."""
    reader = argparse.ArgumentParser(
        prog="scripts/run",
        description="Sets this machine up, starts Orca and keeps it running until Ctrl-C.",
        epilog="Settings come from the environment and from var/orca.env: see docs/settings.md.",
    )
    reader.add_argument("--host", default="127.0.0.1", help="address the portal listens on (default: %(default)s)")
    reader.add_argument(
        "--port", type=_port, default=os.environ.get("ORCA_PORT", "8000"), help="(default: %(default)s)"
    )
    reader.add_argument(
        "--cloud",
        choices=("local", "aws"),
        default=os.environ.get("ORCA_CLOUD", "local"),
        help="the embedded cloud, or the AWS account of the environment's credentials (default: %(default)s)",
    )
    reader.add_argument(
        "--cloud-port",
        type=_port,
        default=os.environ.get("ORCA_CLOUD_PORT", "5566"),
        help="port of the embedded cloud (default: %(default)s)",
    )
    reader.add_argument(
        "--demo",
        nargs="?",
        const=SCENARIOS[0],
        choices=SCENARIOS,
        metavar="SCENARIO",
        help="walk the whole way as a person who has just signed up: " + ", ".join(SCENARIOS),
    )
    reader.add_argument("--exit", action="store_true", help="with --demo: stop everything when it has ended")
    given = reader.parse_args(arguments)
    if given.exit and not given.demo:
        reader.error("--exit goes with --demo")
    if given.cloud not in ("local", "aws"):
        reader.error(f"ORCA_CLOUD is {given.cloud!r}: it must be local or aws")
    return Options(**vars(given))
