"""IAM: SimulatePrincipalPolicy, which moto does not have: what a role's or a user's own policies would decide.

As on AWS, resource policies do not count unless they are given, and the boundary does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.responses import IamResponse

from agents.local_cloud.access.callers import Caller, boundary, iam, identity_policies, role_by_arn
from agents.local_cloud.access.policies import Effect, Request, evaluate
from agents.local_cloud.access.sessions import Session
from agents.local_cloud.faults import Fault

DECISIONS = {Effect.ALLOW: "allowed", Effect.DENY: "explicitDeny"}
NOT_ALLOWED = "implicitDeny"


def apply() -> None:
    """Put the mend in place."""
    IamResponse.simulate_principal_policy = _simulate  # type: ignore[attr-defined]


def _simulate(response: Any) -> ActionResult:
    given: dict[str, str] = {name: values[0] for name, values in response.querystring.items() if values}
    principal = _principal(given.get("PolicySourceArn", ""))
    actions = list(_members(given, "ActionNames"))
    resources = list(_members(given, "ResourceArns")) or ["*"]
    context = _context(given)
    found = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": decide(principal, Request(action, resource, context)),
            "MatchedStatements": [],
            "MissingContextValues": [],
        }
        for action, resource in itertools.product(actions, resources)
    ]
    return ActionResult({"EvaluationResults": found, "IsTruncated": False})


def decide(principal: Caller, request: Request) -> str:
    """``allowed``, ``explicitDeny`` or ``implicitDeny``."""
    own = evaluate(identity_policies(principal), request)
    limit = boundary(principal)
    if limit is not None and own is Effect.ALLOW:
        own = evaluate([limit], request)
    return DECISIONS.get(own, NOT_ALLOWED)


def _principal(arn: str) -> Caller:
    """The role or user with this ARN, as if it called. Raises ``Fault`` where there is none."""
    role = role_by_arn(arn)
    account = arn.split(":")[4] if arn.count(":") >= 5 else ""
    if role is not None:
        session = Session(account, "role", role.name, role.id, role.arn, "simulation", "", "", "", 0)
        return Caller(account, "role", role.name, session.arn, role.id, session=session)
    name = arn.rsplit("/", 1)[-1]
    if ":user/" in arn and name in iam(account).users:
        return Caller(account, "user", name, arn, iam(account).users[name].id)
    raise Fault("NoSuchEntity", f"{arn} does not exist.", 404)


def _members(given: Mapping[str, str], name: str) -> Iterator[str]:
    for number in itertools.count(1):
        value = given.get(f"{name}.member.{number}")
        if value is None:
            return
        yield value


def _context(given: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number in itertools.count(1):
        prefix = f"ContextEntries.member.{number}."
        key = given.get(prefix + "ContextKeyName")
        if key is None:
            return found
        values = {name: value for name, value in given.items() if name.startswith(prefix + "ContextKeyValues.member.")}
        found[key.lower()] = list(values.values())
    return found
