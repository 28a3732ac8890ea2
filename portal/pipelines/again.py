"""Running something again: the whole, from where it failed, or one step of it."""

from __future__ import annotations

from django.db import transaction

from portal.accounts.models import User
from portal.core.audit import audit
from portal.core.errors import Conflict
from portal.pipelines.ceilings import room_require
from portal.pipelines.models import Pipeline, Run, State, Step
from portal.pipelines.pipelines import pipeline_run, room_made, run_begin, run_made, workspaces_require
from portal.pipelines.services import run_create

_COPIED = (
    "workspace_id",
    "position",
    "name",
    "key",
    "needs",
    "inputs",
    "secrets",
    "lane",
    "retries",
    "version_id",
    "arguments",
    "environment",
    "limits",
)
_DONE = (
    "attempt",
    "executions",
    "started_at",
    "finished_at",
    "exit_code",
    "outputs",
    "outputs_truncated",
    "instance_id",
)


def run_again(*, run: Run, by: User, via: str = Run.Via.PAGE) -> Run:
    """The same once more: of a pipeline the same version and parameters; of a script the same version and inputs."""
    if run.pipeline is not None:
        given = {"parameters": run.parameters, "version": run.pipeline_version, "due_at": run.due_at}
        return pipeline_run(pipeline=run.pipeline, by=by, via=via, again_of=run, **given)
    if run.at_once is not None:
        raise Conflict("This run is of a job.", code="of_a_job", hint="Submit the job again, or retry it.")
    step = run.steps.select_related("version__script").order_by("position").first()
    if step is None:
        raise Conflict("This run has no steps.", code="nothing_to_run")
    return run_create(
        owner=by,
        workspace=run.workspace,
        version=step.version,
        arguments=step.arguments,
        environment=step.environment,
        limits=step.limits,
        secrets=step.secrets,
        name=run.name,
        via=via,
        again_of=run,
    )


def run_retry(*, run: Run, by: User, via: str = Run.Via.PAGE) -> Run:
    """Run again from where it failed: what had ended well counts as done. Raises ``Conflict``."""
    return _copied(run, by, via, done={step.key for step in run.steps.all() if step.state == State.SUCCEEDED})


def step_again(*, step: Step, by: User, via: str = Run.Via.PAGE) -> Run:
    """Do one step of a pipeline's run again, with what the steps before it had left. Raises ``Conflict``."""
    steps = {each.key: each for each in step.run.steps.all()}
    inputs = {given["step"] for given in step.inputs}
    kept = {step.key, *step.needs, *inputs}
    if any(steps[key].state != State.SUCCEEDED for key in kept - {step.key}):
        raise Conflict("A step that it needs did not end well.", code="needs_missing", hint="Retry the run instead.")
    return _copied(step.run, by, via, done=kept - {step.key}, kept=kept)


def _copied(run: Run, by: User, via: str, *, done: set[str], kept: set[str] | None = None) -> Run:
    """A run like this one, of the ``kept`` steps only, in which the ``done`` ones count as done."""
    pipeline, version = run.pipeline, run.pipeline_version
    if pipeline is None or version is None:
        raise Conflict("This run is of no pipeline.", code="no_pipeline", hint="Run it again as a whole.")
    if not run.is_final:
        raise Conflict("This run has not ended yet.", code="still_running", hint="Stop it first, or wait.")
    if pipeline.archived_at is not None:
        raise Conflict("This pipeline was deleted.", code="pipeline_deleted")
    steps = list(run.steps.select_related("origin").order_by("position"))
    if all(step.key in done for step in steps):
        raise Conflict("All steps have ended well.", code="nothing_failed", hint="Run it again as a whole.")
    workspaces_require(version.definition)
    with transaction.atomic():
        Pipeline.objects.select_for_update().get(pk=pipeline.pk)
        held = room_made(pipeline, by)
        room_require(by, [step.limits for step in steps if step.key not in done])
        given = {"held": held, "via": via, "due_at": run.due_at, "again_of": run}
        made = run_made(pipeline, version, by, run.parameters, **given)
        copies = Step.objects.bulk_create(
            copied(step, made, done=step.key in done) for step in steps if kept is None or step.key in kept
        )
        audit("run.retry", made, by=by, again_of=run.pk, done=len(done))
        run_begin(made, [step for step in copies if not step.is_final])
    return made


def copied(step: Step, run: Run, *, done: bool) -> Step:
    """A step like this one, not saved yet, in another run: waiting, or done there already."""
    made = Step(run=run, state=State.WAITING, **{name: getattr(step, name) for name in _COPIED})
    if done:
        made.state, made.origin = State.SUCCEEDED, step.origin or step
        for name in _DONE:
            setattr(made, name, getattr(step, name))
    return made
