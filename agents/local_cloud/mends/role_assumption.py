"""STS: AssumeRole asks the trust policy of the role in the *role's* account, and issues credentials of ours.

moto looks for the role in the caller's account only, so across accounts it lets every caller in, whatever
``sts:ExternalId`` it sends. Service principals (ec2) get no credentials from here: see ``instances.metadata``.
"""

from __future__ import annotations

import re
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.models import Role
from moto.sts.responses import TokenResponse

from agents.local_cloud.access.callers import Caller, identity_policies, role_by_arn
from agents.local_cloud.access.decisions import permitted
from agents.local_cloud.access.enforcement import Call, current
from agents.local_cloud.access.policies import Effect, Request, evaluate, evaluate_resource_policy
from agents.local_cloud.access.sessions import Session, Sessions
from agents.local_cloud.faults import Fault, access_denied
from agents.local_cloud.patching import replace

ACTION = "sts:AssumeRole"
MAXIMUM_CHAINED_SECONDS = 3600


def apply(sessions: Sessions) -> None:
    """Put the mend in place."""

    def assume_role(response: Any) -> ActionResult:
        call = _call()
        parameter = response._get_param
        session = _assume(
            sessions,
            call,
            role_arn=parameter("RoleArn") or "",
            session_name=parameter("RoleSessionName") or "",
            external_id=parameter("ExternalId"),
            seconds=response._get_int_param("DurationSeconds", 3600),
            policy=parameter("Policy"),
        )
        user = {"AssumedRoleId": f"{session.owner_id}:{session.session_name}", "Arn": session.arn}
        return ActionResult({"Credentials": _credentials(session), "AssumedRoleUser": user})

    def get_session_token(response: Any) -> ActionResult:
        caller = _call().caller
        if caller.session is not None:
            raise Fault("AccessDenied", "Cannot call GetSessionToken with session credentials")
        seconds = response._get_int_param("DurationSeconds", 43200)
        session = sessions.issue(
            account_id=caller.account_id,
            kind="user",
            name=caller.name,
            owner_id=caller.unique_id,
            role_arn=caller.arn,
            session_name=caller.name,
            seconds=seconds,
        )
        return ActionResult({"Credentials": _credentials(session)})

    replace(TokenResponse, "assume_role", assume_role)
    replace(TokenResponse, "get_session_token", get_session_token)
    replace(TokenResponse, "get_caller_identity", _caller_identity)


def _call() -> Call:
    call = current()
    if call is None:
        raise Fault("MissingAuthenticationToken", "Request is missing Authentication Token")
    return call


def _caller_identity(response: Any) -> ActionResult:
    caller = _call().caller
    return ActionResult({"UserId": caller.unique_id, "Account": caller.account_id, "Arn": caller.arn})


def _credentials(session: Session) -> dict[str, object]:
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "SessionToken": session.token,
        "Expiration": session.expiration,
    }


def _assume(
    sessions: Sessions,
    call: Call,
    *,
    role_arn: str,
    session_name: str,
    external_id: str | None,
    seconds: int,
    policy: str | None,
) -> Session:
    if not re.fullmatch(r"[\w+=,.@-]{2,64}", session_name):
        raise Fault("ValidationError", f"1 validation error: '{session_name}' is not a roleSessionName", 400)
    role = role_by_arn(role_arn)
    refused = access_denied(
        call.caller.arn, ACTION, role_arn, "the role's trust policy or the caller's permissions do not allow it"
    )
    if role is None:
        raise refused
    context = {**call.context, "sts:rolesessionname": [session_name]}
    if external_id is not None:
        context["sts:externalid"] = [external_id]
    if not trusted(role, call.caller, Request(ACTION, role.arn, context)):
        raise refused
    if not 900 <= seconds <= int(role.max_session_duration or 3600):
        raise Fault("ValidationError", "The requested DurationSeconds exceeds the limits set for this role.", 400)
    if call.caller.session is not None and seconds > MAXIMUM_CHAINED_SECONDS:
        raise Fault("ValidationError", "DurationSeconds exceeds the 1 hour session limit of role chaining.", 400)
    return sessions.issue(
        account_id=role_arn.split(":")[4],
        kind="role",
        name=role.name,
        owner_id=role.id,
        role_arn=role.arn,
        session_name=session_name,
        seconds=seconds,
        policy=policy,
    )


def trusted(role: Role, caller: Caller, request: Request) -> bool:
    """Whether trust policy and identity policies together let ``caller`` assume ``role``.

    The trust policy must always speak. Naming the caller itself is enough within the account; naming the account
    (or coming from another one) needs the caller's own policies to allow it too.
    """
    granted = evaluate_resource_policy(role.assume_role_policy_document, request, caller)
    if granted in (Effect.NOTHING, Effect.DENY):
        return False
    own_account = role.arn.split(":")[4] == caller.account_id
    if own_account and granted is Effect.ALLOW:
        return evaluate(identity_policies(caller), request) is not Effect.DENY
    return permitted(caller, request)
