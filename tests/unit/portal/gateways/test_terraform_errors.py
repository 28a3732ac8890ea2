"""What Terraform and AWS say, as real runs said it, and what people are told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from portal.gateways.terraform_errors import (
    Diagnostic,
    TerraformLocked,
    diagnostics_from,
    error_from,
    moment_from,
)


def _error(summary: str, detail: str = "", address: str | None = None) -> Diagnostic:
    return Diagnostic("error", summary, detail, address)


@pytest.mark.parametrize(
    ("said", "code", "fault"),
    [
        ("No valid credential sources found: failed to refresh cached credentials", "no_credentials", "operator"),
        ("no EC2 IMDS role found, operation error ec2imds: dial tcp 169.254.169.254", "no_credentials", "operator"),
        ("Post http://127.0.0.1:1/: dial tcp 127.0.0.1:1: connect: connection refused", "unreachable", "cloud"),
        ("Get https://sts.eu-x.amazonaws.com: lookup sts.eu-x.amazonaws.com: no such host", "unreachable", "cloud"),
        ('Could not connect to the endpoint URL: "http://127.0.0.1:9/orca-state"', "unreachable", "cloud"),
        ("Unable to locate credentials", "no_credentials", "operator"),
        ("Cannot assume IAM Role. operation error STS: AssumeRole, StatusCode: 403", "role_refused", "account"),
        ("Cannot assume IAM Role: dial tcp: i/o timeout", "unreachable", "cloud"),
        ("api error InvalidClientTokenId: The security token is invalid", "bad_credentials", "operator"),
        (
            "api error ExpiredToken: The security token included in the request is expired",
            "bad_credentials",
            "operator",
        ),
        ("api error UnauthorizedOperation: You are not authorized", "denied", "account"),
        ("api error VcpuLimitExceeded: You have requested more vCPU capacity", "quota", "account"),
        ("api error InsufficientInstanceCapacity: We currently do not have", "no_capacity", "cloud"),
        ("api error InvalidInstanceType: The instance type 'x9.huge' does not exist", "instance_type", "person"),
        ("api error VPCIdNotSpecified: No default VPC for this user", "no_default_vpc", "account"),
        ("api error RequestLimitExceeded: Request limit exceeded.", "busy", "cloud"),
        ("api error BucketNotEmpty: The bucket you tried to delete is not empty", "bucket_not_empty", "person"),
        ("EntityAlreadyExists: Role with name orca-0-user already exists.", "exists", "operator"),
        ("Saved plan is stale: The given plan file can no longer be applied", "plan_stale", "orca"),
        ("Failed to query available provider packages", "no_provider", "operator"),
        ("Failed to save state: dial tcp 10.0.0.1:443: connection refused", "state_unsaved", "cloud"),
        ("write /data/x: no space left on device", "no_room", "operator"),
    ],
)
def test_common_failures_are_told_apart(said: str, code: str, fault: str) -> None:
    error = error_from("apply", [_error("creating something", said)])
    assert (error.code, error.fault) == (f"terraform_{code}", fault)
    assert error.hint
    assert said in error.detail


def test_the_denied_action_is_named() -> None:
    said = "User: arn:aws:sts::1:assumed-role/a/b is not authorized to perform: s3:CreateBucket on resource: x"
    assert "s3:CreateBucket" in error_from("apply", [_error("creating S3 Bucket", said)]).message


def test_a_wrong_setting_is_explained() -> None:
    detail = "The volume has 8 to 16384 GiB.\n\nThis was checked by the validation rule at variables.tf:84,3-13."
    error = error_from("plan", [_error("Invalid value for variable", detail)])
    assert error.code == "terraform_variable"
    assert error.message == "A setting of the workspace is not acceptable: The volume has 8 to 16384 GiB."


def test_the_lock_names_its_holder() -> None:
    detail = (
        "Error message: operation error S3: PutObject, https response error StatusCode: 412\n"
        "Lock Info:\n  ID:        dea28fc4-9d7c\n  Path:      orca-state-1/workspaces/x/workspace.tfstate\n"
        "  Operation: OperationTypeApply\n  Who:       root@worker-1\n  Version:   1.11.4\n"
        "  Created:   2026-11-21 11:19:46.034797123 +0000 UTC\n  Info:      \n"
    )
    error = error_from("plan", [_error("Error acquiring the state lock", detail)])
    assert isinstance(error, TerraformLocked)
    assert error.holder is not None
    assert (error.holder.lock_id, error.holder.who, error.holder.operation) == (
        "dea28fc4-9d7c",
        "root@worker-1",
        "Apply",
    )
    assert error.holder.created == datetime(2026, 11, 21, 11, 19, 46, 34797, tzinfo=UTC)
    assert "root@worker-1" in error.message


def test_an_unknown_failure_keeps_its_summary_and_address() -> None:
    error = error_from("apply", [_error("Provider produced odd result.", "long story", "module.a.aws_x.y")])
    assert error.code == "terraform_failed"
    assert error.message == "Terraform's apply failed: Provider produced odd result (module.a.aws_x.y)."


def test_warnings_are_no_errors() -> None:
    error = error_from("apply", [Diagnostic("warning", "AccessDenied somewhere", ""), _error("Odd")])
    assert error.code == "terraform_failed"


def test_plain_text_is_read_too() -> None:
    text = (
        "\x1b[31m╷\x1b[0m\n│ \x1b[31mError: \x1b[0mSaved plan is stale\n│ \n"
        "│ The given plan file can no longer be applied.\n╵\n"
    )
    assert diagnostics_from(text) == [_error("Saved plan is stale", "The given plan file can no longer be applied.")]
    assert error_from("apply", [], text).code == "terraform_plan_stale"


def test_nothing_said_is_still_an_error() -> None:
    assert error_from("apply", []).message == "Terraform's apply failed: it gave no reason."


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-11-21T11:19:46.034797123Z", 34797),
        ("2026-11-21 11:19:46.5 +0000 UTC", 500000),
        ("2026-11-21T11:19:46Z", 0),
    ],
)
def test_moments_as_go_prints_them(text: str, microsecond: int) -> None:
    assert moment_from(text) == datetime(2026, 11, 21, 11, 19, 46, microsecond, tzinfo=UTC)


def test_no_moment() -> None:
    assert moment_from("yesterday") is None
