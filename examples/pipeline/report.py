"""Writes the report: what `months` and `extremes` have left, as Markdown."""

import csv
import json
import os
from pathlib import Path

inputs = Path(os.environ["ORCA_INPUTS"])
extremes = json.loads((inputs / "extremes" / "extremes.json").read_text())
lines = ["# The year in temperatures", ""]
for name, day in extremes.items():
    lines.append(f"- {name}: {day['day']}, {day['celsius']} °C")
lines += ["", "| month | mean | lowest | highest |", "|---|---|---|---|"]
with (inputs / "months" / "months.csv").open(newline="") as file:
    for row in csv.DictReader(file):
        lines.append(f"| {row['month']} | {row['mean']} | {row['lowest']} | {row['highest']} |")
Path("output/report.md").write_text("\n".join(lines) + "\n")
print("\n".join(lines))
