"""How items become shards: none missing, none double, and balanced."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.core.errors import Invalid
from portal.jobs.splitting import Spool, shards_made

RULES: dict[str, Any] = {"by": "count", "number": None, "most_items": None, "most_mb": None}


def spooled(sizes: list[int], groups: list[str] | None = None) -> Spool:
    spool = Spool(grouped=groups is not None)
    for number, size in enumerate(sizes):
        spool.add(json.dumps({"id": number}), size, groups[number] if groups else "")
    return spool


def split(sizes: list[int], groups: list[str] | None = None, *, slots: int = 2, **rules: Any) -> list[list[int]]:
    with spooled(sizes, groups) as spool:
        return [list(shard) for shard in shards_made(spool, {**RULES, **rules}, slots=slots, most=10_000)]


@given(
    sizes=st.lists(st.integers(0, 10**9), min_size=1, max_size=60),
    by=st.sampled_from(["count", "size", "path"]),
    number=st.none() | st.integers(1, 70),
    most_items=st.none() | st.integers(1, 20),
)
def test_every_item_is_in_one_shard(sizes: list[int], by: str, number: int | None, most_items: int | None) -> None:
    groups = [str(size % 5) for size in sizes] if by == "path" else None
    made = split(sizes, groups, by=by, number=number, most_items=most_items)
    assert sorted(index for shard in made for index in shard) == list(range(len(sizes)))
    assert all(made)
    assert not most_items or max(map(len, made)) <= most_items


def test_by_count_shards_differ_by_one_at_most() -> None:
    made = split([0] * 103, number=10)
    assert {len(shard) for shard in made} == {10, 11}
    assert made[0] == list(range(10))


def test_there_are_four_shards_for_each_slot_unless_there_are_fewer_items() -> None:
    assert len(split([0] * 100, slots=8)) == 32
    assert len(split([0] * 5, slots=8)) == 5


def test_by_size_the_heaviest_shard_is_not_much_heavier_than_the_lightest() -> None:
    sizes = [1000, *[10] * 100]
    weights = sorted(sum(sizes[index] for index in shard) for shard in split(sizes, by="size", number=5))
    assert weights == [250, 250, 250, 250, 1000]


def test_an_unknown_size_counts_as_an_average_one() -> None:
    made = split([100, 0, 0, 100], by="size", number=2)
    assert [len(shard) for shard in made] == [2, 2]


def test_no_shard_has_more_megabytes_than_it_may() -> None:
    sizes = [3_000_000] * 10
    made = split(sizes, by="size", most_mb=7)
    assert max(sum(sizes[index] for index in shard) for shard in made) <= 7_000_000


def test_by_property_a_group_stays_together() -> None:
    groups = ["a", "b", "a", "c", "b"]
    assert split([1] * 5, groups, by="path") == [[0, 2], [1, 4], [3]]
    assert len(split([1] * 5, groups, by="path", number=2)) == 2


def test_too_many_shards_say_how_many_there_may_be() -> None:
    with spooled([0] * 30) as spool, pytest.raises(Invalid, match="a job may have 10"):
        shards_made(spool, {**RULES, "most_items": 1}, slots=1, most=10)


def test_the_manifest_is_in_the_order_of_the_shards() -> None:
    with spooled([1, 5, 1, 5]) as spool:
        shards = shards_made(spool, {**RULES, "by": "size", "number": 2}, slots=1, most=10)
        manifest = io.BytesIO()
        slices, digest = spool.written(shards, manifest)
    text = manifest.getvalue()
    assert hashlib.sha256(text).hexdigest() == digest
    for shard, part in zip(shards, slices, strict=True):
        lines = text[part.offset : part.offset + part.length].splitlines()
        assert [json.loads(line)["id"] for line in lines] == list(shard)
        assert part.items == len(lines)
    assert sum(part.length for part in slices) == len(text)
