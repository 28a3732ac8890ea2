"""When a schedule is due: what cron expressions mean, and what becomes of them where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.schedules.times import (
    BadTime,
    Cron,
    Interval,
    Once,
    Rule,
    instant,
    note,
    passed,
    slots,
    upcoming,
    zone_names,
    zone_of,
)


def wall(*moment: int) -> datetime:
    """What a clock on the wall shows, wherever that is."""
    return datetime(*moment, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[misc,arg-type]


BERLIN = zone_of("Europe/Berlin")
UTC_ZONE = zone_of("UTC")
START = datetime(2026, 1, 1, tzinfo=UTC)


def local(rule: Cron, *moment: int, count: int = 3) -> list[str]:
    """The next slots after a local moment, on the rule's own clocks."""
    after = datetime(*moment, tzinfo=rule.zone)  # type: ignore[misc,arg-type]
    return [f"{slot.astimezone(rule.zone):%m-%d %H:%M %z}" for slot in upcoming(rule, after.astimezone(UTC), count)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 6 * * 1-5", ["11-23 06:00", "11-24 06:00", "11-25 06:00"]),
        ("*/15 * * * *", ["11-21 12:15", "11-21 12:30", "11-21 12:45"]),
        ("0 0 1 * *", ["12-01 00:00", "01-01 00:00", "02-01 00:00"]),
        ("0 0 29 2 *", ["02-29 00:00", "02-29 00:00", "02-29 00:00"]),
        ("0 8 L * *", ["11-30 08:00", "12-31 08:00", "01-31 08:00"]),
        ("30 9 * jan mon#1", ["01-04 09:30", "01-03 09:30", "01-01 09:30"]),
        ("0 0 13 * 5", ["11-27 00:00", "12-04 00:00", "12-11 00:00"]),  # the 13th, or a Friday: as cron does
        ("  0\t12  * * 7 ", ["11-22 12:00", "11-29 12:00", "12-06 12:00"]),
    ],
)
def test_five_fields_mean_what_they_mean_to_cron(expression: str, expected: list[str]) -> None:
    found = upcoming(Cron(expression, UTC_ZONE), datetime(2026, 11, 21, 12, tzinfo=UTC), 3)
    assert [f"{slot:%m-%d %H:%M}" for slot in found] == expected


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("0 0 31 2 *", "never due"),
        ("0 0 30,31 2 *", "never due"),
        ("0 0 31 4,6,9,11 *", "never due"),
        ("60 * * * *", "“60” is no minute"),
        ("* 24 * * *", "“24” is no hour"),
        ("* * 0 * *", "“0” is no day of the month"),
        ("* * 32 * *", "“32” is no day of the month"),
        ("* * * 13 *", "“13” is no month"),
        ("* * * * 8", "“8” is no day of the week"),
        ("* * * * MONDAY", "“MONDAY” is no day of the week"),
        ("*/0 * * * *", "“*/0” is no minute"),
        ("5-1 * * * *", "“5-1” is no minute"),
        ("* * * *", "This has 4"),
        ("* * * * * *", "This has 6"),
        ("", "This has 0"),
        ("@daily", "This has 1"),
        ("; drop table", "This has 3"),
    ],
)
def test_what_cannot_be_or_never_comes_is_refused_and_says_why(expression: str, why: str) -> None:
    with pytest.raises(BadTime, match=why.replace("*", r"\*")):
        Cron(expression, BERLIN)


@given(st.text(max_size=40) | st.lists(st.sampled_from(["*", "1", "L", "*/5", "2-4", "5#1", "LW", "²"])).map(" ".join))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    try:
        rule = Cron(text, BERLIN)
    except BadTime as error:
        assert str(error)
    else:
        assert rule.after(START) is not None
        assert rule.words


# --- clocks go forward: in Berlin on 29 March 2026 there is nothing between 02:00 and 03:00 -------------------------
def test_a_time_that_does_not_exist_runs_once_right_after_the_gap() -> None:
    assert local(Cron("30 2 * * *", BERLIN), 2026, 3, 28, 3) == [
        "03-29 03:00 +0200",
        "03-30 02:30 +0200",
        "03-31 02:30 +0200",
    ]
    assert note(Cron("30 2 * * *", BERLIN), datetime(2026, 3, 29, 1, tzinfo=UTC)).startswith("the time that is meant")
    assert note(Cron("0 3 * * *", BERLIN), datetime(2026, 3, 29, 1, tzinfo=UTC)) == ""


