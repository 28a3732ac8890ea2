"""Identity policies, boundary, session policy and the resource's own policy, put together into yes or no.

Follows IAM's "Policy evaluation logic": within one account either side may allow; across accounts both must.
"""

from __future__ import annotations

from agents.local_cloud.access.callers import Caller, boundary, identity_policies
from agents.local_cloud.access.policies import Effect, Request, evaluate, evaluate_resource_policy


def permitted(
    caller: Caller,
    request: Request,
    *,
    resource_policy: str | None = None,
    resource_account: str | None = None,
) -> bool:
    """Whether ``caller`` may make ``request``; ``resource_account`` defaults to the caller's own."""
    granted = Effect.NOTHING
    if resource_policy is not None:
        granted = evaluate_resource_policy(resource_policy, request, caller)
        if granted is Effect.DENY:
            return False
    if caller.kind == "anonymous":
        return granted is Effect.ALLOW
    own = _identity_effect(caller, request)
    if own is Effect.DENY:
        return False
    if resource_account is not None and resource_account != caller.account_id:
        return own is Effect.ALLOW and granted in (Effect.ALLOW, Effect.DELEGATE)
    return own is Effect.ALLOW or granted is Effect.ALLOW


def _identity_effect(caller: Caller, request: Request) -> Effect:
    """What the caller's own policies say, narrowed by its boundary and its session's policy."""
    own = evaluate(identity_policies(caller), request)
    limits = [document for document in (boundary(caller), _session_policy(caller)) if document is not None]
    for document in limits:
        limit = evaluate([document], request)
        if limit is Effect.DENY:
            return Effect.DENY
        if limit is not Effect.ALLOW:
            own = Effect.DENY if own is Effect.DENY else Effect.NOTHING
    return own


def _session_policy(caller: Caller) -> str | None:
    return caller.session.policy if caller.session else None
