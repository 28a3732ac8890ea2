"""Which item gave which file.

A file belongs to the item whose id is its first folder, or its name, or what its name begins with; else to all items
of its shard. A program that knows better says so in ``.orca-items.json``: ``{path: item id}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from agents.orca_agent.protocol import safe_name
from portal.core.errors import CloudFault
from portal.gateways import aws_storage
from portal.gateways.aws import Account
from portal.pipelines.models import Step

MAP = ".orca-items.json"
_MOST_MAP = 16 * 1024 * 1024
_CUT = re.compile(r"[._\- ]")


class Attribution:
    """The items of one shard, and what it says about its files."""

    def __init__(self, ids: list[str], said: Mapping[str, str]) -> None:
        self.ids = ids
        self._by_name = {safe_name(item): item for item in ids} | {item: item for item in ids}
        self._said = said
        self.alone: list[str] = ids

    @classmethod
    def of(cls, step: Step, account: Account, bucket: str) -> Attribution:
        """That of a shard, read from the bucket. Raises ``CloudFault``."""
        part = step.data
        raw = aws_storage.read_bytes(account, bucket, part["key"], most=part["length"], start=part["offset"])
        return cls([json.loads(line)["id"] for line in raw.splitlines()], _said(step, account, bucket))

    def items_of(self, path: str) -> list[str]:
        """The items that gave a file: one, or all of the shard."""
        told = self._said.get(path)
        if told in self._by_name:
            return [self._by_name[told]]
        first, _, rest = path.partition("/")
        if rest and first in self._by_name:
            return [self._by_name[first]]
        name = path.rpartition("/")[2]
        if name in self._by_name:
            return [self._by_name[name]]
        for cut in reversed(list(_CUT.finditer(name))):
            if (found := name[: cut.start()]) in self._by_name:
                return [self._by_name[found]]
        return self.ids


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
