"""Extracts a year of rain, invented as well, beside the step `temperatures`."""

import csv
import random
import sys
from datetime import date, timedelta
from pathlib import Path

year = int(sys.argv[1])
chance = random.Random(-year)  # noqa: S311 (weather, and no secret)
first = date(year, 1, 1)
days = (date(year + 1, 1, 1) - first).days

with Path("output/rain.csv").open("w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["day", "millimetres"])
    for number in range(days):
        rows.writerow([first + timedelta(number), round(max(0.0, chance.gauss(0, 4)), 1)])
print(f"{days} days of {year}")
