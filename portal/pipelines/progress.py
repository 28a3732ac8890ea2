"""How runs go on when their steps change: what begins next, what is tried again, and when a run has ended.

A step waits until all that it needs has ended well; then it is queued, and `dispatch` hands it out. Everything here
works inside the transaction of the change that caused it, so that nobody sees a run whose next step nobody will start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from agents.orca_agent import protocol
from portal.core.background import enqueue_on_commit
from portal.core.live import publish_on_commit
from portal.core.states import move, moved
from portal.pipelines import dispatch
from portal.pipelines.events import run_ended, runs_settling
from portal.pipelines.inputs import lacking
from portal.pipelines.models import FINAL, OPEN, TRANSITIONS, Pipeline, Run, State, Step
from portal.pipelines.spending import is_spent, spent_end
from portal.workspaces.control import control_changed

# Of the states that a run's steps have ended in, the one that tells most is the run's.
_WORST_FIRST = (State.LOST, State.TIMED_OUT, State.FAILED, State.CANCELLED, State.SUCCEEDED, State.SKIPPED)
_ILL = FINAL - {State.SUCCEEDED, State.SKIPPED}
_NO_HOPE = FINAL - {State.SUCCEEDED}
_TRIED_AGAIN = frozenset({State.FAILED, State.TIMED_OUT, State.LOST})
_LONGEST_BACKOFF = timedelta(hours=1)
_OF_RUN = (
    "name",
    "state",
    "owner_id",
    "workspace_id",
    "pipeline_id",
    "on_failure",
    "held",
    "cancel_requested_at",
    "at_once",
    "cost_limit",
    "cost_of_step",
    "cost_spent",
)
_OF_STEP = ("run_id", "key", "needs", "inputs", "state", "released_at", "retry_at", "workspace_id")


def run_settle(*, run_id: str) -> None:
    """Begin what may begin now, and bring a run to the state that its steps are in."""
    runs_settle(run_ids=[run_id])


@transaction.atomic(savepoint=False)  # costs nothing where there is a transaction, which sweeps do not bring
def runs_settle(*, run_ids: Sequence[str]) -> None:
    """The same for several. A run that something else changes at the same moment is left to that."""
    if not run_ids:
        return
    found_runs = list(Run.objects.filter(pk__in=run_ids).only(*_OF_RUN))
    if bounded := [run.pk for run in found_runs if run.at_once is not None]:
        runs_settling.send(sender=Run, run_ids=bounded)
    runs = [run for run in found_runs if not _goes_on(run)]
    states = _counted([run.pk for run in runs]) if runs else {}
    topics: list[str] = []
    for run in runs:
        if run.pk not in states:
            continue
        found = states[run.pk]
        stops = run.on_failure == Run.OnFailure.STOP and State.QUEUED in found and _ILL & found.keys()
        if (State.WAITING in found or stops) and _advanced(run):
            found = _counted([run.pk])[run.pk]
            topics.append(f"run:{run.pk}")
        if found.keys() & {State.QUEUED, State.WAITING} and is_spent(run) and spent_end(run):
            found = _counted([run.pk])[run.pk]
        if _settled(run, found):
            topics += [f"run:{run.pk}", f"owner:{run.owner_id}"]
            if run.is_final:
                topics.append(f"workspace:{run.workspace_id}")
                run_ended.send(sender=Run, run=run)
                _next_begun(run)
    if topics:
        publish_on_commit(*topics)


def _goes_on(run: Run) -> bool:
    """Whether a job's run is running and stays so: known without counting thousands of shards."""
    if run.at_once is None or run.state != State.RUNNING or run.on_failure == Run.OnFailure.STOP or is_spent(run):
        return False
    steps = Step.objects.filter(run=run)
    at_work = steps.filter(state=State.RUNNING, superseded=False).exists()
    return at_work and not _due(run).exists()


def _due(run: Run) -> QuerySet[Step]:
    """The steps of a run that are to be tried again now."""
    return Step.objects.filter(run=run, state=State.WAITING, retry_at__lte=timezone.now())


