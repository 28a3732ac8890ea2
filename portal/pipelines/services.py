"""What people do with scripts and runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from agents.orca_agent import protocol
from portal.accounts.models import User
from portal.clouds.services import account_handle
from portal.core.audit import audit
from portal.core.errors import Conflict, Invalid, NotFound
from portal.core.live import publish_on_commit
from portal.core.states import move, moved
from portal.gateways import aws_storage
from portal.pipelines import dispatch
from portal.pipelines.bundles import Upload, bundled
from portal.pipelines.ceilings import room_require
from portal.pipelines.events import run_accepted, run_ended
from portal.pipelines.models import OPEN, TRANSITIONS, Run, Script, ScriptVersion, State, Step
from portal.pipelines.progress import run_settle
from portal.pipelines.selectors import log_lines, pipelines_using
from portal.workspaces.control import control_changed
from portal.workspaces.models import Workspace
from portal.workspaces.secrets import secrets_missing

MOST_ARGUMENTS = 200
MOST_CHARACTERS = 10_000
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
LIMITS: Mapping[str, tuple[int, int, int]] = {  # default, least, most
    "seconds": (3_600, 1, 7 * 86_400),
    "memory_mb": (1_024, 32, 1_000_000),
    "processes": (256, 1, 10_000),
    "output_mb": (1_024, 1, 1_000_000),
    "log_mb": (10, 1, 100),
}


def script_create(
    *, owner: User, name: str, uploads: Sequence[Upload], description: str = "", entrypoint: str = ""
) -> ScriptVersion:
    """A new script with its first version. Raises ``Invalid`` or ``Conflict`` (name taken)."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise Invalid("The script needs a name.", fields={"name": "1 to 80 characters"})
    if len(description) > 500:
        raise Invalid("The description is too long.", fields={"description": "at most 500 characters"})
    with bundled(uploads, entrypoint=entrypoint, most_bytes=_most_bytes()) as bundle:
        aws_storage.bundle_put(bundle.sha256, bundle.content)
        try:
            with transaction.atomic():
                script = Script.objects.create(
                    owner=owner, name=name, claimed_name=name, description=description.strip()
                )
        except IntegrityError as error:
            raise Conflict(
                f"You already have a script called {name}.",
                code="name_taken",
                hint="Give it another name, or upload a new version of that script.",
                fields={"name": "already taken"},
            ) from error
        return _version_add(script, bundle, owner)


def script_version_add(*, script: Script, by: User, uploads: Sequence[Upload], entrypoint: str = "") -> ScriptVersion:
    """Another version of a script. The same files again give the version that is already there."""
    with bundled(uploads, entrypoint=entrypoint, most_bytes=_most_bytes()) as bundle:
        aws_storage.bundle_put(bundle.sha256, bundle.content)
        return _version_add(script, bundle, by)


def _most_bytes() -> int:
    return int(settings.UPLOAD_LIMIT_MB) * 1_000_000


def _version_add(script: Script, bundle: Any, by: User) -> ScriptVersion:
    with transaction.atomic():
        Script.objects.select_for_update().get(pk=script.pk)
        newest = script.versions.order_by("-number").first()
        if newest and (newest.sha256, newest.entrypoint) == (bundle.sha256, bundle.entrypoint):
            return newest
        last = script.versions.aggregate(last=Max("number"))["last"] or 0
        made = ScriptVersion.objects.create(
            script=script,
            number=last + 1,
            sha256=bundle.sha256,
            size=bundle.size,
            files=bundle.files,
            entrypoint=bundle.entrypoint,
            runtime=bundle.runtime,
            requirements=bundle.requirements,
            uploaded_by=by,
        )
        audit("script.upload", made, by=by, files=len(bundle.files), sha256=bundle.sha256)
        return made


def script_archive(*, script: Script, by: User) -> None:
    """Take a script out of sight; its runs stay, and its name is free again. Raises ``Conflict`` for one in use."""
    if users := pipelines_using(script):
        raise Conflict(
            f"{script.name} is a step of the pipeline {users[0]}.",
            code="script_in_use",
            hint="Delete the pipeline first, or save it without this script.",
        )
    shown = Script.objects.filter(pk=script.pk, archived_at=None)
    if shown.update(archived_at=timezone.now(), claimed_name=None):
        audit("script.archive", script, by=by)


def run_create(
    *,
    owner: User,
    workspace: Workspace,
    version: ScriptVersion,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    limits: Mapping[str, int] | None = None,
    secrets: Sequence[str] = (),
    name: str = "",
    via: str = Run.Via.PAGE,
    again_of: Run | None = None,
) -> Run:
    """Accept a run. From here on it ends in a final state, whatever dies. Raises ``Invalid``, ``Conflict``.

    ``secrets`` are names; the workspace must have them.
    """
    checked = inputs_checked(arguments, environment or {}, limits or {})
    workspace_require(workspace)
    secrets_require(workspace, secrets)
    title = " ".join(name.split())[:120] or version.script.name
    with transaction.atomic():
        room_require(owner, [checked["limits"]])
        run = Run.objects.create(
            owner=owner,
            workspace=workspace,
            script_id=version.script_id,
            name=title,
            via=via,
            requested_by=owner,
            again_of=again_of,
        )
        named = list(dict.fromkeys(secrets))
        step = Step(run=run, workspace=workspace, name=title, version=version, secrets=named, **checked)
        step.save(force_insert=True)
        run_accepted.send(sender=Run, run=run, steps=[step])
        audit("run.create", run, by=owner, workspace=workspace.pk, version=version.pk, via=str(via))
        dispatch.steps_release(workspace=workspace)
        publish_on_commit(f"owner:{owner.pk}", f"workspace:{workspace.pk}")
    return run


