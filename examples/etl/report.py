"""Brings together what `temperatures` and `rain` have left: a table of months, and a report in Markdown."""

import csv
import os
from pathlib import Path
from statistics import mean

inputs = Path(os.environ["ORCA_INPUTS"])


def by_month(path: Path, column: str) -> dict[str, list[float]]:
    """The values of each month."""
    months: dict[str, list[float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            months.setdefault(row["day"][:7], []).append(float(row[column]))
    return months


celsius = by_month(inputs / "temperatures" / "temperatures.csv", "celsius")
rain = by_month(inputs / "rain" / "rain.csv", "millimetres")
months = [(month, round(mean(found), 1), round(sum(rain[month]), 1)) for month, found in celsius.items()]

with Path("output/months.csv").open("w", newline="") as file:
    csv.writer(file).writerows([("month", "celsius", "millimetres"), *months])

lines = ["# The year's weather", "", "| month | °C | mm of rain |", "|---|---|---|"]
lines += [f"| {month} | {warm} | {wet} |" for month, warm, wet in months]
Path("output/report.md").write_text("\n".join(lines) + "\n")
print("\n".join(lines))
