"""What a schedule starts: checked when it is written, looked for again when it is due, and started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from portal.accounts.models import User
from portal.core.errors import Conflict, Invalid
from portal.pipelines.models import Pipeline, Run, Script, ScriptVersion
from portal.pipelines.pipelines import pipeline_run
from portal.pipelines.selectors import pipeline_get, script_get, version_get
from portal.pipelines.services import inputs_checked, run_create
from portal.schedules.models import Schedule
from portal.workspaces.models import Workspace
from portal.workspaces.secrets import secrets_of
from portal.workspaces.selectors import workspace_get
from portal.workspaces.services import workspace_start, workspace_stop

Action = Schedule.Action
_GONE = (Workspace.State.DESTROYING, Workspace.State.DESTROYED)
_OFF = (Workspace.State.STOPPING, Workspace.State.STOPPED)
_ON = (Workspace.State.READY, Workspace.State.DEGRADED)


@dataclass(frozen=True)
class Target:
    """What to start, as it was said: ids of what is the owner's."""

    action: str
    pipeline: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    workspace: str = ""
    script: str = ""
    version: int | None = None
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    secrets: Sequence[str] = ()

    def checked(self, owner: User) -> dict[str, Any]:
        """The fields of a schedule, those that the action has no use for empty. Raises ``Invalid``, ``NotFound``,
        ``Conflict`` where something is gone."""
        found: dict[str, Any] = {
            "action": self.action,
            "pipeline": None,
            "parameters": {},
            "workspace": None,
            "script": None,
            "version": None,
            "arguments": [],
            "environment": {},
            "limits": {},
            "secrets": [],
        }
        if self.action == Action.PIPELINE:
            found["pipeline"] = pipeline_get(owner=owner, pipeline_id=self._named("pipeline"))
            found["parameters"] = dict(self.parameters)
        elif self.action in Action.values:
            found["workspace"] = workspace_get(owner=owner, workspace_id=self._named("workspace"))
        else:
            raise Invalid("There is no such action.", fields={"action": "One of: " + ", ".join(Action.values) + "."})
        if self.action == Action.SCRIPT:
            found["script"] = script_get(owner=owner, script_id=self._named("script"))
            found["version"] = self.version
            found |= self._script_inputs(found["workspace"])
        unsaved = Schedule(owner=owner, **found)
        if why := gone(unsaved):
            raise Conflict(why, code="target_gone", hint="Choose another one.")
        if unsaved.pipeline is not None:
            _parameters_check(unsaved.pipeline, self.parameters)
        if unsaved.script is not None:
            version_get(script=unsaved.script, number=self.version)
        return found

    def _named(self, name: str) -> str:
        given: str = getattr(self, name)
        if not given:
            raise Invalid("Say what is to be started.", fields={name: f"Choose a {name}."})
        return given

    def _script_inputs(self, workspace: Workspace) -> dict[str, Any]:
        inputs_checked(self.arguments, self.environment, self.limits)
        known = set(secrets_of(workspace).values_list("name", flat=True))
        if missing := [name for name in self.secrets if name not in known]:
            raise Invalid(
                "The run cannot be started like this.",
                fields={"secrets": f"{workspace.name} has no secret {missing[0][:100]}."},
            )
        return {
            "arguments": list(self.arguments),
            "environment": dict(self.environment),
            "limits": dict(self.limits),
            "secrets": list(dict.fromkeys(self.secrets)),
        }


def _parameters_check(pipeline: Pipeline, given: Mapping[str, str]) -> None:
    """What would be refused at every slot is refused now. Raises ``Invalid``."""
    version = pipeline.versions.order_by("-number").first()
    known = version.definition["parameters"] if version else {}
    fields = {name: "There is no such parameter." for name in given if name not in known}
    needed = [name for name, parameter in known.items() if parameter["default"] is None and name not in given]
    fields |= dict.fromkeys(needed, "This parameter has no default and must be given.")
    if fields:
        said = " ".join(f"{name}: {text}" for name, text in fields.items())
        raise Invalid("The parameters do not fit.", fields={"parameters": said[:500]})


def target_of(schedule: Schedule) -> Target:
    """What a schedule has."""
    return Target(
        action=schedule.action,
        pipeline=schedule.pipeline_id or "",
        parameters=schedule.parameters,
        workspace=schedule.workspace_id or "",
        script=schedule.script_id or "",
        version=schedule.version,
        arguments=schedule.arguments,
        environment=schedule.environment,
        limits=schedule.limits,
        secrets=schedule.secrets,
    )


def gone(schedule: Schedule) -> str:
    """Why what it starts is there no more; empty while it is."""
    if not schedule.owner.is_active:
        return "Its owner's account is closed."
    if schedule.pipeline is not None and schedule.pipeline.archived_at is not None:
        return f"The pipeline {schedule.pipeline.name} was deleted."
    if schedule.script is not None and schedule.script.archived_at is not None:
        return f"The script {schedule.script.name} was archived."
    if schedule.workspace is not None and schedule.workspace.state in _GONE:
        return f"The workspace {schedule.workspace.name} was destroyed."
    return ""


@dataclass(frozen=True)
class Started:
    """What came of starting: a run, or a word about why there was nothing to do."""

    run: Run | None = None
    why: str = ""


class Newest:
    """The versions of scripts, each looked up once: for many schedules of the same moment."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int | None], ScriptVersion] = {}

    def of(self, script: Script, number: int | None) -> ScriptVersion:
        """That version, or the newest. Raises ``NotFound``."""
        key = (script.pk, number)
        if key not in self._found:
            self._found[key] = version_get(script=script, number=number)
        return self._found[key]


def start(schedule: Schedule, *, due_at: datetime, newest: Newest) -> Started:
    """Start it, as its owner. Raises whatever the service of the thing raises."""
    if schedule.pipeline is not None:
        return Started(_pipeline_start(schedule, schedule.pipeline, due_at))
    workspace = schedule.workspace
    if workspace is None:
        raise Conflict("What this schedule starts is there no more.", code="target_gone")
    if schedule.script is not None:
        return Started(
            run_create(
                owner=schedule.owner,
                workspace=workspace,
                version=newest.of(schedule.script, schedule.version),
                arguments=schedule.arguments,
                environment=schedule.environment,
                limits=schedule.limits,
                secrets=schedule.secrets,
                name=schedule.script.name,
                via=Run.Via.SCHEDULE,
            )
        )
    return _power(schedule, workspace)


def _pipeline_start(schedule: Schedule, pipeline: Pipeline, due_at: datetime) -> Run:
    return pipeline_run(
        pipeline=pipeline,
        by=schedule.owner,
        parameters=schedule.parameters,
        via=Run.Via.SCHEDULE,
        due_at=due_at,
    )


def _power(schedule: Schedule, workspace: Workspace) -> Started:
    workspace.refresh_from_db(fields=["state", "stop_requested_at"])
    if schedule.action == Action.STOP:
        if workspace.state in _OFF:
            return Started(why="It was stopped already.")
        workspace_stop(workspace=workspace, by=schedule.owner)
    else:
        if workspace.state in _ON and workspace.stop_requested_at is None:
            return Started(why="It was running already.")
        workspace_start(workspace=workspace, by=schedule.owner)
    return Started()
