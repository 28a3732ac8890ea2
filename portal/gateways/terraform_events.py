"""What Terraform says while it works: its JSON lines as typed events, and the changes of a plan.

The format is described in Terraform's "Machine-Readable UI" page (``-json``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from portal.gateways.terraform_errors import Diagnostic


@dataclass(frozen=True)
class TerraformEvent:
    """One line of Terraform's own report.

    ``kind`` is Terraform's ``type`` (``apply_start``, ``apply_progress``, ``apply_complete``, ``apply_errored``,
    ``planned_change``, ``resource_drift``, ``change_summary``, ``diagnostic``, ``log`` ...), except that looking
    something up, which Terraform reports as an apply too, is ``read_start`` and ``read_complete``, at level ``debug``.
    """

    at: datetime
    level: str
    kind: str
    message: str
    address: str | None
    elapsed_seconds: float | None


@dataclass(frozen=True)
class ResourceChange:
    """What a plan does to one resource. ``action`` is one of create, update, delete, replace, read, no-op, or
    Terraform's own word for what is none of these (move, import, forget)."""

    address: str
    type: str
    action: str


@dataclass(frozen=True)
class PlanResult:
    """What a plan would do."""

    changes: tuple[ResourceChange, ...]

    @property
    def add(self) -> int:
        return self._count("create", "replace")

    @property
    def change(self) -> int:
        return self._count("update")

    @property
    def destroy(self) -> int:
        return self._count("delete", "replace")

    @property
    def has_changes(self) -> bool:
        return any(change.action not in {"no-op", "read"} for change in self.changes)

    def _count(self, *actions: str) -> int:
        return sum(change.action in actions for change in self.changes)


def line_parse(line: str) -> dict[str, Any] | None:
    """The JSON object of a line, or None for the plain text that some commands mix in."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "@message" in found else None


def event_from(line: Mapping[str, Any]) -> TerraformEvent:
    hook = line.get("hook") or {}
    change = line.get("change") or {}
    kind = str(line.get("type", "log"))
    level = str(line.get("@level", "info"))
    if hook.get("action") == "read" and kind.startswith("apply_"):
        kind, level = kind.replace("apply_", "read_", 1), "debug"
    elif kind.startswith("refresh_"):
        level = "debug"
    resource = hook.get("resource") or change.get("resource") or {}
    address = resource.get("addr") or (line.get("diagnostic") or {}).get("address")
    elapsed = hook.get("elapsed_seconds")
    return TerraformEvent(
        at=_moment(str(line.get("@timestamp", ""))),
        level=level,
        kind=kind,
        message=_message(line),
        address=address,
        elapsed_seconds=float(elapsed) if elapsed is not None else None,
    )


def _message(line: Mapping[str, Any]) -> str:
    message = str(line["@message"])
    detail = str((line.get("diagnostic") or {}).get("detail", "")).strip()
    return f"{message}\n{detail}" if detail else message


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def diagnostic_from(line: Mapping[str, Any]) -> Diagnostic | None:
    found = line.get("diagnostic")
    if not isinstance(found, dict):
        return None
    return Diagnostic(
        severity=str(found.get("severity", "error")),
        summary=str(found.get("summary", "")),
        detail=str(found.get("detail", "")),
        address=found.get("address"),
    )


def plan_from(lines: Iterable[Mapping[str, Any]]) -> PlanResult:
    """The plan that ``planned_change`` lines describe, in the order in which Terraform names the resources."""
    found = []
    for line in lines:
        change = line.get("change")
        if line.get("type") != "planned_change" or not isinstance(change, dict):
            continue
        resource = change.get("resource") or {}
        found.append(
            ResourceChange(
                address=str(resource.get("addr", "")),
                type=str(resource.get("resource_type", "")),
                action="no-op" if change.get("action") == "noop" else str(change.get("action", "")),
            )
        )
    return PlanResult(tuple(found))
