"""When the next message is asked for: as early as fetching needs, and no earlier."""

from __future__ import annotations

import pytest

from agents.orca_agent.pace import LEAD, LONGEST_LEAD, MORE, MOST_KINDS, PATIENCE, REMEMBERED, SHORT, Pace


def paced(*took: float, preparation: float = 0.0) -> Pace:
    made = Pace()
    made.prepared("s", preparation)
    for seconds in took:
        made.ended("s", seconds)
    return made


def test_behind_steps_of_an_unknown_kind_nothing_waits() -> None:
    assert Pace().window("s") is None
    assert paced(30.0).window("other") is None


def test_behind_a_short_step_the_next_may_wait_from_the_start_whatever_it_is() -> None:
    pace = paced(SHORT / 2)
    assert (pace.short, pace.window("s")) == (True, (0.0, SHORT / 2 + PATIENCE))
    assert pace.window("other") == (0.0, SHORT + PATIENCE)
    pace.ended("other", 5.0)
    assert (pace.short, pace.window("s")) == (False, (0.0, SHORT / 2 + PATIENCE))


@pytest.mark.parametrize(
    ("took", "preparation", "window"),
    [
        (10.0, 0.0, (10.0 - LEAD, 10.0 + PATIENCE)),
        (10.0, 4.0, (10.0 - LEAD - 4.0 * MORE, 10.0 + LEAD + 4.0 * MORE)),
        (10.0, 20.0, (0.0, 10.0 + LEAD + 20.0 * MORE)),
        (1000.0, 900.0, (1000.0 - LONGEST_LEAD, 1000.0 + LONGEST_LEAD)),
    ],
)
def test_the_next_is_asked_for_as_early_as_fetching_takes(
    took: float, preparation: float, window: tuple[float, float]
) -> None:
    assert paced(took, preparation=preparation).window("s") == pytest.approx(window)


def test_one_step_that_took_long_does_not_change_what_is_usual() -> None:
    assert paced(10.0, 10.0, 10.0, 300.0).window("s") == (10.0 - LEAD, 10.0 + PATIENCE)
    changed = paced(*[10.0] * 20, *[20.0] * (REMEMBERED // 2 + 1))
    assert changed.window("s") == (20.0 - LEAD, 20.0 + PATIENCE)


def test_kinds_that_were_not_seen_for_long_are_forgotten() -> None:
    pace = paced(10.0)
    for number in range(MOST_KINDS):
        pace.ended(f"other {number}", 10.0)
    assert pace.window("s") is None
    assert pace.window("other 0") is not None
