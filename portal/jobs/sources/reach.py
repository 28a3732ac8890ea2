"""What a search on behalf of a workspace may reach, by this installation's settings."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from portal.gateways.aws import Account
from portal.gateways.aws_catalogue import Reach
from portal.jobs.sources.kept import Kept
from portal.jobs.sources.reading import Access


def access_of(account: Account | None, bucket: str) -> Access:
    """The access of a workspace: its account's role for its own bucket, and for others where the requester pays."""
    reach = Reach(account, bucket)
    return Access(private=settings.DATA_PRIVATE_ADDRESSES, reach=reach, kept=_kept(), probing=True)


@cache
def _kept() -> Kept | None:
    most = settings.CATALOGUE_CACHE_MB * 1024 * 1024
    return Kept(settings.ORCA_HOME / "catalogues.sqlite3", most_bytes=most) if most else None
