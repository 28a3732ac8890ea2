"""How items become shards: evenly by count, by size with the largest first, or by what a property says.

Nothing here holds the items: only how long each one's line is, how large its data, and which group it is of.
"""

from __future__ import annotations

import hashlib
import heapq
import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from agents.orca_agent.protocol import MAX_ITEMS, MAX_SLICE
from portal.core.errors import Invalid

PER_SLOT: Final = 4
Shard = Sequence[int]


@dataclass(frozen=True)
class Slice:
    """Where a shard's items lie in the manifest, in bytes, how many they are, and whether some need links."""

    offset: int
    length: int
    items: int
    linked: bool = False


class Spool:
    """The lines of all items in a temporary file, in the order in which they were found.

    A shard with ``mark`` in one of its lines is ``linked``.
    """

    def __init__(self, *, grouped: bool = False, mark: bytes = b"s3://") -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(prefix="orca-items-")  # noqa: SIM115  # closed by __exit__
        self.lengths = array("L")
        self.sizes = array("Q")
        self.groups = array("L")
        self._grouped = grouped
        self._mark = mark
        self._known: dict[str, int] = {}

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def total(self) -> int:
        """Bytes of all items' data, as far as they are known."""
        return sum(self.sizes)

    def add(self, line: str, size: int | None, group: str = "") -> None:
        """One more item."""
        content = line.rstrip("\n").encode() + b"\n"
        self.file.write(content)
        self.lengths.append(len(content))
        self.sizes.append(max(0, size or 0))
        if self._grouped:
            self.groups.append(self._known.setdefault(group, len(self._known)))

    def written(self, shards: Sequence[Shard], to: IO[bytes]) -> tuple[list[Slice], str]:
        """Write the manifest, in the order of the shards; where each lies in it, and the SHA-256 of the whole."""
        offsets, at = array("Q"), 0
        for length in self.lengths:
            offsets.append(at)
            at += length
        digest, slices, at = hashlib.sha256(), [], 0
        for shard in shards:
            begin, linked = at, False
            for index in shard:
                self.file.seek(offsets[index])
                content = self.file.read(self.lengths[index])
                digest.update(content)
                linked = linked or self._mark in content
                to.write(content)
                at += len(content)
            slices.append(Slice(begin, at - begin, len(shard), linked))
        return slices, digest.hexdigest()


def shards_made(spool: Spool, rules: Mapping[str, Any], *, slots: int, most: int) -> list[Shard]:
    """The items of each shard. ``slots`` are those of all nodes together, ``most`` how many shards there may be.

    Raises ``Invalid`` where there would be more.
    """
    by, weights = rules["by"], _weights(spool)
    if by == "count":
        number = _number(rules, len(spool), weights, slots)
        made = _even(len(spool), number) if number <= most else []
    elif by == "size":
        number = _number(rules, len(spool), weights, slots)
        made = _balanced(range(len(spool)), weights, number) if number <= most else []
    else:
        made = _grouped(spool, rules, weights)
        number = len(made)
    if made and rules["most_mb"]:
        made = list(_bounded(made, weights, int(rules["most_mb"] * 1_000_000)))
    if made and rules["most_items"]:
        made = list(_bounded(made, [1] * len(spool), rules["most_items"]))
    made = list(_bounded(made, spool.lengths, MAX_SLICE))
    made = list(_bounded(made, [1] * len(spool), MAX_ITEMS))
    if number > most or len(made) > most:
        raise Invalid(
            f"These would be {max(number, len(made)):,} shards; a job may have {most:,}.",
            code="too_many_shards",
            hint="Put more items into one shard.",
            fields={"shards": f"{most} at most"},
        )
    return made


def _weights(spool: Spool) -> Sequence[int]:
    """The size of each item; where it is not known, that of an average one."""
    known = [size for size in spool.sizes if size]
    usual = sum(known) // len(known) if known else 1
    return array("Q", (size or usual or 1 for size in spool.sizes))


def _number(rules: Mapping[str, Any], count: int, weights: Sequence[int], slots: int) -> int:
    wanted = [rules["number"] or 0]
    if rules["most_items"]:
        wanted.append(-(-count // rules["most_items"]))
    if rules["most_mb"]:
        wanted.append(-(-sum(weights) // int(rules["most_mb"] * 1_000_000)))
    return min(count, max(wanted) or PER_SLOT * max(1, slots))


def _even(count: int, number: int) -> list[Shard]:
    """As many items in each, give or take one, in the order in which they were found."""
    return [range(count * at // number, count * (at + 1) // number) for at in range(number)]


def _balanced(things: Sequence[int], weights: Sequence[int], number: int) -> list[Shard]:
    """Longest processing time first: the largest that is left goes to the shard that has least."""
    heap = [(0, 0, at) for at in range(number)]  # among equals to the one with the fewest items
    made = [array("L") for _ in range(number)]
    for index in sorted(things, key=lambda index: weights[index], reverse=True):
        weight, count, at = heap[0]
        made[at].append(index)
        heapq.heapreplace(heap, (weight + weights[index], count + 1, at))
    return [shard for shard in made if shard]


def _grouped(spool: Spool, rules: Mapping[str, Any], weights: Sequence[int]) -> list[Shard]:
    """Items of one group stay together; several groups share a shard only where a number is asked for."""
    groups: dict[int, array[int]] = {}
    for index, group in enumerate(spool.groups):
        groups.setdefault(group, array("L")).append(index)
    if not rules["number"] or rules["number"] >= len(groups):
        return list(groups.values())
    together = [sum(weights[index] for index in group) for group in groups.values()]
    members = list(groups.values())
    return [
        array("L", (index for group in shard for index in members[group]))
        for shard in _balanced(range(len(members)), together, rules["number"])
    ]


def _bounded(shards: Sequence[Shard], weights: Sequence[int], most: int) -> Iterator[Shard]:
    """The same, those apart that weigh more than ``most``; one item alone may."""
    for shard in shards:
        if len(shard) > 1 and _sum(shard, weights.__getitem__) > most:
            yield from _apart(shard, weights, most)
        else:
            yield shard


def _apart(shard: Shard, weights: Sequence[int], most: int) -> Iterator[Shard]:
    some, weight = array("L"), 0
    for index in shard:
        if some and weight + weights[index] > most:
            yield some
            some, weight = array("L"), 0
        some.append(index)
        weight += weights[index]
    yield some


def _sum(shard: Shard, weight: Callable[[int], int]) -> int:
    return sum(map(weight, shard))
