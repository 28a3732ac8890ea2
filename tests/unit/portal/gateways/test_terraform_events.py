"""Terraform's JSON lines, as Terraform 1.11 writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from portal.gateways.terraform_events import PlanResult, ResourceChange, event_from, line_parse, plan_from


def _line(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "@level": "info",
        "@message": "something",
        "@timestamp": "2026-11-21T10:33:18.902998Z",
        "type": kind,
        **more,
    }


def _hook(action: str, **more: Any) -> dict[str, Any]:
    return {"resource": {"addr": "module.a.aws_x.y", "resource_type": "aws_x"}, "action": action, **more}


def _change(address: str, action: str) -> dict[str, Any]:
    resource = {"addr": address, "resource_type": address.split(".")[-2]}
    return _line("planned_change", change={"resource": resource, "action": action})


def test_a_resource_is_made() -> None:
    event = event_from(_line("apply_complete", hook=_hook("create", elapsed_seconds=10)))
    assert (event.kind, event.address, event.elapsed_seconds) == ("apply_complete", "module.a.aws_x.y", 10.0)
    assert event.at == datetime(2026, 11, 21, 10, 33, 18, 902998, tzinfo=UTC)


def test_looking_up_is_no_apply() -> None:
    event = event_from(_line("apply_complete", hook=_hook("read")))
    assert (event.kind, event.level) == ("read_complete", "debug")


def test_an_error_brings_its_detail_and_address() -> None:
    found = {"severity": "error", "summary": "s", "detail": " why \n", "address": "aws_x.y"}
    event = event_from(_line("diagnostic", diagnostic=found))
    assert (event.message, event.address) == ("something\nwhy", "aws_x.y")


def test_a_moment_that_cannot_be_read_is_now() -> None:
    before = datetime.now(UTC)
    assert event_from({**_line("log"), "@timestamp": "?"}).at >= before


def test_what_is_not_json_is_told_apart() -> None:
    assert line_parse("Successfully configured the backend!") is None
    assert line_parse('{"half": ') is None
    assert line_parse('{"not": "an event"}') is None
    assert line_parse('{"@message": "hello"}') == {"@message": "hello"}


def test_a_plan_is_counted_as_terraform_counts() -> None:
    actions = ["create", "update", "delete", "replace", "read", "noop"]
    plan = plan_from([_line("version"), *(_change(f"aws_x.{action}", action) for action in actions)])
    assert (plan.add, plan.change, plan.destroy) == (2, 1, 2)
    assert plan.changes[-1] == ResourceChange("aws_x.noop", "aws_x", "no-op")
    assert plan.has_changes


def test_looking_up_is_no_change() -> None:
    assert not plan_from([_change("data.aws_x.y", "read"), _change("aws_x.z", "noop")]).has_changes
    assert not PlanResult(()).has_changes