def test_several_times_in_a_gap_run_once_together() -> None:
    assert local(Cron("15,45 2 * * *", BERLIN), 2026, 3, 28, 3, count=2) == ["03-29 03:00 +0200", "03-30 02:15 +0200"]
    assert local(Cron("*/15 2 * * *", BERLIN), 2026, 3, 28, 3, count=2) == ["03-29 03:00 +0200", "03-30 02:00 +0200"]
    assert local(Cron("0 2,3 * * *", BERLIN), 2026, 3, 28, 4, count=2) == ["03-29 03:00 +0200", "03-30 02:00 +0200"]


def test_every_so_often_leaves_out_what_falls_into_a_gap() -> None:
    hourly = local(Cron("30 * * * *", BERLIN), 2026, 3, 29, 0, 59)
    assert hourly == ["03-29 01:30 +0100", "03-29 03:30 +0200", "03-29 04:30 +0200"]
    assert local(Cron("*/30 * * * *", BERLIN), 2026, 3, 29, 1, 29, count=3) == [
        "03-29 01:30 +0100",
        "03-29 03:00 +0200",
        "03-29 03:30 +0200",
    ]


def test_a_gap_at_midnight_is_no_other() -> None:
    cairo = zone_of("Africa/Cairo")
    assert local(Cron("0 0 * * *", cairo), 2026, 4, 23, 12, count=2) == ["04-24 01:00 +0300", "04-25 00:00 +0300"]


# --- clocks go back: on 25 October 2026 there is everything between 02:00 and 03:00 twice -----------------------------
def test_a_time_that_comes_twice_runs_the_first_time_only() -> None:
    rule = Cron("30 2 * * *", BERLIN)
    assert local(rule, 2026, 10, 24, 3) == ["10-25 02:30 +0200", "10-26 02:30 +0100", "10-27 02:30 +0100"]
    between = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)  # after the first 02:30, before the second
    assert rule.after(between) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    assert "twice" in note(rule, datetime(2026, 10, 25, 0, 30, tzinfo=UTC))


def test_half_past_one_in_new_york_which_comes_twice_runs_once() -> None:
    rule = Cron("30 1 * * *", zone_of("America/New_York"))
    assert local(rule, 2026, 10, 31, 3, count=2) == ["11-01 01:30 -0400", "11-02 01:30 -0500"]


def test_minutes_of_an_hour_that_comes_twice_run_in_the_first_only() -> None:
    assert local(Cron("*/20 2 * * *", BERLIN), 2026, 10, 25, 1, count=4) == [
        "10-25 02:00 +0200",
        "10-25 02:20 +0200",
        "10-25 02:40 +0200",
        "10-26 02:00 +0100",
    ]


def test_every_so_often_runs_in_both_hours() -> None:
    hourly = Cron("30 * * * *", BERLIN)
    assert local(hourly, 2026, 10, 25, 2) == ["10-25 02:30 +0200", "10-25 02:30 +0100", "10-25 03:30 +0100"]
    assert note(hourly, datetime(2026, 10, 25, 1, 30, tzinfo=UTC)) == "the second time that day"


def test_a_change_of_half_an_hour_is_one_too() -> None:
    lord_howe = zone_of("Australia/Lord_Howe")
    found = local(Cron("0,30 * * * *", lord_howe), 2026, 4, 5, 1, count=4)
    assert found == ["04-05 01:30 +1100", "04-05 01:30 +1030", "04-05 02:00 +1030", "04-05 02:30 +1030"]


# --- what holds for every rule ------------------------------------------------------------------------------------
EXPRESSIONS = [
    "30 2 * * *",
    "*/15 2 * * *",
    "*/20 * * * *",
    "0 */6 * * *",
    "59 23 * * *",
    "0 0 * * *",
    "15,45 1-3 * * *",
    "0 1 * * SUN",
    "30 0 25-31 3,10 *",
]
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Sao_Paulo", "UTC"]
rules = st.builds(Cron, st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES).map(zone_of)) | st.builds(
    Interval, st.integers(1, 90_000), st.datetimes(wall(2025, 1, 1), wall(2027, 1, 1), timezones=st.just(UTC))
)
moments = st.datetimes(wall(2026, 3, 1), wall(2026, 11, 30), timezones=st.just(UTC))


