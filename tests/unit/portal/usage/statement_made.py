"""Usage of a person in a month, written as services write it."""

from __future__ import annotations

from datetime import UTC, datetime

from portal.core.ids import new_id
from portal.usage.models import Kind, UsageRecord
from portal.usage.services import records_add
from portal.workspaces.models import Workspace

MONTH = "2026-10"
DOLLAR = 1_000_000_000


def used(
    workspace: Workspace,
    kind: str,
    nano: int,
    *,
    quantity: int = 0,
    day: int = 5,
    month: int = 10,
    year: int = 2026,
    script: str = "",
) -> UsageRecord:
    """One record of October 2026, unless another month is named."""
    at = datetime(year, month, day, 12, tzinfo=UTC)
    record = UsageRecord(
        owner_id=workspace.owner_id,
        workspace=workspace,
        kind=Kind(kind),
        nano=nano,
        quantity=quantity,
        unit="ms",
        rate=1,
        began_at=at,
        ended_at=at,
        day=at.date(),
        script=script,
        key=new_id(),
    )
    records_add(records=[record])
    return record
