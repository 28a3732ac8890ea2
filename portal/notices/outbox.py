"""Which notices there are to be: written in the transaction of the change that they tell of, sent afterwards.

So a change and its notices are there together or not at all, whatever is killed. What is told of because nothing
happened (a run that does not end, a pipeline that does not run) has no such change: beat asks for it, and ``event``
keeps it from being told twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from portal.accounts.models import User
from portal.core.background import enqueue_on_commit
from portal.notices.models import GIVEN_UP_AFTER, Kind, Notice, Subscription
from portal.pipelines.models import OPEN, Pipeline, Run, Script, State
from portal.schedules.models import Fire

SEND = "portal.notices.tasks.notices_send"
MOST_AT_ONCE = 500
SLOTS_TOLD_ONCE_IN = 300
_KINDS = {
    State.SUCCEEDED: Kind.SUCCESS,
    State.FAILED: Kind.FAILURE,
    State.TIMED_OUT: Kind.FAILURE,
    State.LOST: Kind.FAILURE,
}
_ENDED = {
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.TIMED_OUT: "ran longer than its limit",
    State.LOST: "was lost",
}


def run_ended_note(*, run: Run) -> int:
    """Write the notices of a run that has just ended; how many. A cancelled one is no news: somebody asked for it."""
    found = list(Subscription.objects.filter(owner_id=run.owner_id, enabled=True))
    if not found:
        return 0
    run.refresh_from_db(fields=["script", "created_at", "due_at"])  # who settles runs does not load them
    meant = [s for s in found if s.covers(script_id=run.script_id, pipeline_id=run.pipeline_id)]
    kind = _KINDS.get(State(run.state))
    notices = [
        _notice(subscription, kind, f"{run.state}:{run.pk}", f"{run.name} {_ENDED[State(run.state)]}", run=run)
        for subscription in meant
        if kind is not None and subscription.wants(kind)
    ]
    # It may have become late since beat asked last, or beat may have been away.
    now = timezone.now()
    notices += [_late(subscription, run) for subscription in meant if _is_late(subscription, run, now)]
    return _written(notices)


def slot_note(*, fire: Fire) -> int:
    """Write the notices of a slot in which a schedule started nothing, although it should have; how many.

    Where slots follow each other quickly, one of them in five minutes is told of.
    """
    schedule, due_at = fire.schedule, fire.due_at
    wanted = Subscription.objects.filter(owner_id=schedule.owner_id, enabled=True, on_did_not_run=True)
    meant = [s for s in wanted if s.covers(script_id=schedule.script_id, pipeline_id=schedule.pipeline_id)]
    if not meant:
        return 0
    thing = schedule.pipeline or schedule.script or schedule
    word = "pipeline" if schedule.pipeline else "script" if schedule.script else "schedule"
    facts = {word: thing.pk, "name": thing.name, "due_at": due_at.isoformat(), "slots": fire.slots, "why": fire.why}
    event = f"slot:{schedule.pk}:{int(due_at.timestamp()) // SLOTS_TOLD_ONCE_IN}"
    subject = f"{thing.name} did not run at {due_at:%Y-%m-%d %H:%M} UTC"
    return _written([_notice(s, Kind.DID_NOT_RUN, event, subject, facts=facts) for s in meant])


def budget_note(*, owner: User, event: str, subject: str, facts: dict[str, Any], run: Run | None = None) -> int:
    """Write the notices of money that runs out: a person's, or that of a ``run``; how many.

    Whoever has no notification for it gets a plain mail, once: this is about money.
    """
    found = list(Subscription.objects.filter(owner=owner, enabled=True, on_budget=True))
    if run is not None:
        found = [s for s in found if s.covers(script_id=run.script_id, pipeline_id=run.pipeline_id)]
    if not found:
        transaction.on_commit(partial(_mail_plainly, owner.email, subject, str(facts.get("why", ""))), robust=True)
    return _written([_notice(s, Kind.BUDGET, event, subject, run=run, facts=facts) for s in found])


def _mail_plainly(email: str, subject: str, why: str) -> None:
    body = f"{subject}.\n\n{why}\n\n{settings.PUBLIC_URL}/usage/budget/\n"
    send_mail(f"[Orca] {subject}", body, settings.DEFAULT_FROM_EMAIL, [email], fail_silently=True)


def expiry_note(*, run: Run, at: datetime, why: str) -> int:
    """Write the notices that what a run has left will be deleted ``at`` that time; how many."""
    found = Subscription.objects.filter(owner_id=run.owner_id, enabled=True)
    meant = [s for s in found if s.covers(script_id=run.script_id, pipeline_id=run.pipeline_id)]
    subject = f"The outputs of {run.name} will be deleted on {at:%Y-%m-%d}"
    facts = {"why": why, "expires_at": at.isoformat()}
    return _written([_notice(s, Kind.EXPIRY, f"expiry:{run.pk}", subject, run=run, facts=facts) for s in meant])


def absences_note() -> int:
    """Write the notices of what should have happened by now, and has not; how many."""
    late = Subscription.objects.filter(enabled=True, on_late=True)
    silent = Subscription.objects.filter(enabled=True, on_did_not_run=True, silent_hours__isnull=False)
    written = sum(_written([_late(subscription, run) for run in _late_runs(subscription)]) for subscription in late)
    return written + sum(_written(_silences(subscription)) for subscription in silent)


def _late_runs(subscription: Subscription) -> Iterable[Run]:
    """The open runs that a subscription has not been told of, and should be."""
    limit = timezone.now() - timedelta(minutes=subscription.late_minutes)
    told = Notice.objects.filter(subscription=subscription, kind=Kind.LATE, run=OuterRef("pk"))
    runs = Run.objects.filter(Q(due_at__lt=limit) | Q(due_at=None, created_at__lt=limit), ~Exists(told))
    runs = runs.filter(owner_id=subscription.owner_id, state__in=OPEN)
    if not subscription.everything:
        runs = runs.filter(Q(script__in=subscription.scripts) | Q(pipeline__in=subscription.pipelines))
    return runs.order_by("created_at")[:MOST_AT_ONCE]


def _is_late(subscription: Subscription, run: Run, now: datetime) -> bool:
    return subscription.on_late and now - (run.due_at or run.created_at) > timedelta(minutes=subscription.late_minutes)


def _late(subscription: Subscription, run: Run) -> Notice:
    since = "its slot" if run.due_at else "it was asked for"
    why = f"It had not ended {_minutes(subscription.late_minutes)} after {since}."
    facts = {"why": why, "late_minutes": subscription.late_minutes}
    return _notice(subscription, Kind.LATE, f"late:{run.pk}", f"{run.name} is late", run=run, facts=facts)


def _minutes(count: int) -> str:
    if count % 60 == 0:
        return "1 hour" if count == 60 else f"{count // 60} hours"
    return "1 minute" if count == 1 else f"{count} minutes"


def _silences(subscription: Subscription) -> list[Notice]:
    """What has had no successful run for too long, and was not told of since the last one.

    What was chosen by name is watched; where everything is meant, pipelines are: scripts are run as people like.
    """
    hours = subscription.silent_hours or 0
    limit = timezone.now() - timedelta(hours=hours)
    pipelines = Pipeline.objects.filter(owner_id=subscription.owner_id, archived_at=None)
    scripts = Script.objects.filter(owner_id=subscription.owner_id, archived_at=None)
    if subscription.everything:
        scripts = scripts.none()
    else:
        pipelines = pipelines.filter(pk__in=subscription.pipelines)
        scripts = scripts.filter(pk__in=subscription.scripts)
    found = []
    for word, things in (("pipeline", _with_last(pipelines, "pipeline")), ("script", _with_last(scripts, "script"))):
        for thing in things:
            since = thing.last_at or max(thing.created_at, subscription.created_at)
            if since > limit:
                continue
            last = thing.last_at.isoformat() if thing.last_at else None
            facts = {word: thing.pk, "name": thing.name, "last_success_at": last, "silent_hours": hours}
            event = f"silence:{thing.pk}:{thing.last_run or 'never'}"
            spoken = "1 hour" if hours == 1 else f"{hours} hours"
            subject = f"{thing.name} has not run well for {spoken}"
            found.append(_notice(subscription, Kind.DID_NOT_RUN, event, subject, facts=facts))
    told = Notice.objects.filter(subscription=subscription, event__in=[notice.event for notice in found])
    known = set(told.values_list("event", flat=True))
    return [notice for notice in found if notice.event not in known]


def _with_last(things: QuerySet[Any], of: str) -> QuerySet[Any]:
    """Each thing with its last successful run, ``last_run``, and when that ended, ``last_at``."""
    runs = Run.objects.filter(**{of: OuterRef("pk")}, state=State.SUCCEEDED).order_by("-created_at")
    last = {"last_run": Subquery(runs.values("pk")[:1]), "last_at": Subquery(runs.values("finished_at")[:1])}
    found: QuerySet[Any] = things.annotate(**last).order_by("pk")
    return found[:MOST_AT_ONCE]


def _notice(
    subscription: Subscription,
    kind: Kind,
    event: str,
    subject: str,
    *,
    run: Run | None = None,
    facts: dict[str, Any] | None = None,
) -> Notice:
    return Notice(
        subscription=subscription,
        kind=kind,
        event=event,
        run=run,
        facts=facts or {},
        subject=subject[:200],
        give_up_at=timezone.now() + GIVEN_UP_AFTER,
    )


def trial_notice(subscription: Subscription) -> Notice:
    """A notice about nothing, not saved yet. It is tried once."""
    found = _notice(subscription, Kind.TEST, "", "A test of your notifications")
    found.event, found.give_up_at = f"test:{found.pk}", timezone.now()
    return found


def _written(notices: list[Notice]) -> int:
    if notices:
        Notice.objects.bulk_create(notices, ignore_conflicts=True)
        enqueue_on_commit(SEND)
    return len(notices)
