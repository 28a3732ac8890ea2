"""What may be somebody's abuse of Orca, for an operator to look at: signs, no proofs, so nothing happens by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils import timezone

from portal.accounts.models import User
from portal.core.audit import audit
from portal.core.errors import NotFound, OrcaError
from portal.pipelines.attention import MOST_OF_A_KIND, Concern, contribute_concerns
from portal.pipelines.models import Run, State, Step
from portal.pipelines.services import run_cancel
from portal.usage.models import Kind, UsageDay
from portal.workspaces.models import Instance, Workspace
from portal.workspaces.services import workspace_stop

GB = 1024**3
# As much as somebody sends in so many days on average is their habit; so many times that is a spike.
HABIT_DAYS = 28
SPIKE = 5
# The part of all processors that mining takes, and for how long it does before it is noticed.
BUSY = 0.85
BUSY_FOR = timedelta(hours=1)
WITHIN = timedelta(hours=24)


def egress_spikes() -> Iterator[Concern]:
    """People who have sent out far more since yesterday than they used to, and much at that."""
    today = timezone.now().date()
    sent = UsageDay.objects.filter(kind=Kind.EGRESS).order_by()
    floor = settings.EGRESS_ALARM_GB * GB
    lately = sent.filter(day__gte=today - timedelta(days=1)).values("owner").annotate(sum=Sum("quantity"))
    before = sent.filter(day__lt=today - timedelta(days=1), day__gte=today - timedelta(days=HABIT_DAYS + 1))
    for row in lately.filter(sum__gte=floor)[:MOST_OF_A_KIND]:
        habit = (before.filter(owner=row["owner"]).aggregate(sum=Sum("quantity"))["sum"] or 0) / HABIT_DAYS
        if row["sum"] < SPIKE * 2 * habit:  # two days of it
            continue
        owner = User.objects.get(pk=row["owner"])
        yield Concern(
            "egress",
            owner.pk,
            f"{owner} sends out {row['sum'] / GB:,.0f} GB in two days",
            owner.email,
            timezone.now() - timedelta(days=1),
            f"On the {HABIT_DAYS} days before it was {habit / GB:,.2f} GB a day.",
            "Stop their workspaces",
            "accounts_user",
        )


def miners() -> Iterator[Concern]:
    """Steps of trial accounts that keep all processors busy for long, and leave nothing."""
    now = timezone.now()
    of_trials = Step.objects.filter(run__owner__trial=True, started_at__isnull=False)
    # Those that have ended say themselves what they took; of those that run, their instance's load tells.
    least = BUSY * BUSY_FOR.total_seconds()
    ended = of_trials.filter(finished_at__gt=now - WITHIN, cpu_seconds__gte=least, outputs=[])
    running = of_trials.filter(state=State.RUNNING, started_at__lt=now - BUSY_FOR)
    for step in _shown(ended):
        seconds = (step.finished_at - step.started_at).total_seconds() if step.finished_at and step.started_at else 0
        cpus = _cpus(step)
        if seconds >= BUSY_FOR.total_seconds() and (step.cpu_seconds or 0) >= BUSY * seconds * cpus:
            yield _mining(step, f"It kept {cpus} processors busy for {seconds / 3_600:.1f} hours, and left no outputs.")
    for step in _shown(running):
        instance = _instance(step)
        if instance is not None and instance.cpus and instance.load >= BUSY * instance.cpus:
            why = f"The load of its instance is {instance.load:.1f} on {instance.cpus} processors, for over an hour."
            yield _mining(step, why)


def _shown(steps: QuerySet[Step]) -> QuerySet[Step]:
    return steps.select_related("run__owner").order_by("-started_at")[:MOST_OF_A_KIND]


def _instance(step: Step) -> Instance | None:
    return Instance.objects.filter(workspace=step.workspace_id, instance_id=step.instance_id).first()


def _cpus(step: Step) -> int:
    instance = _instance(step)
    return max(1, instance.cpus if instance else 1)


def _mining(step: Step, why: str) -> Concern:
    owner, since = step.run.owner, step.started_at or step.created_at
    what = f"Step {step} of the trial account {owner} may be mining"
    return Concern("mining", step.run_id, what, owner.email, since, why, "Stop it and the workspace", "pipelines_run")


def sign_ups() -> Iterator[Concern]:
    """Addresses from which many have signed up within a day."""
    lately = User.objects.filter(signed_up_from__isnull=False, created_at__gt=timezone.now() - WITHIN)
    rows = lately.order_by().values("signed_up_from").annotate(count=Count("pk"), last=Max("created_at"))
    for row in rows.filter(count__gte=settings.SIGNUP_ALARM).order_by("-count")[:MOST_OF_A_KIND]:
        address = str(row["signed_up_from"])
        yield Concern(
            "sign-ups",
            address,
            f"{row['count']} people signed up from {address} within a day",
            address,
            row["last"],
            "It may be a class, or a company; or one person with many addresses.",
            "Put them on trial",
            "accounts_user",
        )


def _workspaces_stop(owner: User, by: User) -> None:
    """Stop what can be stopped; the operator who pressed the button is named."""
    reason = "Stopped by an operator. Ask them why."
    for workspace in Workspace.objects.filter(owner=owner, state__in=Workspace.ALIVE):
        try:
            workspace_stop(workspace=workspace, by=by, reason=reason)
        except OrcaError:
            continue  # Terraform is at work on it: it stays on the page


def _egress_mend(owner_id: str, by: User) -> None:
    _workspaces_stop(_person(pk=owner_id), by)


def _mining_mend(run_id: str, by: User) -> None:
    run = Run.objects.select_related("owner").filter(pk=run_id).first()
    if run is None:
        raise NotFound("It is no longer there.")
    if not run.is_final:
        run_cancel(run=run, by=by)
    _workspaces_stop(run.owner, by)


def _sign_ups_mend(address: str, by: User) -> None:
    lately = Q(signed_up_from=address, created_at__gt=timezone.now() - WITHIN, is_staff=False, trial=False)
    for user in User.objects.filter(lately):
        User.objects.filter(pk=user.pk).update(trial=True)
        audit("user.trial", user, by=by, signed_up_from=address)


def _person(**which: Any) -> User:
    found = User.objects.filter(**which).first()
    if found is None:
        raise NotFound("They are no longer there.")
    return found


def connect() -> None:
    """Have them on the operators' page; called once, when Django has loaded."""
    contribute_concerns("egress", egress_spikes, _egress_mend)
    contribute_concerns("mining", miners, _mining_mend)
    contribute_concerns("sign-ups", sign_ups, _sign_ups_mend)