def _counted(run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each run and each state that steps of it are in, ``first`` and ``last``."""
    counted = (
        Step.objects.filter(run__in=run_ids, superseded=False)
        .order_by()
        .values("run", "state")
        .annotate(first=Min("started_at"), last=Max("finished_at"))
    )
    states: dict[str, dict[str, Any]] = {}
    for row in counted:
        states.setdefault(row["run"], {})[row["state"]] = row
    return states


def _settled(run: Run, steps: Mapping[str, Any]) -> bool:
    """Whether the run's state has changed."""
    started = min((row["first"] for row in steps.values() if row["first"]), default=None)
    if steps.keys() & OPEN:
        if steps.keys() <= {State.QUEUED, State.WAITING}:
            return moved(run, TRANSITIONS, State.QUEUED, among=[State.RUNNING])
        return moved(run, TRANSITIONS, State.RUNNING, started_at=started)
    finished = max((row["last"] for row in steps.values() if row["last"]), default=timezone.now())
    target = next(state for state in _WORST_FIRST if state in steps)
    return moved(run, TRANSITIONS, target, started_at=started, finished_at=finished)


def _advanced(run: Run) -> bool:
    """Queue the steps whose needs are met, skip those whose needs never will be; whether anything changed."""
    if run.held:
        return False
    if run.at_once is not None and run.on_failure == Run.OnFailure.CONTINUE and run.cancel_requested_at is None:
        return _tried_again(run)
    steps = list(Step.objects.filter(run=run).only(*_OF_STEP).order_by("position"))
    if run.cancel_requested_at or (run.on_failure == Run.OnFailure.STOP and any(step.state in _ILL for step in steps)):
        return _stopped(run, steps)
    ready, hopeless = _decided(steps)
    changed = _skipped(hopeless, "A step that it needs did not end well.")
    for step in list(ready):
        if missing := lacking(step):
            ready.remove(step)
            changed += _failed(step, f"What it needs is not among the outputs: {', '.join(missing)[:1_000]}.")
    if changed:
        return _advanced(run) or True
    if ready:
        waiting = Step.objects.filter(pk__in=[step.pk for step in ready])
        changed += move(waiting, TRANSITIONS, State.QUEUED, among=[State.WAITING], retry_at=None)
        dispatch.release_soon(step.workspace_id for step in ready)
    return changed > 0


def _tried_again(run: Run) -> bool:
    """Queue the shards of a job whose next try is due: they need nothing, and are too many to look at each."""
    if not move(_due(run), TRANSITIONS, State.QUEUED, among=[State.WAITING], retry_at=None):
        return False
    dispatch.release_soon([run.workspace_id])
    return True


def _decided(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """Of the waiting steps those that may begin, and those that never will."""
    now, states = timezone.now(), {step.key: step.state for step in steps}
    waiting = [step for step in steps if step.state == State.WAITING]
    hopeless: list[Step] = []
    while lost := [step for step in waiting if any(states.get(need) in _NO_HOPE for need in step.needs)]:
        hopeless += lost
        states |= {step.key: State.SKIPPED for step in lost}
        waiting = [step for step in waiting if step not in lost]
    ready = [
        step
        for step in waiting
        if (step.retry_at <= now if step.retry_at else all(states.get(need) == State.SUCCEEDED for need in step.needs))
    ]
    return ready, hopeless


def _stopped(run: Run, steps: Sequence[Step]) -> bool:
    """Nothing more begins: what the queue has already is called back."""
    waiting = [step for step in steps if step.state in {State.WAITING, State.QUEUED} and step.released_at is None]
    changed = _skipped(waiting, "Another step failed, and the pipeline stops then.")
    out = [step.pk for step in steps if step.state == State.QUEUED and step.released_at is not None]
    queued = Step.objects.filter(pk__in=out, state=State.QUEUED, cancel_requested_at=None)
    if out and queued.update(cancel_requested_at=timezone.now()):
        control_changed(sorted({step.workspace_id for step in steps if step.pk in out}))
    return changed > 0


def _skipped(steps: Sequence[Step], why: str) -> int:
    if not steps:
        return 0
    rows = Step.objects.filter(pk__in=[step.pk for step in steps], released_at=None)
    now = timezone.now()
    return move(rows, TRANSITIONS, State.SKIPPED, finished_at=now, retry_at=None, reason="skipped", message=why)


def _failed(step: Step, why: str) -> int:
    rows = Step.objects.filter(pk=step.pk)
    return move(
        rows,
        TRANSITIONS,
        State.FAILED,
        among=[State.WAITING],
        finished_at=timezone.now(),
        reason="input_missing",
        message=why,
    )


def _next_begun(run: Run) -> None:
    """The oldest of the runs that wait for this one begins."""
    if run.pipeline_id is None:
        return
    Pipeline.objects.select_for_update().get(pk=run.pipeline_id)  # two that end at once begin one, not two
    rivals = Run.objects.filter(pipeline=run.pipeline_id, state__in=OPEN)
    following = rivals.filter(held=True).order_by("created_at", "id").first()
    if following and not rivals.filter(held=False).exists():
        Run.objects.filter(pk=following.pk).update(held=False)
        runs_settle(run_ids=[following.pk])


def retry_of(step: Step, event: protocol.StepFinished) -> dict[str, Any] | None:
    """What a step becomes that is to be tried again after this end; None where the end is final."""
    retries, tries = step.retries, step.tries
    if event.state not in _TRIED_AGAIN or len(tries) >= retries.get("count", 0) or step.cancel_requested_at:
        return None
    if retries["exit_codes"] and event.exit_code not in retries["exit_codes"]:
        return None
    wait = min(timedelta(seconds=retries["backoff_seconds"] * 2 ** len(tries)), _LONGEST_BACKOFF)
    return {"retry_at": timezone.now() + wait, "released_at": None, "tried": event.attempt}


def retry_when_due(step: Step, at: datetime) -> None:
    """Have a step tried again at that time. A worker does it; should it be killed meanwhile, a sweep."""
    wait = (at - timezone.now()).total_seconds()
    if wait > 0:
        enqueue_on_commit("portal.pipelines.tasks.run_go_on", step.run_id, seconds=wait)


def retries_sweep() -> int:
    """Begin what is due to be tried again; how many runs."""
    due = Step.objects.filter(state=State.WAITING, retry_at__lte=timezone.now())
    runs = list(due.values_list("run", flat=True).distinct()[:500])
    for run_id in runs:
        run_go_on(run_id=run_id)
    return len(runs)


def run_go_on(*, run_id: str) -> None:
    """Settle a run in a transaction of its own."""
    with transaction.atomic():
        run_settle(run_id=run_id)
