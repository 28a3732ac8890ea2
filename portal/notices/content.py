"""What a notice says: the JSON that webhooks carry, and that mails are written from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from portal.notices.models import Kind, Notice
from portal.pipelines.models import FINAL, Run, State, Step
from portal.pipelines.selectors import log_lines

TYPES = {
    Kind.SUCCESS: "run.succeeded",
    Kind.FAILURE: "run.failed",
    Kind.LATE: "run.late",
    Kind.DID_NOT_RUN: "run.did_not_run",
    Kind.BUDGET: "budget.running_out",
    Kind.EXPIRY: "run.outputs_expire",
    Kind.TEST: "test",
}
LOG_LINES = 20
MOST_STEPS = 5
MOST_CHARACTERS = 500
_ILL = FINAL - {State.SUCCEEDED, State.SKIPPED, State.CANCELLED}


def body_of(notice: Notice) -> dict[str, Any]:
    """``type``, ``timestamp`` and ``data``, as Standard Webhooks has it; what is in ``data`` goes by the type."""
    subscription, facts = notice.subscription, dict(notice.facts)
    shown: dict[str, Any] = {
        "text": f"{notice.subject}.",
        "notification": {
            "id": subscription.pk,
            "name": subscription.name,
            "url": _address("notification", subscription.pk),
        },
    }
    if notice.run is not None:
        shown["run"] = _run(notice.run)
        if notice.kind in {Kind.FAILURE, Kind.LATE}:
            shown["steps"] = [_step(step) for step in _wrong(notice.run, notice.kind)]
    for word in ("pipeline", "script", "schedule"):
        if word in facts:
            shown[word] = {"id": facts.pop(word), "name": facts.pop("name")}
    shown |= facts
    return {"type": TYPES[Kind(notice.kind)], "timestamp": _instant(notice.created_at), "data": shown}


def log_is_whole(notice: Notice) -> bool:
    """Whether all lines are there that the notice would show: they may travel slower than the news of the end."""
    if notice.kind != Kind.FAILURE or notice.run is None:
        return True
    return all(_last_line(step) >= step.log_lines for step in _wrong(notice.run, notice.kind))


def _last_line(step: Step) -> int:
    chunk = step.log_chunks.filter(execution=step.executions).order_by("-first").first()
    return chunk.first + chunk.count - 1 if chunk else 0


def _wrong(run: Run, kind: str) -> list[Step]:
    """The steps to blame: those that ended ill, or those that run still."""
    states = _ILL if kind == Kind.FAILURE else {State.RUNNING}
    return list(run.steps.filter(state__in=states).order_by("position")[:MOST_STEPS])


def _run(run: Run) -> dict[str, Any]:
    return {
        "id": run.pk,
        "name": run.name,
        "state": run.state,
        "url": _address("run", run.pk),
        "via": run.via,
        "workspace": {"id": run.workspace_id, "name": run.workspace.name},
        "script": {"id": run.script.pk, "name": run.script.name} if run.script else None,
        "pipeline": {"id": run.pipeline.pk, "name": run.pipeline.name} if run.pipeline else None,
        "created_at": _instant(run.created_at),
        "due_at": _instant(run.due_at),
        "started_at": _instant(run.started_at),
        "finished_at": _instant(run.finished_at),
        "seconds": run.seconds if run.is_final else None,
    }


def _step(step: Step) -> dict[str, Any]:
    """A step with the end of its log, which was masked on the instance."""
    lines = log_lines(step, after=max(0, step.log_lines - LOG_LINES), most=LOG_LINES)
    return {
        "id": step.pk,
        "name": step.name,
        "state": step.state,
        "exit_code": step.exit_code,
        "reason": step.reason,
        "message": step.message[: 4 * MOST_CHARACTERS],
        "log": [line.text[:MOST_CHARACTERS] for line in lines],
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def _address(page: str, pk: str) -> str:
    return f"{settings.PUBLIC_URL}{reverse(page, args=[pk])}"
