"""``python -m scripts.orca.bench NAME [argument ...]``: runs one benchmark and prints its report."""

from __future__ import annotations

import importlib
import sys

from scripts.orca.bench.figures import Report
from scripts.orca.console import ScriptError, complain, say


def main(name: str, *arguments: str) -> int:
    try:
        report: Report = importlib.import_module(f"scripts.orca.bench.{name}").measure(list(arguments))
    except ScriptError as error:
        complain(error)
        return 1
    except KeyboardInterrupt:
        return 130
    say(report.line())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
