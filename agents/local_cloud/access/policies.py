"""Policy documents, evaluated as IAM evaluates them: an explicit Deny wins, then an Allow, else nothing."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from agents.local_cloud.access.callers import Caller
from agents.local_cloud.access.conditions import Context, holds, like, strings, substitute


class Effect(Enum):
    """What a set of policies says of a request. ``DELEGATE``: allowed to the account, not to the principal itself."""

    NOTHING = 0
    DELEGATE = 1
    ALLOW = 2
    DENY = 3


@dataclass(frozen=True)
class Request:
    """One thing that somebody wants to do. ``context`` has lower-case keys and lists of values."""

    action: str
    resource: str
    context: Mapping[str, list[str]] = field(default_factory=dict)


def evaluate(documents: Iterable[str], request: Request) -> Effect:
    """The effect of identity policies (no Principal element)."""
    effect = Effect.NOTHING
    for document in documents:
        for statement in statements(document):
            if not _applies(statement, request):
                continue
            if statement.get("Effect") == "Deny":
                return Effect.DENY
            effect = Effect.ALLOW
    return effect


def evaluate_resource_policy(document: str, request: Request, caller: Caller) -> Effect:
    """The effect of a resource's policy (bucket, queue, role trust) on this caller."""
    effect = Effect.NOTHING
    for statement in statements(document):
        grants = principal_grants(statement, caller)
        if grants is Effect.NOTHING or not _applies(statement, request):
            continue
        if statement.get("Effect") == "Deny":
            return Effect.DENY
        if grants.value > effect.value:
            effect = grants
    return effect


@functools.lru_cache(maxsize=2048)
def statements(document: str) -> tuple[dict[str, Any], ...]:
    """The statements of a policy document; none if it is not one."""
    try:
        parsed = json.loads(document)
    except ValueError:
        return ()
    found = parsed.get("Statement", []) if isinstance(parsed, dict) else []
    return tuple(found) if isinstance(found, list) else (found,)


def principal_grants(statement: Mapping[str, Any], caller: Caller) -> Effect:
    """Whether a statement speaks to the caller: ALLOW itself, DELEGATE through its account, NOTHING not at all."""
    if "NotPrincipal" in statement:
        spoken = _principal(statement["NotPrincipal"], caller)
        return Effect.ALLOW if spoken is Effect.NOTHING else Effect.NOTHING
    spoken = _principal(statement.get("Principal"), caller)
    # A Deny for an account holds for everyone in it.
    return Effect.ALLOW if spoken is Effect.DELEGATE and statement.get("Effect") == "Deny" else spoken


def _principal(element: object, caller: Caller) -> Effect:
    if element == "*":
        return Effect.ALLOW
    if not isinstance(element, Mapping):
        return Effect.NOTHING
    best = Effect.NOTHING
    for name in strings(element.get("AWS", [])):
        if name == "*" or name in (caller.arn, caller.principal_arn):
            return Effect.ALLOW
        if name in (caller.account_id, f"arn:aws:iam::{caller.account_id}:root"):
            best = Effect.DELEGATE
    return best


def _applies(statement: Mapping[str, Any], request: Request) -> bool:
    return (
        _action_fits(statement, request.action)
        and _resource_fits(statement, request)
        and holds(statement.get("Condition") or {}, request.context)
    )


def _action_fits(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(like(pattern, action, fold=True) for pattern in strings(statement["NotAction"]))
    return any(like(pattern, action, fold=True) for pattern in strings(statement.get("Action", [])))


def _resource_fits(statement: Mapping[str, Any], request: Request) -> bool:
    if "NotResource" in statement:
        return not _any_resource(statement["NotResource"], request.resource, request.context)
    if "Resource" not in statement:
        return True
    return _any_resource(statement["Resource"], request.resource, request.context)


def _any_resource(patterns: object, resource: str, context: Context) -> bool:
    return any(like(substitute(pattern, context), resource) for pattern in strings(patterns))
