"""What people do with pipelines: write them down, run them, and run them again from where they failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from portal.accounts.models import User
from portal.core.audit import audit
from portal.core.errors import Conflict, Invalid
from portal.core.ids import new_id
from portal.core.live import publish_on_commit
from portal.pipelines.ceilings import room_require
from portal.pipelines.definitions import Definition, Draft, filled
from portal.pipelines.events import pipeline_checked, pipeline_saved, run_accepted
from portal.pipelines.models import OPEN, Pipeline, PipelineVersion, Run, Script, ScriptVersion, State, Step
from portal.pipelines.progress import run_settle
from portal.pipelines.services import inputs_checked, run_cancel, workspace_require
from portal.pipelines.yaml_source import Problem, Unreadable
from portal.workspaces.models import Workspace

MOST_PARAMETER = 10_000


def pipeline_check(*, owner: User, source: str) -> list[Problem]:
    """Everything that is wrong with a pipeline's YAML, in the order of its lines; nothing where it could be saved."""
    try:
        _read(owner, source)
    except Unreadable as error:
        return error.problems
    return []


def pipeline_apply(*, owner: User, source: str) -> tuple[Pipeline, PipelineVersion, bool]:
    """Make the pipeline of that name what the YAML says; whether that was anything new.

    The same text again changes nothing. Raises ``Invalid``, whose ``fields`` name ``line 7, steps.2.needs`` and so on.
    """
    try:
        definition = _read(owner, source)
    except Unreadable as error:
        fields = {_place(problem): problem.message for problem in reversed(error.problems)}
        first = error.problems[0]
        raise Invalid(f"{_place(first).capitalize()}: {first.message}", code="bad_pipeline", fields=fields) from error
    about = {key: definition[key] for key in ("description", "concurrency")} | {
        "workspace_id": definition["workspace_id"]
    }
    try:
        with transaction.atomic():
            pipeline, made = Pipeline.objects.get_or_create(
                owner=owner, claimed_name=definition["name"], defaults={"name": definition["name"], **about}
            )
            Pipeline.objects.select_for_update().get(pk=pipeline.pk)
            newest = pipeline.versions.order_by("-number").first()
            if newest is not None and newest.source == source and newest.definition == definition:
                return pipeline, newest, False
            version = PipelineVersion.objects.create(
                pipeline=pipeline,
                number=(newest.number if newest else 0) + 1,
                source=source,
                definition=definition,
                written_by=owner,
            )
            if not made:
                Pipeline.objects.filter(pk=pipeline.pk).update(**about)
                pipeline.refresh_from_db()
            pipeline_saved.send(sender=Pipeline, pipeline=pipeline, version=version)
            audit("pipeline.apply", pipeline, by=owner, version=version.number)
            publish_on_commit(f"owner:{owner.pk}")
    except IntegrityError as error:
        raise Conflict("Somebody else saved this pipeline at the same moment.", code="saved_at_once") from error
    return pipeline, version, True


def _place(problem: Problem) -> str:
    return f"line {problem.line}, {problem.field}" if problem.field else f"line {problem.line}"


def _read(owner: User, source: str) -> Definition:
    """The definition with ids of scripts and workspaces in it. Raises ``Unreadable``."""
    draft = Draft(source)
    definition = draft.definition
    scripts = _named(Script.objects.filter(owner=owner, archived_at=None))
    alive = Workspace.objects.filter(owner=owner).exclude(state=Workspace.State.DESTROYED)
    workspaces = _named(alive)
    definition["workspace_id"] = _workspace_meant(draft, definition["workspace"], workspaces)
    versions = _versions({scripts.get(step["script"], "") for step in definition["steps"]})
    for index, step in enumerate(definition["steps"]):
        step["script_id"] = scripts.get(step["script"], "")
        step["workspace_id"] = (
            workspaces.get(step["workspace"], "") if step["workspace"] else definition["workspace_id"]
        )
        if not step["script_id"]:
            draft.refuse(("steps", index, "script"), f"You have no script {step['script']}.")
        elif step["version"] and (step["script_id"], step["version"]) not in versions:
            draft.refuse(("steps", index, "version"), f"The script {step['script']} has no version {step['version']}.")
        if step["workspace"] and not step["workspace_id"]:
            draft.refuse(("steps", index, "workspace"), f"You have no workspace {step['workspace']}.")
        try:
            inputs_checked(step["arguments"], {**definition["environment"], **step["environment"]}, step["limits"])
        except Invalid as error:
            for field, message in error.fields.items():
                draft.refuse(("steps", index, field), message)
    pipeline_checked.send(sender=Pipeline, owner=owner, draft=draft)
    draft.require_sound()
    return definition


