"""Where the steps of a pipeline lie in its picture: in layers, each step below (or right of) all that it needs.

The layers are those of Sugiyama's method: a step's layer is one more than the deepest that it needs; within a layer
steps are ordered by where their neighbours lie, so that few arrows cross; an arrow that passes a layer has a place in
it like a step, so that it goes around the steps there. Arrows that others imply are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from graphlib import TopologicalSorter
from itertools import pairwise

MOST_ARROWS = 3_000
_MOST_BENDS = 6_000
_SWEEPS = 6
# Side by side, as parts of a step's width.
_STEP, _BEND = 1.0, 0.25
# Layers that are no wider than this go downwards: they fit on a phone, too.
_NARROW = 4.0

Needs = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Spot:
    """A step's place: ``across`` its layer in widths of a step, from 0.5 on; ``layer`` from 0."""

    name: str
    across: float
    layer: int


@dataclass(frozen=True)
class Arrow:
    """From a step to one that needs it: (across, layer) of its beginning, its bends and its end."""

    begin: str
    end: str
    points: tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class Layout:
    """All places. ``width`` of the widest layer in steps, ``depth`` the number of layers; ``left_out`` arrows."""

    spots: tuple[Spot, ...]
    arrows: tuple[Arrow, ...]
    width: float
    depth: int
    left_out: int

    @property
    def downwards(self) -> bool:
        """Whether the layers are best drawn below each other, instead of side by side."""
        return self.width <= _NARROW or self.width * 2 < self.depth


@dataclass
class _Node:
    """A step, or the bend of an arrow (without a name)."""

    layer: int
    size: float
    name: str = ""
    above: list[_Node] = field(default_factory=list)
    below: list[_Node] = field(default_factory=list)
    at: float = 0.0


def needs_of(steps: Sequence[Mapping[str, object]]) -> Needs:
    """What ``layout`` takes, of a definition's steps."""
    return tuple((str(step["name"]), tuple(step["needs"])) for step in steps)  # type: ignore[arg-type]


@lru_cache(maxsize=64)
def layout(needs: Needs) -> Layout:
    """The places of steps that are named with what they need; needs that are no steps here count for nothing.

    The steps must be free of cycles.
    """
    known = {name for name, _ in needs}
    wanted = {name: [need for need in of if need in known] for name, of in needs}
    pairs, left_out = _arrows(wanted)
    layers, chains = _placed(wanted, pairs)
    _ordered(layers)
    _spread(layers)
    nodes = [node for layer in layers for node in layer]
    least = min((node.at - node.size / 2 for node in nodes), default=0.0)
    for node in nodes:
        node.at -= least
    return Layout(
        spots=tuple(Spot(node.name, node.at, node.layer) for node in nodes if node.name),
        arrows=tuple(
            Arrow(begin, end, tuple((node.at, node.layer) for node in chain))
            for (begin, end), chain in zip(pairs, chains, strict=True)
        ),
        width=max((node.at + node.size / 2 for node in nodes), default=0.0),
        depth=len(layers),
        left_out=left_out,
    )


def _arrows(wanted: Mapping[str, Sequence[str]]) -> tuple[list[tuple[str, str]], int]:
    """Each arrow that no chain of others implies, as far as ``MOST_ARROWS``; how many more there are."""
    bits = {name: 1 << index for index, name in enumerate(wanted)}
    before: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []
    left_out = 0
    for name in TopologicalSorter(wanted).static_order():
        implied = 0
        for need in wanted[name]:
            implied |= before[need]
        before[name] = implied
        for need in dict.fromkeys(wanted[name]):
            before[name] |= bits[need]
            if implied & bits[need]:
                continue
            if len(pairs) < MOST_ARROWS:
                pairs.append((need, name))
            else:
                left_out += 1
    return pairs, left_out


def _placed(
    wanted: Mapping[str, Sequence[str]], pairs: Sequence[tuple[str, str]]
) -> tuple[list[list[_Node]], list[list[_Node]]]:
    """The layers, in the order in which the steps are written, and each arrow's nodes from its beginning to its end."""
    depth: dict[str, int] = {}
    for name in TopologicalSorter(wanted).static_order():
        depth[name] = 1 + max((depth[need] for need in wanted[name]), default=-1)
    layers: list[list[_Node]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    nodes = {name: _Node(depth[name], _STEP, name) for name in wanted}
    for node in nodes.values():
        layers[node.layer].append(node)
    bending = sum(depth[end] - depth[begin] - 1 for begin, end in pairs) <= _MOST_BENDS
    chains = []
    for begin, end in pairs:
        between = range(depth[begin] + 1, depth[end]) if bending else range(0)
        bends = [_Node(layer, _BEND) for layer in between]
        for bend in bends:
            layers[bend.layer].append(bend)
        chain = [nodes[begin], *bends, nodes[end]]
        for above, below in pairwise(chain):
            above.below.append(below)
            below.above.append(above)
        chains.append(chain)
    return layers, chains


def _ordered(layers: Sequence[list[_Node]]) -> None:
    """Bring each layer into the order of its neighbours' middles: from above, from below, and again."""
    for layer in layers:
        _row(layer)
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        for layer in layers[1:] if downwards else layers[-2::-1]:
            layer.sort(key=lambda node: _middle(node.above if downwards else node.below, node.at))
            _row(layer)


def _row(layer: Sequence[_Node]) -> None:
    """One after the other, the whole centred around 0."""
    at = -sum(node.size for node in layer) / 2
    for node in layer:
        node.at = at + node.size / 2
        at += node.size


def _middle(nodes: Sequence[_Node], otherwise: float) -> float:
    return sum(node.at for node in nodes) / len(nodes) if nodes else otherwise


def _spread(layers: Sequence[Sequence[_Node]]) -> None:
    """Move each node towards its neighbours' middle, as far as its layer has room, in the order that it has."""
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        for layer in layers[1:] if downwards else layers[-2::-1]:
            wished = [_middle(node.above if downwards else node.below, node.at) for node in layer]
            for node, at in zip(layer, _apart(layer, wished), strict=True):
                node.at = at


def _apart(layer: Sequence[_Node], wished: Sequence[float]) -> list[float]:
    """The wished places, far enough from each other: the mean of pushing to the right and of pushing to the left."""
    gaps = [(a.size + b.size) / 2 for a, b in pairwise(layer)]
    right, left = list(wished), list(wished)
    for index, gap in enumerate(gaps):
        right[index + 1] = max(right[index + 1], right[index] + gap)
    for index in range(len(gaps) - 1, -1, -1):
        left[index] = min(left[index], left[index + 1] - gaps[index])
    return [(a + b) / 2 for a, b in zip(right, left, strict=True)]
