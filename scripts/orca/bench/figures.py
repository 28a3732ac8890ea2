"""What a benchmark reports: one JSON object on its last line."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from statistics import median, quantiles

from scripts.orca.console import say

_PACKAGES = ("django", "boto3", "celery", "moto", "uvicorn")


@dataclass(frozen=True)
class Figure:
    """Several measurements of one thing: their median, the value that 95 % stay below, and how many there are."""

    median: float
    p95: float
    n: int
    unit: str


def figure(values: Iterable[float], unit: str) -> Figure:
    """The figure of these measurements. ``ValueError`` if there are none."""
    found = list(values)
    if not found:
        raise ValueError("nothing was measured")
    highest = quantiles(found, n=20, method="inclusive")[-1] if len(found) > 1 else found[0]
    return Figure(round(median(found), 3), round(highest, 3), len(found), unit)


@dataclass
class Report:
    """The figures of one call of a benchmark, and ratios of ours to a floor or peer (named in the key)."""

    benchmark: str
    figures: dict[str, Figure] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, values: Sequence[float], unit: str) -> Figure:
        """Keep a figure and say it."""
        found = self.figures[name] = figure(values, unit)
        say(f"  {name:<32} median {found.median:10.2f}   p95 {found.p95:10.2f} {unit}   n={found.n}")
        return found

    def ratio(self, name: str, value: float) -> None:
        """Keep a ratio and say it."""
        self.ratios[name] = round(value, 3)
        say(f"  {name:<32} {value:.2f}")

    def line(self) -> str:
        """The last line of the benchmark's output."""
        found = {"python": platform.python_version(), "kernel": platform.release()}
        found |= {name: version(name) for name in _PACKAGES}
        return json.dumps(asdict(self) | {"versions": found | self.versions})