def _workspace_meant(draft: Draft, said: str, workspaces: Mapping[str, str]) -> str:
    """The id of the workspace that is named; where none is, of the only one. Where there is none, it is refused."""
    if said:
        if said not in workspaces:
            draft.refuse(("workspace",), f"You have no workspace {said}.")
        return workspaces.get(said, "")
    ids = set(workspaces.values())
    if len(ids) == 1:
        return ids.pop()
    names = ", ".join(sorted(name for name, pk in workspaces.items() if name != pk))
    draft.refuse(("workspace",), f"Say which workspace: {names}." if ids else "You have no workspace yet.")
    return ""


def _named(rows: Any) -> dict[str, str]:
    """Ids by names and by themselves."""
    found = list(rows.values_list("pk", "name"))
    return {name: pk for pk, name in found} | {pk: pk for pk, _ in found}


def _versions(script_ids: Iterable[str]) -> dict[tuple[str, int], ScriptVersion]:
    rows = ScriptVersion.objects.filter(script__in=list(script_ids)).select_related("script")
    return {(row.script_id, row.number): row for row in rows}


def pipeline_archive(*, pipeline: Pipeline, by: User) -> None:
    """Take a pipeline out of sight; its runs stay, and its name is free again. Raises ``Conflict`` while it runs."""
    with transaction.atomic():
        Pipeline.objects.select_for_update().get(pk=pipeline.pk)
        if pipeline.runs.filter(state__in=OPEN).exists():
            raise Conflict(
                f"{pipeline.name} is running.", code="pipeline_running", hint="Stop its runs first, or wait for them."
            )
        if Pipeline.objects.filter(pk=pipeline.pk, archived_at=None).update(
            archived_at=timezone.now(), claimed_name=None
        ):
            audit("pipeline.archive", pipeline, by=by)


def pipeline_run(
    *,
    pipeline: Pipeline,
    by: User,
    parameters: Mapping[str, str] | None = None,
    via: str = Run.Via.PAGE,
    due_at: datetime | None = None,
    version: PipelineVersion | None = None,
    again_of: Run | None = None,
) -> Run:
    """Accept a run of the newest version, or of ``version``. Raises ``Invalid``, ``Conflict``.

    The code of a conflict is ``pipeline_busy`` where an earlier run is open and the pipeline forbids another.
    """
    version = version or pipeline.versions.order_by("-number").first()
    if version is None or pipeline.archived_at is not None:
        raise Conflict("This pipeline was deleted.", code="pipeline_deleted")
    definition = version.definition
    given = _parameters(definition, parameters or {})
    with transaction.atomic():
        Pipeline.objects.select_for_update().get(pk=pipeline.pk)
        held = room_made(pipeline, by)
        room_require(by, [step["limits"] for step in definition["steps"]])
        run = run_made(pipeline, version, by, given, held=held, via=via, due_at=due_at, again_of=again_of)
        steps = Step.objects.bulk_create(_steps(run, pipeline, definition))
        audit("run.create", run, by=by, pipeline=pipeline.pk, version=version.number, via=str(via))
        run_begin(run, steps)
    return run


def run_begin(run: Run, steps: Sequence[Step]) -> None:
    """Begin what may begin, in the transaction that made the run. Raises ``LimitReached``."""
    run_accepted.send(sender=Run, run=run, steps=steps)
    run_settle(run_id=run.pk)
    publish_on_commit(f"owner:{run.owner_id}", f"workspace:{run.workspace_id}")
    run.refresh_from_db(fields=["state"])


def _parameters(definition: Definition, given: Mapping[str, str]) -> dict[str, str]:
    known = definition["parameters"]
    fields = {name: "There is no such parameter." for name in given if name not in known}
    fields |= {name: "Too long." for name, value in given.items() if len(value) > MOST_PARAMETER}
    values = {name: given.get(name, parameter["default"]) for name, parameter in known.items()}
    fields |= {name: "This parameter has no default and must be given." for name, v in values.items() if v is None}
    if fields:
        raise Invalid("The parameters do not fit.", fields=fields)
    return values


