"""Whether what a search finds in other people's buckets can be read: told before many shards fail on it."""

from __future__ import annotations

from typing import Final

from portal.core.errors import CloudFault
from portal.gateways import aws_catalogue
from portal.gateways.aws_catalogue import CLOSED, Place, Reach
from portal.jobs.sources.items import Item
from portal.jobs.sources.unfound import Unfound

# S3 says of an object that is not there, too, that it may not be read: one refusal proves nothing.
_REFUSALS: Final = 3
_MOST_BUCKETS: Final = 20


class Probe:
    """Looks at the first objects of each bucket; one that can be read is enough."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._refused: dict[str, list[CloudFault]] = {}
        self._known: set[str] = set()

    def look(self, item: Item) -> None:
        """Look where it is not known yet. Raises ``Unfound`` as soon as a bucket has refused often enough."""
        for asset in item.assets.values():
            place = aws_catalogue.place(asset.href) if asset.href else None
            if place is not None and self._is_open_question(place.bucket):
                self._look(place)

    def _is_open_question(self, bucket: str) -> bool:
        # Workspaces of the same person are asked with their own roles when a shard is handed out.
        elsewhere = bucket != self._reach.bucket and not aws_catalogue.is_ours(bucket)
        return elsewhere and bucket not in self._known and len(self._known) < _MOST_BUCKETS

    def _look(self, place: Place) -> None:
        try:
            aws_catalogue.size(place, self._reach)
        except CloudFault as fault:
            if fault.code == CLOSED:
                refused = self._refused.setdefault(place.bucket, [])
                refused.append(fault)
                if len(refused) >= _REFUSALS:
                    self.end()
                return
        self._known.add(place.bucket)
        self._refused.pop(place.bucket, None)

    def end(self) -> None:
        """All has been looked at. Raises ``Unfound`` where a bucket has refused and never let in."""
        for fault in (refused[0] for refused in self._refused.values()):
            raise Unfound(fault.message, field="data.requester_pays", hint=fault.hint) from fault
