"""What an operator should look at after an incident, and the one thing that mends each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from django.conf import settings
from django.db.models import Model, OuterRef, Subquery
from django.utils import timezone

from portal.accounts.models import User
from portal.core.errors import CloudFault, NotFound
from portal.gateways import aws_queue
from portal.pipelines import again, dispatch, sweeps
from portal.pipelines.models import OPEN, Outbox, Run, State, Step
from portal.workspaces import instances, terraform_runs
from portal.workspaces.models import Instance, TerraformRun, Workspace
from portal.workspaces.services import workspace_apply

Row = TypeVar("Row", bound=Model)
MOST_OF_A_KIND = 50
UNSENT_FOR = timedelta(seconds=60)
LOST_WITHIN = timedelta(hours=24)
MOST_HEARD_AGAIN = 1_000
_contributed: list[Callable[[], Iterator[Concern]]] = []


@dataclass(frozen=True)
class Concern:
    """Something that needs attention: what, whose, since when, why, and the word on the button that mends it.

    ``model`` names its rows in the admin; ``id`` is "" where it has no row of its own.
    """

    kind: str
    id: str
    what: str
    whose: str
    since: datetime
    why: str
    mend: str
    model: str


def concerns() -> list[Concern]:
    """Everything that needs attention now, the oldest first; at most ``MOST_OF_A_KIND`` of a kind."""
    found = [*_terraform(), *_workspaces(), *_instances(), *_steps(), *_outbox(), *_events(), *_lost()]
    found += [concern for source in _contributed for concern in source()]
    return sorted(found, key=lambda concern: concern.since)


def contribute_concerns(kind: str, source: Callable[[], Iterator[Concern]], mend: Callable[[str, User], None]) -> None:
    """Let another app name concerns of a kind of its own, and say what mends one."""
    _contributed.append(source)
    _MENDERS[kind] = mend


def concern_mend(*, kind: str, concern_id: str, by: User) -> None:
    """Press the button of a concern. Raises ``NotFound`` for one that there is not, and what its service raises."""
    mender = _MENDERS.get(kind)
    if mender is None:
        raise NotFound("There is no such concern.")
    mender(concern_id, by)


def _terraform() -> Iterator[Concern]:
    silent = timezone.now() - timedelta(seconds=settings.TERRAFORM_SILENCE)
    runs = TerraformRun.objects.filter(state__in=TerraformRun.WORKING, heartbeat_at__lt=silent)
    for run in runs.select_related("workspace__owner")[:MOST_OF_A_KIND]:
        why = f"Its worker {run.worker} has been silent. A sweep takes it over by itself."
        yield Concern(
            "terraform",
            run.pk,
            f"Terraform: {run}",
            run.workspace.owner.email,
            run.heartbeat_at or run.created_at,
            why,
            "Take over now",
            "workspaces_terraformrun",
        )


def _workspaces() -> Iterator[Concern]:
    wrong = Workspace.objects.filter(state__in=[Workspace.State.FAILED, Workspace.State.DEGRADED], active_run=None)
    for workspace in wrong.select_related("owner")[:MOST_OF_A_KIND]:
        yield Concern(
            "workspace",
            workspace.pk,
            f"Workspace {workspace} is {workspace.state}",
            workspace.owner.email,
            workspace.state_changed_at,
            workspace.state_reason or "No reason was given.",
            "Apply again",
            "workspaces_workspace",
        )


def _instances() -> Iterator[Concern]:
    wrong = Instance.objects.filter(state=Instance.State.UNREACHABLE).select_related("workspace__owner")
    for instance in wrong[:MOST_OF_A_KIND]:
        yield Concern(
            "instance",
            instance.pk,
            f"Instance {instance} of {instance.workspace}",
            instance.workspace.owner.email,
            instance.heartbeat_at or instance.created_at,
            "It runs, as EC2 says, but its agent does not report.",
            "Look again",
            "workspaces_instance",
        )


def _steps() -> Iterator[Concern]:
    forgotten = timezone.now() - sweeps.FORGOTTEN
    quiet = Step.objects.filter(
        state__in=OPEN, seen_at__lt=forgotten, released_at__isnull=False, workspace__state__in=Workspace.ALIVE
    )
    for step in quiet.select_related("run__owner")[:MOST_OF_A_KIND]:
        yield Concern(
            "step",
            step.pk,
            f"Step {step} ({step.state}, attempt {step.attempt})",
            step.run.owner.email,
            step.seen_at or step.created_at,
            "No instance has spoken of it for long.",
            "Hand out again",
            "pipelines_step",
        )


def _outbox() -> Iterator[Concern]:
    late = timezone.now() - UNSENT_FOR
    unsent = Outbox.objects.filter(sent_at=None, created_at__lt=late, workspace__state__in=Workspace.ALIVE)
    for row in unsent.select_related("step__run__owner")[:MOST_OF_A_KIND]:
        yield Concern(
            "outbox",
            row.pk,
            f"Task of {row.step} is not sent",
            row.step.run.owner.email,
            row.created_at,
            row.error or f"Tried {row.tries} times.",
            "Send now",
            "pipelines_outbox",
        )


def _events() -> Iterator[Concern]:
    """What instances have told, and nobody could apply."""
    now, model = timezone.now(), "pipelines_seenevent"
    try:
        aside = aws_queue.events_set_aside()
    except CloudFault as error:
        yield Concern("events", "", "Events that were set aside", "Orca", now, error.message, "Look again", model)
        return
    if aside:
        why = "They could not be applied, however often it was tried: the relay's log says why."
        yield Concern(
            "events",
            "",
            f"{aside} message{'s' if aside > 1 else ''} of instances set aside",
            "Orca",
            now,
            why,
            "Hear again",
            model,
        )


def _lost() -> Iterator[Concern]:
    since = timezone.now() - LOST_WITHIN
    repeated = Run.objects.filter(again_of__isnull=False, created_at__gte=since).values("again_of")
    runs = Run.objects.filter(state=State.LOST, finished_at__gte=since).exclude(pk__in=repeated)
    lost = Step.objects.filter(run=OuterRef("pk"), state=State.LOST).order_by("position")
    shown = runs.select_related("owner").annotate(message=Subquery(lost.values("message")[:1]))
    for run in shown[:MOST_OF_A_KIND]:
        yield Concern(
            "run",
            run.pk,
            f"Run {run} was lost",
            run.owner.email,
            run.finished_at or run.created_at,
            run.message or "",
            "Run again",
            "pipelines_run",
        )


def _terraform_mend(run_id: str, by: User) -> None:
    terraform_runs.terraform_run_take_back(run=_get(TerraformRun, run_id))


def _workspace_mend(workspace_id: str, by: User) -> None:
    workspace_apply(workspace=_get(Workspace, workspace_id), by=by)


def _instance_mend(instance_id: str, by: User) -> None:
    instances.workspace_power(workspace_id=_get(Instance, instance_id).workspace_id)


def _step_mend(step_id: str, by: User) -> None:
    step = _get(Step, step_id)
    dispatch.step_return(step=step)
    dispatch.steps_release(workspace=step.workspace)


def _outbox_mend(outbox_id: str, by: User) -> None:
    dispatch.outbox_send(outbox_ids=[outbox_id])


def _events_mend(_: str, by: User) -> None:
    aws_queue.events_return(MOST_HEARD_AGAIN)


def _run_mend(run_id: str, by: User) -> None:
    run = _get(Run, run_id)
    again.run_again(run=run, by=run.owner)


def _get(model: type[Row], pk: str) -> Row:
    found = model._default_manager.filter(pk=pk).first()
    if found is None:
        raise NotFound("It is no longer there.")
    return found


_MENDERS: dict[str, Callable[[str, User], None]] = {
    "terraform": _terraform_mend,
    "workspace": _workspace_mend,
    "instance": _instance_mend,
    "step": _step_mend,
    "outbox": _outbox_mend,
    "events": _events_mend,
    "run": _run_mend,
}
