"""Which item gave which file.

A file belongs to the item whose folder in the shard is its first folder, or its name, or what its name begins with;
else to all items of its shard. That folder is called by the item's id, and a second item of the same id, of another
collection, has ``-2`` behind it. A program that knows better says so in ``.orca-items.json``: ``{path: item id}``, or
``collection/id`` where several have the id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from agents.orca_agent.protocol import safe_name
from portal.core.errors import CloudFault
from portal.gateways import aws_storage
from portal.gateways.aws import Account
from portal.pipelines.models import Step

MAP = ".orca-items.json"
_MOST_MAP = 16 * 1024 * 1024
_CUT = re.compile(r"[._\- ]")


# What tells one item of a job from all others: its collection, if it has one, and its id.
Name = tuple[str | None, str]


class Attribution:
    """The items of one shard, and what it says about its files."""

    def __init__(self, items: list[Name], said: Mapping[str, str]) -> None:
        self.items = items
        self._said = said
        # Of several with the same id the first one has it to itself.
        ids = {item[1]: item for item in reversed(items)}
        self._by_said = {_full(item): item for item in items} | ids
        self._by_name = ids | dict(zip(_folders(items), items, strict=True))

    @classmethod
    def of(cls, step: Step, account: Account, bucket: str) -> Attribution:
        """That of a shard, read from the bucket. Raises ``CloudFault``."""
        part = step.data
        raw = aws_storage.read_bytes(account, bucket, part["key"], most=part["length"], start=part["offset"])
        lines = map(json.loads, raw.splitlines())
        return cls([(line.get("collection"), line["id"]) for line in lines], _said(step, account, bucket))

    def items_of(self, path: str) -> list[Name]:
        """The items that gave a file: one, or all of the shard."""
        told = self._said.get(path)
        if told in self._by_said:
            return [self._by_said[told]]
        first, _, rest = path.partition("/")
        if rest and first in self._by_name:
            return [self._by_name[first]]
        name = path.rpartition("/")[2]
        if name in self._by_name:
            return [self._by_name[name]]
        for cut in reversed(list(_CUT.finditer(name))):
            if (found := name[: cut.start()]) in self._by_name:
                return [self._by_name[found]]
        return self.items


def _full(item: Name) -> str:
    collection, name = item
    return f"{collection}/{name}" if collection else name


def _folders(items: Sequence[Name]) -> list[str]:
    """What the folders of these items are called for their shard, as ``agents.orca_agent.steps.data`` makes them."""
    found: list[str] = []
    taken: set[str] = set()
    for _, name in items:
        stem = folder = safe_name(name)
        number = 1
        while folder in taken:
            number += 1
            folder = f"{stem}-{number}"
        taken.add(folder)
        found.append(folder)
    return found


def _said(step: Step, account: Account, bucket: str) -> Mapping[str, str]:
    if not step.outputs_truncated and not any(output["path"] == MAP for output in step.outputs):
        return {}
    try:
        said = json.loads(aws_storage.read_bytes(account, bucket, step.object_key(f"output/{MAP}"), most=_MOST_MAP))
    except (ValueError, CloudFault):
        return {}
    if not isinstance(said, dict):
        return {}
    return {path: item for path, item in said.items() if isinstance(item, str)}
