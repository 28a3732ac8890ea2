"""The sweep that keeps people within their budgets: it warns in time, and stops what costs before the hard amount.

Runs are bounded by what is set aside for them (`reservations`). What costs without being asked for, idle instances and
what is stored, is not: so this looks ahead, for as long as it takes until it looks again and all is down.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from portal.accounts.models import User
from portal.core.errors import OrcaError
from portal.notices.outbox import budget_note
from portal.pipelines.models import OPEN, Run, Step
from portal.pipelines.services import run_cancel
from portal.pipelines.spending import REACHED
from portal.usage import ledger, money, prices
from portal.usage.models import Budget, Span
from portal.usage.reservations import reservations_sweep
from portal.usage.selectors import running_cost
from portal.workspaces.models import Instance, Workspace
from portal.workspaces.services import workspace_stop

logger = logging.getLogger(__name__)
# What stopping takes: steps are told to end and leave what they have, then the instances go down.
STOPPING = timedelta(seconds=120)
WARN_JOB_AT = 80
_UP = [Instance.State.PENDING, Instance.State.RUNNING, Instance.State.UNREACHABLE]


def budgets_sweep() -> int:
    """Look after everybody whose money is bounded, and after jobs; how many people were looked at."""
    reservations_sweep()
    jobs_warn()
    looked = 0
    for user in _watched():
        try:
            budget_watch(user=user)
            looked += 1
        except OrcaError as error:
            logger.warning("budget of %s: %s", user.pk, error.message)
    return looked


def _watched() -> list[User]:
    """Those with a budget, own or by default, who have something that costs."""
    bounded = Q(budget__isnull=False) | Q(budgeted=True) | Q(trial=True)
    if settings.BUDGET_HARD is not None or settings.BUDGET_SOFT is not None:
        bounded = Q()
    gone = [Workspace.State.DESTROYED, Workspace.State.REQUESTED]
    costing = Workspace.objects.exclude(state__in=gone).values("owner")
    return list(User.objects.filter(bounded, pk__in=costing).order_by("pk"))


def budget_watch(*, user: User) -> None:
    """Bring somebody's ledger up to date, tell them where they stand, and stop what must be stopped."""
    with ledger.locked(user) as budget:
        ledger.refresh(budget)
        soft, hard = ledger.soft_of(user, budget), ledger.hard_of(user, budget)
        _soft_told(user, budget, soft)
        over = hard is not None and budget.spent + budget.held + coming(user) >= hard
        if over and budget.reached_at is None:
            _reached(user, budget, hard or 0)
        reached_at = budget.reached_at
    if reached_at is not None:
        _all_stopped(user, reached_at, hard or 0)


def coming(user: User) -> int:
    """What running instances have cost that is not recorded yet, and will until they can be down."""
    now, ahead = timezone.now(), timedelta(seconds=settings.BUDGET_SWEEP) + STOPPING
    spans = Span.objects.filter(owner=user, kind=Span.Kind.INSTANCE, settled=False)
    known, cost = set(), 0
    for span in spans:
        known.add(span.instance_id)
        end = span.ended_at or now + ahead
        cost += _cost(span.region, span.size, end - (span.settled_at or span.began_at))
    up = Instance.objects.filter(workspace__owner=user, state__in=_UP).exclude(instance_id__in=known)
    for instance in up.select_related("workspace__cloud_account"):
        workspace, since = instance.workspace, instance.registered_at or instance.created_at
        size = instance.instance_type or workspace.instance_type
        cost += _cost(workspace.cloud_account.region, size, now + ahead - since)
    # What steps at work have used is not in the records before they end.
    return cost + running_cost(Step.objects.filter(run__owner=user))


def _cost(region: str, size: str, stretch: timedelta) -> int:
    seconds = max(0, int(stretch.total_seconds()) + 1)
    return seconds * prices.instance_rate(region, size, timezone.now())


def _soft_told(user: User, budget: Budget, soft: int | None) -> None:
    if soft is None or budget.spent < soft or budget.warned == budget.month:
        return
    budget.warned = budget.month
    budget.save(update_fields=["warned"])
    why = f"{money.shown(budget.spent)} is spent this month, and your soft amount is {money.shown(soft)}."
    facts = {"why": why, "spent": money.written(budget.spent), "soft": money.written(soft)}
    event = f"soft:{budget.month:%Y-%m}"
    budget_note(owner=user, event=event, subject="Your budget is running out", facts=facts)


def _reached(user: User, budget: Budget, hard: int) -> None:
    budget.reached_at = timezone.now()
    budget.save(update_fields=["reached_at"])
    facts = {"why": _why(hard), "spent": money.written(budget.spent), "hard": money.written(hard)}
    event = f"hard:{budget.month:%Y-%m}:{hard}"
    budget_note(owner=user, event=event, subject="Your budget is used up", facts=facts)


def _why(hard: int) -> str:
    return (
        f"Stopped: the budget of {money.shown(hard)} for this month is used up, but for what disks and data go on "
        "costing; they are kept. Start again with the next month, or when an operator has raised the budget."
    )


def _all_stopped(user: User, reached_at: datetime, hard: int) -> None:
    """End the runs, and stop each workspace as soon as no step is at work in it, or has had its time to end."""
    for run in Run.objects.filter(owner=user, state__in=OPEN, cancel_requested_at=None):
        try:
            run_cancel(run=run, reason=REACHED, message=f"The budget of {money.shown(hard)} for this month is used up.")
        except OrcaError as error:
            logger.info("run %s ends by itself: %s", run.pk, error.message)
    patient = timezone.now() - reached_at < STOPPING / 2
    for workspace in Workspace.objects.filter(owner=user, state__in=Workspace.ALIVE, stop_requested_at=None):
        at_work = Step.objects.filter(workspace=workspace, state__in=OPEN, released_at__isnull=False)
        if patient and at_work.exists():
            continue
        try:
            workspace_stop(workspace=workspace, reason=_why(hard))
        except OrcaError as error:
            logger.warning("workspace %s is not stopped yet: %s", workspace.pk, error.message)


def jobs_warn() -> int:
    """Tell of the jobs that have used four fifths of what they may cost; how many, each once."""
    close = Run.objects.filter(
        at_once__isnull=False,
        cost_limit__gt=0,
        cost_spent__gte=F("cost_limit") * WARN_JOB_AT / 100,
        state__in=OPEN,
        budget_told_at=None,
    )
    told = 0
    for run in close.select_related("owner")[:500]:
        with transaction.atomic():
            if not Run.objects.filter(pk=run.pk, budget_told_at=None).update(budget_told_at=timezone.now()):
                continue
            why = f"{money.shown(run.cost_spent)} of {money.shown(run.cost_limit or 0)} is spent."
            facts = {"why": why, "spent": money.written(run.cost_spent), "hard": money.written(run.cost_limit)}
            subject = f"The budget of {run.name} is running out"
            budget_note(owner=run.owner, event=f"job:{run.pk}", subject=subject, facts=facts, run=run)
            told += 1
    return told
