"""Writing down what was used: each thing once, and added up in the same transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from portal.accounts.models import User
from portal.core.ids import new_id
from portal.core.money import nano_of
from portal.pipelines.attempts import Attempt
from portal.pipelines.models import Run
from portal.usage import prices
from portal.usage.accrual import between, day_of, days
from portal.usage.models import Grant, Kind, Price, UsageDay, UsageRecord

MS, BYTES, BYTE_HOURS, GB_SECONDS, REQUESTS = "ms", "bytes", "byte-hours", "GB-seconds", "requests"
_Sum = tuple[int, int, int]


@transaction.atomic(savepoint=False)
def records_add(*, records: Sequence[UsageRecord]) -> list[UsageRecord]:
    """Write those that are not there yet, and add them to their days; which were new."""
    if not records:
        return []
    known = set(UsageRecord.objects.filter(key__in=[r.key for r in records]).values_list("key", flat=True))
    new = [record for record in records if record.key not in known]
    UsageRecord.objects.bulk_create(new, batch_size=500)
    _add_up(new)
    return new


def _add_up(records: Iterable[UsageRecord]) -> None:
    sums: dict[tuple[str, date, str, str, str], _Sum] = defaultdict(lambda: (0, 0, 0))
    for record in records:
        row = (record.owner_id, record.day, record.workspace_id, record.kind, record.script)
        quantity, nano, count = sums[row]
        sums[row] = (quantity + record.quantity, nano + record.nano, count + 1)
    for (owner, day, workspace, kind, script), (quantity, nano, count) in sorted(sums.items()):
        same = UsageDay.objects.filter(owner=owner, day=day, workspace=workspace, kind=kind, script=script)
        more = {"quantity": F("quantity") + quantity, "nano": F("nano") + nano, "records": F("records") + count}
        if same.update(**more):
            continue
        try:
            with transaction.atomic():
                UsageDay.objects.create(
                    owner_id=owner,
                    day=day,
                    workspace_id=workspace,
                    kind=kind,
                    script=script,
                    quantity=quantity,
                    nano=nano,
                    records=count,
                )
        except IntegrityError:  # a rival was quicker
            same.update(**more)


def trial_grant(*, owner: User) -> Grant | None:
    """The credit that a new account gets to try Orca out, where the settings give one; one only."""
    if settings.TRIAL_CREDIT <= 0 or Grant.objects.filter(owner=owner, trial=True).exists():
        return None
    now = timezone.now()
    return Grant.objects.create(
        owner=owner,
        kind=Grant.Kind.CREDIT,
        amount=nano_of(settings.TRIAL_CREDIT),
        valid_from=now,
        valid_to=now + timedelta(days=settings.TRIAL_DAYS),
        note="Trial credit",
        trial=True,
    )


def attempts_add(*, attempts: Sequence[Attempt]) -> None:
    """Write what ended attempts cost; runs with a limit are told what of it is spent. One insert for all of them."""
    records = [record for attempt in attempts for record in records_of(attempt)]
    spent: dict[str, int] = defaultdict(int)
    limited = {attempt.run for attempt in attempts if attempt.limited}
    for record in records_add(records=records):
        if record.run_id in limited and record.run_id is not None:
            spent[record.run_id] += record.nano
    for run_id, nano in sorted(spent.items()):
        Run.objects.filter(pk=run_id).update(cost_spent=F("cost_spent") + nano)


def records_of(attempt: Attempt) -> list[UsageRecord]:
    """An attempt's time, a record a day, and its bytes.

    What it sends to its bucket and fetches from there costs nothing. It is known so that it can be told from what goes
    out (`traffic`): inputs come after the beginning, outputs go after the end.
    """
    if attempt.started_at is None:
        return []
    start, end = attempt.started_at, max(attempt.started_at, attempt.finished_at)
    tariff = prices.tariff(attempt.region, Price.Kind.INSTANCE, attempt.instance_type)
    name = f"{attempt.step}:{attempt.attempt}:{attempt.execution}"
    records = []
    for day, begin, until in days(start, end):
        amount = between(tariff, start, begin, until, slots=max(attempt.slots, 1))
        told = {"quantity": amount.ms, "unit": MS, "rate": tariff.at(begin), "nano": amount.nano}
        key = f"{name}:{day:%Y%m%d}"
        records.append(_of(attempt, kind=Kind.COMPUTE, key=key, began_at=begin, ended_at=until, **told))
    for kind, count, at, rate in (
        (Kind.SENT, attempt.bytes_out, end, 0),
        (Kind.FETCHED, attempt.bytes_fetched, start, 0),
        (Kind.INGRESS, attempt.bytes_in - attempt.bytes_fetched, end, prices.ingress_rate(attempt.region, end)),
    ):
        if count > 0:
            told = {"quantity": count, "unit": BYTES, "rate": rate, "nano": count * rate // prices.GIB}
            records.append(_of(attempt, kind=kind, key=f"{name}:{kind}", began_at=at, ended_at=at, **told))
    return records


def reading_add(*, run: Run, size: int) -> None:
    """Note what Orca itself has read of a workspace's bucket for a run: that is nobody's data out."""
    if size <= 0:
        return
    now = timezone.now()
    record = UsageRecord(
        owner_id=run.owner_id,
        workspace_id=run.workspace_id,
        run=run,
        kind=Kind.FETCHED,
        quantity=size,
        unit=BYTES,
        rate=0,
        nano=0,
        began_at=now,
        ended_at=now,
        day=day_of(now),
        key=f"{Kind.FETCHED}:{new_id()}",
    )
    records_add(records=[record])


def _of(attempt: Attempt, *, began_at: datetime, **told: Any) -> UsageRecord:
    return UsageRecord(
        owner_id=attempt.owner,
        workspace_id=attempt.workspace,
        run_id=attempt.run,
        script=attempt.script,
        instance_id=attempt.instance_id,
        day=day_of(began_at),
        began_at=began_at,
        **told,
    )
