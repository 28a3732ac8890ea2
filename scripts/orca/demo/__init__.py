"""`scripts/run --demo`: a whole way through Orca from the outside, over HTTP and SSH only, each stage timed."""

from __future__ import annotations

from collections.abc import Callable

from scripts.orca.console import say
from scripts.orca.demo import linked, newcomer, satellite
from scripts.orca.demo.stages import Result, Walk
from scripts.orca.run.configuration import Configuration

_SCENARIOS: dict[str, Callable[[Walk], None]] = {
    "newcomer": newcomer.walk,
    "linked": linked.walk,
    "satellite": satellite.walk,
}


def demo(scenario: str, configuration: Configuration) -> Result:
    """Walks one scenario; raises ``ScriptError`` that names the stage, with what the logs say about it."""
    say(f"Demo: {scenario}")
    walk = Walk(scenario, configuration)
    _SCENARIOS[scenario](walk)
    return walk.result()