def room_made(pipeline: Pipeline, by: User) -> bool:
    """What the pipeline's concurrency asks for; whether the new run has to wait for another to end."""
    rivals = list(Run.objects.filter(pipeline=pipeline, state__in=OPEN))
    if not rivals or pipeline.concurrency == Pipeline.Concurrency.ALLOW:
        return False
    if pipeline.concurrency == Pipeline.Concurrency.FORBID:
        hint = "Wait for it, stop it, or let the pipeline queue its runs."
        raise Conflict(f"{pipeline.name} is still running.", code="pipeline_busy", hint=hint)
    if pipeline.concurrency == Pipeline.Concurrency.REPLACE:
        for rival in rivals:
            run_cancel(run=rival, by=by)
        return Run.objects.filter(pipeline=pipeline, state__in=OPEN).exists()
    return True


def run_made(pipeline: Pipeline, version: PipelineVersion, by: User, parameters: Mapping[str, str], **more: Any) -> Run:
    """A run without steps."""
    definition = version.definition
    mine = {"owner": by} if by.pk == pipeline.owner_id else {"owner_id": pipeline.owner_id}
    return Run.objects.create(
        **mine,
        workspace_id=definition["workspace_id"],
        pipeline=pipeline,
        pipeline_version=version,
        parameters=dict(parameters),
        on_failure=definition["on_failure"],
        name=pipeline.name,
        requested_by=by,
        **more,
    )


def _steps(run: Run, pipeline: Pipeline, definition: Definition) -> list[Step]:
    """All steps of a run, waiting."""
    values = {("parameters", name): value for name, value in run.parameters.items()}
    values |= {
        ("run", "id"): run.pk,
        ("run", "due_at"): run.due_at.isoformat() if run.due_at else "",
        ("pipeline", "name"): pipeline.name,
    }
    versions = _versions_now(definition)
    workspaces_require(definition)
    lanes = _lanes(definition, pipeline, run)
    steps = []
    for position, step in enumerate(definition["steps"], 1):
        texts = {**definition["environment"], **step["environment"]}
        checked = inputs_checked(
            [filled(text, values) for text in step["arguments"]],
            {name: filled(text, values) for name, text in texts.items()},
            step["limits"],
        )
        steps.append(
            Step(
                run=run,
                workspace_id=step["workspace_id"],
                position=position,
                name=step["name"],
                key=step["name"],
                state=State.WAITING,
                version=versions[step["script_id"], step["version"]],
                lane=lanes[step["name"]],
                **{name: step[name] for name in ("needs", "inputs", "secrets", "retries")},
                **checked,
            )
        )
    return steps


def _versions_now(definition: Definition) -> dict[tuple[str, int | None], ScriptVersion]:
    """The version of each step's script; under ``None`` the newest. Raises ``Conflict`` for a deleted script."""
    wanted = {step["script_id"]: step["script"] for step in definition["steps"]}
    alive = set(Script.objects.filter(pk__in=wanted, archived_at=None).values_list("pk", flat=True))
    if gone := [name for pk, name in wanted.items() if pk not in alive]:
        raise Conflict(f"The script {gone[0]} was deleted.", code="script_deleted", hint="Upload it, and save again.")
    newest = dict(
        ScriptVersion.objects.filter(script__in=alive).order_by().values_list("script").annotate(Max("number"))
    )
    found = _versions(alive)
    return {
        (step["script_id"], step["version"]): found[step["script_id"], step["version"] or newest[step["script_id"]]]
        for step in definition["steps"]
    }


def workspaces_require(definition: Definition) -> None:
    """Raises ``Conflict`` where a workspace takes no runs."""
    wanted = {step["workspace_id"] for step in definition["steps"]}
    for workspace in Workspace.objects.filter(pk__in=wanted):
        workspace_require(workspace)


def _lanes(definition: Definition, pipeline: Pipeline, run: Run) -> dict[str, str]:
    """The FIFO group of each step's message: a step shares that of the first that it needs, so that a sequence is one.

    Runs of a pipeline that may not overlap share their groups, too.
    """
    lanes: dict[str, str] = {}
    passed_on: set[str] = set()
    base = run.pk if pipeline.concurrency == Pipeline.Concurrency.ALLOW else pipeline.pk
    for step in definition["steps"]:
        free = next((need for need in step["needs"] if need in lanes and need not in passed_on), None)
        if free is not None:
            passed_on.add(free)
            lanes[step["name"]] = lanes[free]
        else:
            lanes[step["name"]] = base if not lanes else new_id()
    return lanes