def workspace_require(workspace: Workspace) -> None:
    """Raises ``Conflict`` where a workspace takes no runs."""
    if workspace.state not in Workspace.TAKES_RUNS:
        raise Conflict(
            f"The workspace {workspace.name} is {workspace.state} and takes no runs.",
            code="workspace_not_usable",
            hint="Apply it again, or choose another workspace.",
        )


def secrets_require(workspace: Workspace, names: Sequence[str]) -> None:
    """Raises ``Invalid`` where a workspace lacks secrets of these names, or they are more than a step may have."""
    if len(names) > protocol.MAX_SECRETS:
        raise Invalid("These are too many secrets.", fields={"secrets": f"at most {protocol.MAX_SECRETS}"})
    if names and (missing := secrets_missing(workspace=workspace, names=names)):
        raise Invalid(
            f"The workspace {workspace.name} has no secret {', '.join(name[:100] for name in missing)}.",
            code="secret_missing",
            hint="Add it on the workspace's page.",
            fields={"secrets": "not in this workspace"},
        )


def inputs_checked(
    arguments: Sequence[str], environment: Mapping[str, str], limits: Mapping[str, int]
) -> dict[str, Any]:
    """Arguments, environment and limits as a step keeps them, with all limits. Raises ``Invalid``."""
    fields = {}
    if len(arguments) > MOST_ARGUMENTS or any(len(a) > MOST_CHARACTERS or "\0" in a for a in arguments):
        fields["arguments"] = f"At most {MOST_ARGUMENTS} arguments of {MOST_CHARACTERS} characters."
    for key, value in environment.items():
        if not _VARIABLE.fullmatch(key):
            fields["environment"] = f"“{key[:40]}” is no name for a variable: letters, digits and _ only."
        elif key.startswith(("ORCA_", "AWS_", "LD_")):
            fields["environment"] = f"{key[:40]}: names that begin with ORCA_, AWS_ or LD_ are set by Orca."
        elif len(value) > MOST_CHARACTERS or "\0" in value:
            fields["environment"] = f"{key[:40]}: at most {MOST_CHARACTERS} characters."
    if len(environment) > 100:
        fields["environment"] = "At most 100 variables."
    size = sum(len(a.encode()) for a in arguments) + sum(len(k) + len(v.encode()) for k, v in environment.items())
    if size > 100_000:
        fields["arguments"] = "Arguments and environment together are larger than 100 kB."
    chosen = {key: default for key, (default, _, _) in LIMITS.items()}
    for key, limit in limits.items():
        if key not in LIMITS:
            fields["limits"] = f"There is no limit called {key[:40]}."
        elif not LIMITS[key][1] <= limit <= LIMITS[key][2]:
            fields["limits"] = f"{key} must be from {LIMITS[key][1]} to {LIMITS[key][2]}."
        else:
            chosen[key] = limit
    if fields:
        raise Invalid("The run cannot be started like this.", fields=fields)
    return {"arguments": list(arguments), "environment": dict(environment), "limits": chosen}


def run_cancel(*, run: Run, by: User | None = None, reason: str = "cancelled", message: str = "") -> None:
    """Stop a run: what has not begun never does, what runs is told to end and then killed. Raises ``Conflict``.

    ``reason`` and ``message`` are those of what has not begun.
    """
    now = timezone.now()
    with transaction.atomic():
        asked = Run.objects.filter(pk=run.pk, state__in=OPEN, cancel_requested_at=None)
        if not asked.update(cancel_requested_at=now):
            run.refresh_from_db(fields=["state", "cancel_requested_at"])
            if run.is_final:
                raise Conflict(f"This run has already ended: {run.get_state_display().lower()}.", code="already_ended")
            return
        audit("run.cancel", run, by=by, reason=reason)
        waiting = Step.objects.filter(run=run, state__in=OPEN, released_at=None)
        move(
            waiting,
            TRANSITIONS,
            State.CANCELLED,
            finished_at=now,
            retry_at=None,
            reason=reason,
            message=message or "Cancelled before it began.",
        )
        asked_steps = Step.objects.filter(run=run, state__in=OPEN)
        if asked_steps.update(cancel_requested_at=now):
            control_changed(sorted(set(asked_steps.values_list("workspace", flat=True))))
        run_settle(run_id=run.pk)
        if not run.steps.exists() and moved(run, TRANSITIONS, State.CANCELLED, finished_at=now):
            run_ended.send(sender=Run, run=run)  # a job that is still looking for its data
        publish_on_commit(f"run:{run.pk}", f"owner:{run.owner_id}")
    run.refresh_from_db()


def log_link(*, step: Step) -> str:
    """A link to the whole log in the bucket, where a small log is put when it is first asked for.

    Raises ``NotFound`` while the step has not ended, ``CloudFault``.
    """
    if not step.is_final:
        raise NotFound("The whole log is there as soon as the step has ended.")
    account = account_handle(step.workspace.cloud_account)
    if not step.log_key:
        lines = list(log_lines(step, most=step.log_lines + 1))
        if len(lines) < step.log_lines:
            raise NotFound("The last lines of the log are still on their way.", hint="Ask again in a moment.")
        text = "".join(f"{_stamp(line.at)} {line.stream} {line.text}\n" for line in lines)
        key = step.object_key("log.txt")
        aws_storage.put_bytes(account, step.workspace.bucket, key, text.encode(), "text/plain; charset=utf-8")
        Step.objects.filter(pk=step.pk, log_key="").update(log_key=key)
        step.log_key = key
    return aws_storage.link(account, step.workspace.bucket, step.log_key, filename=f"{step.name}-log.txt")


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
