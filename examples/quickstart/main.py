"""A year of Seattle's weather, month by month: a chart, a table and a summary.

Whatever a script leaves in ``output/`` is kept in your workspace's bucket when it ends.
"""

from __future__ import annotations

import argparse
import calendar
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen where this runs
import matplotlib.pyplot as plt
import pandas as pd
from vega_datasets import local_data

OUTPUT = Path("output")


def days_of(year: int) -> pd.DataFrame:
    """The days of one year: date, precipitation (mm), temp_max and temp_min (°C), wind (m/s), weather."""
    weather = local_data.seattle_weather()
    days = weather[weather["date"].dt.year == year]
    if days.empty:
        known = sorted(weather["date"].dt.year.unique())
        raise SystemExit(f"No weather of {year}: the data covers {known[0]} to {known[-1]}.")
    return days


def months_of(days: pd.DataFrame) -> pd.DataFrame:
    """One row a month: mean of the daily lows and highs (°C), rain in all (mm), days with rain."""
    by_month = days.groupby(days["date"].dt.month.rename("month"))
    months = by_month.agg(low=("temp_min", "mean"), high=("temp_max", "mean"), rain=("precipitation", "sum"))
    months["rainy_days"] = by_month["precipitation"].apply(lambda day: int((day > 0).sum()))
    months.index = pd.Index([calendar.month_abbr[number] for number in months.index], name="month")
    return months.round(1)


def draw(months: pd.DataFrame, year: int, path: Path) -> None:
    """Rain as bars, the span between lows and highs as a band above them."""
    figure, rain = plt.subplots(figsize=(9, 4.5), layout="constrained")
    rain.bar(months.index, months["rain"], color="#9ecae1", label="rain (mm)")
    rain.set_ylabel("rain (mm)")
    warmth = rain.twinx()
    warmth.fill_between(
        months.index, months["low"], months["high"], color="#fdae6b", alpha=0.5, label="low to high (°C)"
    )
    warmth.plot(months.index, (months["low"] + months["high"]) / 2, color="#d94801", marker="o", label="mean (°C)")
    warmth.set_ylabel("temperature (°C)")
    figure.suptitle(f"Seattle, {year}")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)


def summarise(days: pd.DataFrame, months: pd.DataFrame, year: int) -> str:
    """The year in a few lines of Markdown."""
    hottest = days.loc[days["temp_max"].idxmax()]
    wettest = months["rain"].idxmax()
    lines = [
        f"# Seattle's weather in {year}",
        "",
        f"- {len(days)} days, {int((days['precipitation'] > 0).sum())} of them with rain",
        f"- wettest month: {wettest}, {months.loc[wettest, 'rain']:.0f} mm",
        f"- hottest day: {hottest['date']:%d %B}, {hottest['temp_max']:.1f} °C",
        f"- {months['rain'].sum():.0f} mm of rain in all, {days['wind'].mean():.1f} m/s of wind on average",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--year", type=int, default=2015, help="2012 to 2015 (default: %(default)s)")
    year = parser.parse_args().year

    OUTPUT.mkdir(exist_ok=True)
    print(f"Reading the days of {year} ...", flush=True)
    days = days_of(year)
    months = months_of(days)
    for month, row in months.iterrows():
        print(f"  {month}  {row['low']:5.1f} to {row['high']:4.1f} °C  {row['rain']:6.1f} mm", flush=True)

    months.to_csv(OUTPUT / "months.csv")
    print("Drawing the chart ...", flush=True)
    draw(months, year, OUTPUT / "months.png")
    summary = summarise(days, months, year)
    (OUTPUT / "summary.md").write_text(summary, encoding="utf-8")
    print(
        f"\n{summary}\nWrote " + ", ".join(sorted(f"output/{path.name}" for path in OUTPUT.iterdir())),
        flush=True,
    )


if __name__ == "__main__":
    main()
