"""What a shard is handed that lies in other buckets: links, made anew for each attempt, because they do not last.

An instance may read its own bucket and no other. So of a shard's lines those that name ``s3://`` get https addresses
instead; they lie beside the orders of the workspace until its objects there expire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from portal.clouds.services import account_handle
from portal.core.errors import CloudFault
from portal.gateways import aws_catalogue, aws_storage
from portal.gateways.aws_catalogue import Reach
from portal.pipelines.models import Step
from portal.workspaces.models import Workspace

# As long as a session of a role lasts.
_SECONDS = 3_600
# Begins an address, in a line of the manifest, that an instance cannot read by itself.
MARK = '"href":"s3://'


def data_of(step: Step, attempt: int) -> dict[str, Any]:
    """Where the lines lie that this attempt is handed. Raises ``CloudFault``."""
    given = step.data
    account, bucket = account_handle(step.workspace.cloud_account), step.workspace.bucket
    raw = aws_storage.read_bytes(account, bucket, given["key"], most=given["length"], start=given["offset"])
    linked = _Linker(step.workspace).linked
    lines = [json.dumps(linked(json.loads(line)), separators=(",", ":")) for line in raw.splitlines()]
    body = ("\n".join(lines) + "\n").encode()
    key = f"control/inputs/{step.run_id}/{step.pk}/{attempt}/items.jsonl"
    aws_storage.put_bytes(account, bucket, key, body, "application/x-ndjson")
    return {"key": key, "offset": 0, "length": len(body), "items": given["items"]}


class _Linker:
    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._account = account_handle(workspace.cloud_account)
        self._other = cache(self._looked_up)

    def linked(self, item: dict[str, Any]) -> dict[str, Any]:
        """An item whose assets an instance can get."""
        assets = {name: self._asset(asset) for name, asset in item["assets"].items()}
        return {**item, "assets": assets}

    def _asset(self, asset: Mapping[str, Any]) -> Mapping[str, Any]:
        href = str(asset.get("href", ""))
        if not href.startswith("s3://") or (place := aws_catalogue.place(href)) is None:
            return asset
        rest = {name: value for name, value in asset.items() if name not in {"href", "requester_pays"}}
        if place.bucket == self._workspace.bucket:
            return {**rest, "key": place.key}
        if (other := self._other(place.bucket)) is not None:
            account = account_handle(other.cloud_account)
            return {**rest, "href": aws_storage.link(account, place.bucket, place.key, seconds=_SECONDS)}
        reach = Reach(self._account, self._workspace.bucket, requester_pays=bool(asset.get("requester_pays")))
        try:
            return {**rest, "href": aws_catalogue.link(place, reach, seconds=_SECONDS)}
        except CloudFault as error:
            if error.retryable:
                raise
            return asset  # the agent says of it that it cannot be read

    def _looked_up(self, bucket: str) -> Workspace | None:
        """The workspace of the same person whose bucket that is."""
        found = Workspace.objects.filter(owner=self._workspace.owner_id, pk=bucket.removeprefix("orca-"))
        return found.select_related("cloud_account").first() if bucket.startswith("orca-") else None
