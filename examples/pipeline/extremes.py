"""Finds the coldest and the hottest day, beside the step `months`."""

import csv
import json
import os
from pathlib import Path

with Path(os.environ["ORCA_INPUTS"], "make", "days.csv").open(newline="") as file:
    days = sorted(csv.DictReader(file), key=lambda row: float(row["celsius"]))
found = {"coldest": days[0], "hottest": days[-1]}
Path("output/extremes.json").write_text(json.dumps(found, indent=2))
print(found)
