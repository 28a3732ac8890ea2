"""What somebody submits as a job, checked: against the published schema first, then for what no schema can say.

A definition is plain JSON, with every default in it::

    {"name", "arguments": [text], "environment": {name: text}, "secrets": [name],
     "data": {…} or None, "input_job": id or None, "nodes",
     "shards": {"by", "number": n or None, "most_items": n or None, "most_mb": n or None},
     "container": {"image" or "dockerfile", "network"} or None, "limits": {name: number},
     "retries": {"count", "backoff_seconds", "exit_codes"}, "budget": text or None, "keep_days"}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from jsonschema import Draft202012Validator, ValidationError

from portal.accounts.models import User
from portal.accounts.quotas import Quota, quota_of
from portal.core.errors import Invalid, NotFound
from portal.core.money import nano_of
from portal.jobs import finding
from portal.jobs.models import Job
from portal.pipelines.ceilings import seconds_require
from portal.pipelines.definitions import KINDS
from portal.pipelines.models import Script, ScriptVersion
from portal.pipelines.services import inputs_checked, secrets_require, workspace_require
from portal.workspaces.models import Workspace
from portal.workspaces.selectors import containers_require

Definition = dict[str, Any]
_RETRIES: Final = {"count": 1, "backoff_seconds": 5.0, "exit_codes": []}
_SHARDS: Final = {"by": "count", "number": None, "most_items": None, "most_mb": None}
_SAID = {
    "minLength": "This must not be empty.",
    "minItems": "This must not be empty.",
    "maxLength": "This has more than {} characters.",
    "maxItems": "These are more than {}.",
    "maxProperties": "These are more than {}.",
    "minimum": "This must be {} at least.",
    "maximum": "This must be {} at most.",
    "exclusiveMinimum": "This must be more than {}.",
    "uniqueItems": "Something is there twice.",
    "pattern": "This is not written as it has to be.",
    "anyOf": "This is not written as it has to be.",
}


@dataclass(frozen=True)
class Submission:
    """A submission that can be accepted."""

    definition: Definition
    workspace: Workspace
    version: ScriptVersion
    input_job: Job | None


@cache
def schema() -> Mapping[str, Any]:
    """The JSON Schema of a submission, with that of its data in it."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "job.schema.json").read_text())
    if described := finding.schema():
        found["properties"]["data"] = {**described, "description": found["properties"]["data"]["description"]}
    return found


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads((Path(__file__).parent / "job.schema.json").read_text()))


def submission_check(*, owner: User, submission: Mapping[str, Any]) -> Submission:
    """The submission with all defaults. Raises ``Invalid`` that names every wrong field, ``Conflict``."""
    fields = dict(_wrong(submission))
    if "nodes" in fields:
        fields["nodes"] = _nodes_said(quota_of(owner))
    if fields:
        raise _refused(fields)
    definition = _normal(submission)
    workspace = _workspace(owner, submission.get("workspace", ""), fields)
    version = _version(owner, submission, fields)
    input_job = _input_job(owner, definition["input_job"], fields)
    quota = quota_of(owner)
    if not 1 <= definition["nodes"] <= quota.nodes:
        fields["nodes"] = _nodes_said(quota)
    _data_check(definition, fields)
    _container_check(definition["container"], version, fields)
    _inputs_check(definition, workspace, quota, fields)
    if fields or workspace is None or version is None:
        raise _refused(fields)
    workspace_require(workspace)
    if definition["container"]:
        containers_require(workspace)
    return Submission(definition, workspace, version, input_job)


def _refused(fields: Mapping[str, str]) -> Invalid:
    first = next(iter(fields))
    return Invalid(f"The job cannot be accepted: {first or 'it'}: {fields[first]}", code="bad_job", fields=fields)


