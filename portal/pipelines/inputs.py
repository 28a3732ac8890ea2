"""What a step is given of what earlier ones have left (docs/decisions/014-inputs-of-steps.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from agents.orca_agent import protocol
from portal.clouds.services import account_handle
from portal.gateways import aws_storage
from portal.pipelines.models import Step

_MOST_LINKED = 10_000
# As long as a session of a role lasts: the step is handed out now, but others may be before it.
_LINKED_SECONDS = 3_600


def inputs_of(step: Step, attempt: int) -> tuple[protocol.Input, ...]:
    """The inputs that a step's task names; links into other workspaces are made now. Raises ``CloudFault``."""
    givers = _givers(step)
    return tuple(
        _input(step, attempt, givers[given["step"]], tuple(given["files"]))
        for given in step.inputs
        if given["step"] in givers
    )


def lacking(step: Step) -> list[str]:
    """The outputs that a step demands of earlier ones, and that are not there (``fetch/a.csv``)."""
    if not any(given["files"] for given in step.inputs):
        return []
    givers = _givers(step)
    return [
        f"{given['step']}/{file}"
        for given in step.inputs
        for file in given["files"]
        if given["step"] not in givers or not _left(givers[given["step"]], file)
    ]


def _givers(step: Step) -> Mapping[str, Step]:
    keys = [given["step"] for given in step.inputs]
    found = Step.objects.filter(run=step.run_id, key__in=keys) if keys else ()
    return {giver.key: giver for giver in found}


def _left(giver: Step, file: str) -> bool:
    return giver.outputs_truncated or any(output["path"] == file for output in giver.outputs)


def _input(step: Step, attempt: int, giver: Step, files: tuple[str, ...]) -> protocol.Input:
    if not giver.outputs_truncated:
        files = ()  # what must be there is: see ``lacking``; of a longer list only the agent sees all
    if not giver.outputs and not giver.outputs_truncated:
        return protocol.Input(giver.key)
    if giver.workspace_id == step.workspace_id:
        return protocol.Input(giver.key, prefix=giver.object_key("output/"), files=files)
    manifest = f"control/inputs/{step.run_id}/{step.pk}/{attempt}/{giver.key}.json"
    body = json.dumps({"files": list(_links(giver))}).encode()
    account = account_handle(step.workspace.cloud_account)
    aws_storage.put_bytes(account, step.workspace.bucket, manifest, body, "application/json")
    return protocol.Input(giver.key, manifest=manifest, files=files)


def _links(giver: Step) -> Iterator[dict[str, Any]]:
    account, bucket = account_handle(giver.workspace.cloud_account), giver.workspace.bucket
    prefix = giver.object_key("output/")
    for found in aws_storage.objects(account, bucket, prefix, most=_MOST_LINKED):
        url = aws_storage.link(account, bucket, found.key, seconds=_LINKED_SECONDS)
        yield {"path": found.key.removeprefix(prefix), "size": found.size, "url": url}
