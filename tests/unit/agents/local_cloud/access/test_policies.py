"""Policies mean what the IAM reference says, statement by statement and condition by condition."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.local_cloud.access.callers import ANONYMOUS, Caller
from agents.local_cloud.access.conditions import holds
from agents.local_cloud.access.policies import Effect, Request, evaluate, evaluate_resource_policy

USER = Caller(
    account_id="100000000001", kind="user", name="ann", arn="arn:aws:iam::100000000001:user/ann", unique_id="AIDA1"
)


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(action: Any = "s3:*", resource: Any = "*", effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def effect(request: Request, *statements: dict[str, Any]) -> Effect:
    return evaluate([document(*statements)], request)


GET = Request("s3:GetObject", "arn:aws:s3:::bucket/a/b.txt", {"aws:username": ["ann"]})


@pytest.mark.parametrize(
    ("action", "resource", "expected"),
    [
        ("s3:GetObject", "*", Effect.ALLOW),
        ("S3:getobject", "*", Effect.ALLOW),
        ("s3:Get*", "arn:aws:s3:::bucket/*", Effect.ALLOW),
        ("s3:Get?bject", "arn:aws:s3:::bucket/a/b.txt", Effect.ALLOW),
        ("*", ["arn:aws:s3:::other/*", "arn:aws:s3:::bucket/a/*"], Effect.ALLOW),
        ("s3:GetObject", "arn:aws:s3:::bucket", Effect.NOTHING),
        ("s3:GetObject", "arn:aws:s3:::BUCKET/*", Effect.NOTHING),
        ("s3:GetObjectAcl", "*", Effect.NOTHING),
        ("s3:GetObject", "arn:aws:s3:::bucket/a.b.txt", Effect.NOTHING),
        ("s3:*", "arn:aws:s3:::bucket/${aws:username}/*", Effect.NOTHING),
        ("s3:*", "arn:aws:s3:::bucket/${aws:nobody}/*", Effect.NOTHING),
    ],
)
def test_an_action_and_a_resource_both_have_to_fit(action: str, resource: Any, expected: Effect) -> None:
    assert effect(GET, statement(action, resource)) is expected


def test_a_variable_stands_for_the_caller_s_own() -> None:
    mine = Request("s3:GetObject", "arn:aws:s3:::bucket/ann/x", {"aws:username": ["ann"]})
    yours = Request("s3:GetObject", "arn:aws:s3:::bucket/bob/x", {"aws:username": ["ann"]})
    own = statement(resource="arn:aws:s3:::bucket/${aws:username}/*")
    assert (effect(mine, own), effect(yours, own)) == (Effect.ALLOW, Effect.NOTHING)


def test_one_deny_outweighs_every_allow_wherever_it_stands() -> None:
    deny = statement("s3:GetObject", "arn:aws:s3:::bucket/a/*", "Deny")
    for order in ([deny, statement()], [statement(), deny]):
        assert effect(GET, *order) is Effect.DENY
    assert evaluate([document(statement()), document(deny)], GET) is Effect.DENY


def test_not_action_and_not_resource_mean_everything_else() -> None:
    but_deleting = {"Effect": "Allow", "NotAction": "s3:Delete*", "Resource": "*"}
    assert effect(GET, but_deleting) is Effect.ALLOW
    assert effect(Request("s3:DeleteObject", GET.resource), but_deleting) is Effect.NOTHING
    but_one = {"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:s3:::bucket/*"}
    assert effect(GET, statement(), but_one) is Effect.ALLOW
    assert effect(Request("s3:GetObject", "arn:aws:s3:::other/x"), statement(), but_one) is Effect.DENY


@pytest.mark.parametrize("broken", ["", "no json", "[]", "{}", '{"Statement": []}'])
def test_a_document_that_is_none_allows_nothing(broken: str) -> None:
    assert evaluate([broken], GET) is Effect.NOTHING


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("*", Effect.ALLOW),
        ({"AWS": "*"}, Effect.ALLOW),
        ({"AWS": USER.arn}, Effect.ALLOW),
        ({"AWS": ["arn:aws:iam::100000000001:user/bob", USER.arn]}, Effect.ALLOW),
        ({"AWS": "arn:aws:iam::100000000001:root"}, Effect.DELEGATE),
        ({"AWS": "100000000001"}, Effect.DELEGATE),
        ({"AWS": "arn:aws:iam::200000000002:root"}, Effect.NOTHING),
        ({"AWS": USER.arn + "x"}, Effect.NOTHING),
        ({"Service": "ec2.amazonaws.com"}, Effect.NOTHING),
        (None, Effect.NOTHING),
    ],
)
def test_a_resource_policy_speaks_to_its_principals(principal: object, expected: Effect) -> None:
    policy = document(statement(Principal=principal))
    assert evaluate_resource_policy(policy, GET, USER) is expected


def test_a_deny_for_an_account_holds_for_everyone_in_it_and_one_for_all_for_strangers() -> None:
    root = {"AWS": "arn:aws:iam::100000000001:root"}
    assert evaluate_resource_policy(document(statement(effect="Deny", Principal=root)), GET, USER) is Effect.DENY
    public = document(statement(Principal="*"))
    assert evaluate_resource_policy(public, GET, ANONYMOUS) is Effect.ALLOW
    assert evaluate_resource_policy(document(statement(Principal=root)), GET, ANONYMOUS) is Effect.NOTHING


CONTEXT = {
    "aws:sourceip": ["192.0.2.17"],
    "aws:securetransport": ["true"],
    "sts:externalid": ["right"],
    "s3:prefix": ["home/ann/x"],
    "aws:tagkeys": ["a", "b"],
    "aws:currenttime": ["2026-11-21T10:00:00Z"],
    "s3:max-keys": ["50"],
    "aws:principalarn": ["arn:aws:iam::100000000001:role/orca-1"],
}


@pytest.mark.parametrize(
    ("operator", "key", "value", "expected"),
    [
        ("StringEquals", "sts:ExternalId", "right", True),
        ("StringEquals", "STS:externalid", ["wrong", "right"], True),
        ("StringEquals", "sts:ExternalId", "Right", False),
        ("StringEqualsIgnoreCase", "sts:ExternalId", "RIGHT", True),
        ("StringEquals", "missing", "x", False),
        ("StringEqualsIfExists", "missing", "x", True),
        ("StringNotEquals", "sts:ExternalId", "wrong", True),
        ("StringNotEquals", "sts:ExternalId", ["wrong", "right"], False),
        ("StringNotEquals", "missing", "x", True),
        ("StringLike", "s3:prefix", "home/ann/*", True),
        ("StringLike", "s3:prefix", "home/bob/*", False),
        ("StringNotLike", "s3:prefix", "home/bob/*", True),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/orca-*", True),
        ("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::*:role/other-*", False),
        ("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::*:role/orca-*", False),
        ("Bool", "aws:SecureTransport", True, True),
        ("Bool", "aws:SecureTransport", "false", False),
        ("IpAddress", "aws:SourceIp", "192.0.2.0/24", True),
        ("NotIpAddress", "aws:SourceIp", ["192.0.2.0/24", "198.51.100.1"], False),
        ("NumericLessThanEquals", "s3:max-keys", 50, True),
        ("NumericLessThan", "s3:max-keys", "50", False),
        ("NumericGreaterThan", "s3:max-keys", "not a number", False),
        ("DateGreaterThan", "aws:CurrentTime", "2026-01-01T00:00:00Z", True),
        ("DateLessThan", "aws:CurrentTime", "2026-01-01T00:00:00Z", False),
        ("Null", "missing", "true", True),
        ("Null", "sts:ExternalId", "true", False),
        ("ForAllValues:StringEquals", "aws:TagKeys", ["a", "b", "c"], True),
        ("ForAllValues:StringEquals", "aws:TagKeys", ["a"], False),
        ("ForAllValues:StringEquals", "missing", ["a"], True),
        ("ForAnyValue:StringEquals", "aws:TagKeys", ["b", "z"], True),
        ("ForAnyValue:StringEquals", "aws:TagKeys", ["z"], False),
        ("ForAnyValue:StringEquals", "missing", ["a"], False),
        ("NoSuchOperator", "sts:ExternalId", "right", False),
    ],
)
def test_a_condition(operator: str, key: str, value: object, expected: bool) -> None:
    assert holds({operator: {key: value}}, CONTEXT) is expected


def test_every_operator_and_key_of_a_block_has_to_hold() -> None:
    block: dict[str, dict[str, object]] = {
        "StringEquals": {"sts:ExternalId": "right", "s3:prefix": "home/ann/x"},
        "Bool": {"aws:SecureTransport": True},
    }
    assert holds(block, CONTEXT)
    assert not holds({**block, "Null": {"aws:sourceip": "true"}}, CONTEXT)


def test_a_deny_whose_condition_does_not_hold_denies_nothing() -> None:
    tls = statement(effect="Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})
    request = Request(GET.action, GET.resource, {"aws:securetransport": ["true"]})
    assert effect(request, statement(), tls) is Effect.ALLOW
    plain = Request(GET.action, GET.resource, {"aws:securetransport": ["false"]})
    assert effect(plain, statement(), tls) is Effect.DENY