def _wrong(submission: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for error in sorted(_validator().iter_errors(submission), key=lambda error: [str(part) for part in error.path]):
        yield from _told(error)


def _told(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Where the schema is not met, in words."""
    place = [str(part) for part in error.absolute_path]
    wanted: Any = error.validator_value
    found: Any = error.instance
    if error.validator == "additionalProperties" and isinstance(error.schema, Mapping):
        for name in found:
            if name not in error.schema.get("properties", {}):
                yield ".".join([*place, str(name)[:100]]), "There is no such field."
    elif error.validator == "required":
        for name in wanted:
            if name not in found:
                yield ".".join([*place, name]), "This is missing."
    elif error.validator == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        yield ".".join(place), f"This must be {'a single value' if len(kinds) > 1 else KINDS[kinds[0]]}."
    elif place == ["budget"]:
        yield "budget", "Dollars and cents, more than nothing: 1.50."
    else:
        yield ".".join(place), _SAID.get(str(error.validator), "This cannot be accepted.").format(wanted)


def _normal(given: Mapping[str, Any]) -> Definition:
    container = given.get("container")
    return {
        "name": " ".join(given["name"].split()),
        "arguments": [_text(value) for value in given.get("arguments", [])],
        "environment": {name: _text(value) for name, value in given.get("environment", {}).items()},
        "secrets": list(given.get("secrets", [])),
        "data": given.get("data"),
        "input_job": given.get("input_job"),
        "nodes": int(given.get("nodes", 1)),
        "shards": {**_SHARDS, **given.get("shards", {})},
        "container": (None if container is None else {**container, "network": container.get("network", False)}),
        "limits": dict(given.get("limits", {})),
        "retries": {**_RETRIES, **given.get("retries", {})},
        "budget": _text(given["budget"]) if "budget" in given else None,
        "keep_days": int(given.get("keep_days", 30)),
    }


def _text(value: Any) -> str:
    """As YAML has it: ``true``, not ``True``."""
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _workspace(owner: User, said: str, fields: dict[str, str]) -> Workspace | None:
    alive = Workspace.objects.filter(owner=owner).exclude(state=Workspace.State.DESTROYED)
    found = list(alive.select_related("cloud_account").order_by("-created_at"))
    if not said and len(found) == 1:
        return found[0]
    for workspace in found:
        if said in {workspace.pk, workspace.name}:
            return workspace
    names = ", ".join(workspace.name for workspace in found)
    none = f"Say which workspace: {names}." if names else "You have no workspace yet."
    fields["workspace"] = f"You have no workspace {said[:100]}." if said else none
    return None


def _version(owner: User, given: Mapping[str, Any], fields: dict[str, str]) -> ScriptVersion | None:
    said, number = given["script"], given.get("version")
    scripts = Script.objects.filter(owner=owner, archived_at=None)
    script = scripts.filter(pk=said).first() or scripts.filter(claimed_name=said).first()
    if script is None:
        fields["script"] = f"You have no script {said[:100]}."
        return None
    versions = script.versions.select_related("script").order_by("-number")
    version = (versions.filter(number=number) if number else versions).first()
    if version is None:
        fields["version"] = f"The script {script.name} has no version {number}." if number else "It has no version."
    return version


def _input_job(owner: User, job_id: str | None, fields: dict[str, str]) -> Job | None:
    if job_id is None:
        return None
    found = Job.objects.filter(owner=owner, pk=job_id).select_related("run").first()
    if found is None:
        fields["input_job"] = f"You have no job {job_id[:100]}."
    elif not found.index_key or found.outputs_deleted_at:
        fields["input_job"] = (
            "The outputs of this job were deleted." if found.outputs_deleted_at else "This job has no outputs yet."
        )
    return found


def _nodes_said(quota: Quota) -> str:
    return f"From 1 to {quota.nodes}: that is your quota."


def _data_check(definition: Definition, fields: dict[str, str]) -> None:
    data = definition["data"]
    if (data is None) == (definition["input_job"] is None):
        fields["data"] = "Say either data or input_job." if data is None else "Say data or input_job, not both."
    elif data is not None:
        try:
            definition["data"] = finding.data_checked(data)
        except Invalid as error:
            fields.update(error.fields or {"data": error.message})
    shards = definition["shards"]
    if shards["by"] not in {"count", "size"} and shards["most_mb"] is not None:
        fields["shards.most_mb"] = "Only where items are split by count or by size."
    if shards["number"] is not None and shards["number"] > settings.MAX_SHARDS:
        fields["shards.number"] = f"{settings.MAX_SHARDS} at most."
    if definition["budget"] is not None and not 0 < Decimal(definition["budget"]) < 10_000_000:
        fields["budget"] = "Dollars and cents, more than nothing: 1.50."


def _container_check(
    container: Mapping[str, Any] | None, version: ScriptVersion | None, fields: dict[str, str]
) -> None:
    if container is None:
        return
    if bool(container.get("image")) == bool(container.get("dockerfile")):
        fields["container"] = "Say either image or dockerfile."
    elif version and container.get("dockerfile") and container["dockerfile"] not in {f["path"] for f in version.files}:
        fields["container.dockerfile"] = f"{version} has no file {container['dockerfile'][:200]}."


def _inputs_check(definition: Definition, workspace: Workspace | None, quota: Quota, fields: dict[str, str]) -> None:
    if not definition["name"].isprintable() or not definition["name"]:
        fields["name"] = "1 to 80 characters"
    try:
        definition |= inputs_checked(definition["arguments"], definition["environment"], definition["limits"])
        seconds_require(quota, [definition["limits"]])
        if workspace is not None:
            secrets_require(workspace, definition["secrets"])
    except (Invalid, NotFound) as error:
        fields.update(error.fields)


def budget_of(definition: Definition) -> int | None:
    """The budget in nano-dollars."""
    return None if definition["budget"] is None else nano_of(definition["budget"])