@given(rules, moments, st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_the_next_slot_does_not_hang_on_where_one_begins_to_look(rule: Rule, moment: datetime, part: float) -> None:
    found = upcoming(rule, moment, 20)
    assert all(before < after for before, after in pairwise([moment, *found]))
    for before, after in pairwise([moment, *found]):
        between = before + (after - before) * part
        if between < after:
            assert rule.after(between) == after


@given(st.sampled_from([e for e in EXPRESSIONS if not e.split()[1].startswith("*")]), st.sampled_from(ZONES))
@settings(deadline=None)
def test_a_rule_that_names_its_hours_runs_as_often_as_if_clocks_never_changed(expression: str, zone: str) -> None:
    """Each day of the wall clock once for each time, several of a gap as one; never twice, never not at all."""
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    plain = {slot.date() for slot in slots_until(Cron(expression, UTC_ZONE), begin, end)}
    there = zone_of(zone)
    shift = timedelta(days=2)
    found = slots_until(Cron(expression, there), begin - shift, end + shift)
    walls = [slot.astimezone(there).replace(tzinfo=None) for slot in found]
    assert {wall.date() for wall in walls} >= plain
    assert len(walls) == len(set(walls))


def slots_until(rule: Rule, begin: datetime, end: datetime) -> list[datetime]:
    found = []
    for slot in slots(rule, begin):
        if slot >= end:
            break
        found.append(slot)
    return found


# --- intervals, moments ---------------------------------------------------------------------------------------------
def test_an_interval_counts_seconds_that_pass_and_knows_no_clocks() -> None:
    rule = Interval(86_400, datetime(2026, 3, 28, 5, tzinfo=UTC))
    assert [slot.astimezone(BERLIN).hour for slot in upcoming(rule, rule.anchor - timedelta(1), 3)] == [6, 7, 7]


def test_an_interval_begins_with_what_it_is_counted_from() -> None:
    rule = Interval(10, START)
    assert rule.after(START - timedelta(days=9)) == START
    assert rule.after(START) == START + timedelta(seconds=10)
    assert rule.after(START + timedelta(seconds=9.999)) == START + timedelta(seconds=10)


def test_one_moment_comes_once() -> None:
    assert upcoming(Once(START), START - timedelta(1)) == [START]
    assert upcoming(Once(START), START) == []


def test_a_moment_on_the_wall_is_an_instant() -> None:
    assert instant(wall(2026, 7, 1, 6), BERLIN) == datetime(2026, 7, 1, 4, tzinfo=UTC)
    assert instant(wall(2026, 3, 29, 2, 30), BERLIN) == datetime(2026, 3, 29, 1, tzinfo=UTC)  # the gap's end
    assert instant(wall(2026, 10, 25, 2, 30), BERLIN) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # the first
    said = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)
    assert instant(said, UTC_ZONE) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@given(st.datetimes(wall(2026, 1, 1), wall(2027, 1, 1)), st.sampled_from(ZONES).map(zone_of))
def test_an_instant_is_the_same_on_the_wall_unless_that_does_not_exist(shown: datetime, zone: ZoneInfo) -> None:
    found = instant(shown, zone)
    again = found.astimezone(zone).replace(tzinfo=None)
    assert again == shown or (again > shown and instant(again, zone) == found)


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../../etc/passwd", "localtime", "europe/berlin"])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(BadTime, match="no time zone"):
        zone_of(name)


def test_the_zones_are_those_of_the_world() -> None:
    assert {"UTC", "Europe/Berlin", "Asia/Kolkata"} <= zone_names()


# --- what went by -------------------------------------------------------------------------------------------------
def test_what_went_by_is_counted_and_has_a_last() -> None:
    found = passed(Cron("0 * * * *", UTC_ZONE), START, START + timedelta(hours=5, minutes=30))
    assert (found.count, found.first, found.last) == (6, START, START + timedelta(hours=5))


@given(rules, moments, st.timedeltas(timedelta(0), timedelta(days=60)))
@settings(max_examples=100, deadline=None)
def test_the_last_that_went_by_is_right_however_many_there_were(
    rule: Rule, moment: datetime, length: timedelta
) -> None:
    first = rule.after(moment)
    assert first is not None
    found = passed(rule, first, first + length)
    assert found.last <= first + length < (rule.after(found.last) or datetime.max.replace(tzinfo=UTC))
    expected = sum(1 for slot in islice(slots(rule, first), 999) if slot <= first + length) + 1
    assert found.count == expected
