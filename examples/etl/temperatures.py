"""Extracts a year of temperatures: invented here, a row a day, as a step that fetches them would leave them."""

import csv
import math
import random
import sys
from datetime import date, timedelta
from pathlib import Path

year = int(sys.argv[1])
chance = random.Random(year)  # noqa: S311 (weather, and no secret)
first = date(year, 1, 1)
days = (date(year + 1, 1, 1) - first).days

with Path("output/temperatures.csv").open("w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["day", "celsius"])
    for number in range(days):
        season = -10 * math.cos(2 * math.pi * (number - 15) / days)
        rows.writerow([first + timedelta(number), round(9 + season + chance.gauss(0, 3), 1)])
print(f"{days} days of {year}")
