"""The places of steps in a picture: below all that they need, none on another, arrows around them."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.web.graph import MOST_ARROWS, Layout, Needs, layout


def chain(length: int) -> Needs:
    return tuple((f"s{n}", (f"s{n - 1}",) if n else ()) for n in range(length))


def wild(length: int, seed: int = 1) -> Needs:
    """Steps that need up to three earlier ones."""
    chance = random.Random(seed)
    return tuple(
        (f"s{n}", tuple(f"s{m}" for m in sorted(chance.sample(range(n), min(n, chance.randint(0, 3))))))
        for n in range(length)
    )


def require_sound(found: Layout, needs: Needs) -> None:
    spots = {spot.name: spot for spot in found.spots}
    assert spots.keys() == {name for name, _ in needs}
    for name, of in needs:
        assert all(spots[need].layer < spots[name].layer for need in of)
    for layer in range(found.depth):
        row = sorted(spot.across for spot in found.spots if spot.layer == layer)
        assert row, "a layer without a step"
        assert all(b - a >= 0.999 for a, b in pairwise(row)), "a step lies on another"
        assert row[0] >= 0.499
        assert row[-1] <= found.width - 0.499
    for arrow in found.arrows:
        assert arrow.points[0] == (spots[arrow.begin].across, spots[arrow.begin].layer)
        assert arrow.points[-1] == (spots[arrow.end].across, spots[arrow.end].layer)


def test_a_chain_is_a_straight_line_down() -> None:
    found = layout(chain(10))
    assert {spot.across for spot in found.spots} == {0.5}
    assert [spot.layer for spot in found.spots] == list(range(10))
    assert (found.width, found.depth, found.downwards) == (1.0, 10, True)


def test_a_diamond_is_one() -> None:
    found = layout((("a", ()), ("b", ("a",)), ("c", ("a",)), ("d", ("b", "c"))))
    at = {spot.name: (spot.across, spot.layer) for spot in found.spots}
    assert at == {"a": (1.0, 0), "b": (0.5, 1), "c": (1.5, 1), "d": (1.0, 2)}


def test_arrows_that_others_imply_are_not_drawn() -> None:
    found = layout((("a", ()), ("b", ("a",)), ("c", ("a", "b"))))
    assert [(arrow.begin, arrow.end) for arrow in found.arrows] == [("a", "b"), ("b", "c")]


def test_an_arrow_goes_around_the_steps_that_it_passes() -> None:
    found = layout((("a", ()), ("b", ("a",)), ("z", ()), ("c", ("b",)), ("d", ("c", "z"))))
    (long,) = [arrow for arrow in found.arrows if (arrow.begin, arrow.end) == ("z", "d")]
    assert [layer for _, layer in long.points] == [0, 1, 2, 3]
    for across, layer in long.points[1:-1]:
        beside = [spot.across for spot in found.spots if spot.layer == layer]
        assert all(abs(across - step) >= 0.62 for step in beside)


def test_sides_that_do_not_cross_are_not_crossed() -> None:
    """Two chains that begin in one order and are written down in another."""
    found = layout((("a", ()), ("b", ()), ("b1", ("b",)), ("a1", ("a",)), ("a2", ("a1",)), ("b2", ("b1",))))
    at = {spot.name: spot.across for spot in found.spots}
    assert at["a"] == at["a1"] == at["a2"] != at["b"] == at["b1"] == at["b2"]


def test_many_side_by_side_go_to_the_right() -> None:
    assert not layout((("a", ()), *((f"s{n}", ("a",)) for n in range(100)))).downwards


@pytest.mark.parametrize("needs", [chain(1_000), wild(1_000), (), wild(300, seed=7)])
def test_large_ones_are_sound(needs: Needs) -> None:
    require_sound(layout(needs), needs)


def test_too_many_arrows_are_counted_instead_of_drawn() -> None:
    first = tuple((f"a{n}", ()) for n in range(100))
    needs = (*first, *((f"b{n}", tuple(name for name, _ in first)) for n in range(100)))
    found = layout(needs)
    assert len(found.arrows) == MOST_ARROWS
    assert found.left_out == 100 * 100 - MOST_ARROWS


def test_what_is_needed_and_not_there_counts_for_nothing() -> None:
    assert layout((("b", ("gone",)),)).depth == 1


@given(st.integers(0, 40), st.integers())
def test_whatever_needs_what_none_lies_on_another(length: int, seed: int) -> None:
    needs = wild(length, seed)
    require_sound(layout(needs), needs)
