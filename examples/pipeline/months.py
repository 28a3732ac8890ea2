"""Brings the days that the step `make` has left together, a row a month."""

import csv
import os
from pathlib import Path
from statistics import mean

months: dict[str, list[float]] = {}
with Path(os.environ["ORCA_INPUTS"], "make", "days.csv").open(newline="") as file:
    for row in csv.DictReader(file):
        months.setdefault(row["day"][:7], []).append(float(row["celsius"]))

with Path("output/months.csv").open("w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["month", "mean", "lowest", "highest"])
    for month, found in months.items():
        rows.writerow([month, round(mean(found), 1), min(found), max(found)])
        print(month, f"{mean(found):5.1f}")
