"""IAM enforcement for everything that moto serves, in place of moto's own.

The signature of each request is checked before moto sees it. S3 is authorized there too, from the request alone. The
other services are authorized in moto's hook, when their action and parameters have been parsed.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.responses import BaseResponse
from moto.s3.models import FakeBucket, s3_backends

from agents.local_cloud.access import post_forms, s3_requests, signature
from agents.local_cloud.access.callers import ANONYMOUS, Caller, caller_of
from agents.local_cloud.access.decisions import permitted
from agents.local_cloud.access.policies import Request
from agents.local_cloud.access.resources import resource_of
from agents.local_cloud.access.sessions import Sessions
from agents.local_cloud.faults import Fault, access_denied
from agents.local_cloud.patching import replace

#: Calls that need no signature: the web identity or assertion inside them is the proof.
UNSIGNED_ACTIONS = {"AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"}

#: Always allowed, even against an explicit Deny (STS reference).
ALWAYS_ALLOWED = {"sts:GetCallerIdentity"}

#: Services that sign by another name than policies call them (Service Authorization Reference).
NAMES_IN_POLICIES = {"monitoring": "cloudwatch"}

#: Decided where they are carried out, because more than one policy speaks.
DECIDED_ELSEWHERE = {"sts:AssumeRole"}


@dataclass
class Call:
    """What is known of the request that this thread is serving."""

    caller: Caller
    service: str
    region: str
    context: dict[str, list[str]]
    connection: socket.socket | None = None
    #: The parsed action of a service other than S3, and the key of an upload by form.
    action: str = ""
    form_key: str = ""
    denied_keys: set[str] = field(default_factory=set)


_current = threading.local()


def current() -> Call | None:
    """The call that this thread is serving; None outside of one (our own work is not enforced)."""
    return getattr(_current, "call", None)


class Enforcement:
    """Identifies callers and decides on their requests."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions

    def install(self) -> None:
        """Take the place of moto's enforcement, and of its guess whose account a request is for."""
        replace(ActionAuthenticatorMixin, "_authenticate_and_authorize_action", _authorize_parsed)
        replace(ActionAuthenticatorMixin, "_authenticate_and_authorize_s3_action", lambda *_, **__: None)
        replace(BaseResponse, "get_current_account", _current_account)
        replace(FakeBucket, "get_permission", _bucket_permission)

    def begin(self, environ: Mapping[str, Any], query: list[tuple[str, str]], body: bytes) -> Call:
        """Identify the caller and authorize what can be seen from outside. Raises ``Fault``."""
        credential = signature.from_request(environ, query)
        form = None
        if credential is None:
            form = post_forms.credential(environ, body)
            credential = form.credential if form else None
        if credential is None:
            call = Call(ANONYMOUS, "", "", _context(ANONYMOUS, environ, ""))
        else:
            caller = caller_of(credential.access_key_id, credential.token, self.sessions, service=credential.service)
            if form:
                form.verify(caller.secret_access_key)
            else:
                signature.verify(credential, caller.secret_access_key, environ, query, body)
            context = _context(caller, environ, credential.region)
            call = Call(caller, credential.service, credential.region, context)
        call.connection = environ.get("werkzeug.socket")
        call.form_key = form.key if form else ""
        _current.call = call
        return call

    def end(self) -> None:
        """The thread has answered."""
        _current.call = None

    def authorize_s3(self, call: Call, environ: Mapping[str, Any], query: Mapping[str, str], body: bytes) -> None:
        """Decide on a request to S3. Raises ``Fault``; a refused part of a DeleteObjects is only noted."""
        where = s3_requests.address(environ)
        if environ["REQUEST_METHOD"] == "OPTIONS":
            return
        pays = s3_requests.pays(environ, query)
        if environ["REQUEST_METHOD"] == "POST" and "delete" in query and not where.key:
            for key in s3_requests.keys_to_delete(body):
                request = Request("s3:DeleteObject", f"{where.arn}/{key}", call.context)
                if not self._s3_permits(call.caller, request) or _unpaid(call.caller, request, pays=pays):
                    call.denied_keys.add(f"{where.arn}/{key}")
            return
        if call.caller.kind != "anonymous" and not where.bucket:
            return  # ListBuckets shows each caller what it may see: see mends.bucket_listing
        requests = s3_requests.wanted(environ, query, body, call.context)
        if call.form_key:
            requests = [Request("s3:PutObject", f"{where.arn}/{call.form_key}", call.context)]
        for request in requests:
            if not self._s3_permits(call.caller, request):
                raise access_denied(call.caller.arn, request.action, request.resource)
            if _unpaid(call.caller, request, pays=pays):
                raise Fault("AccessDenied", "Access Denied")

    def may_list(self, caller: Caller, bucket: str, context: Mapping[str, list[str]]) -> bool:
        """Whether ``caller`` holds s3:ListBucket on ``bucket``."""
        return self._s3_permits(
            caller, Request("s3:ListBucket", f"arn:aws:s3:::{bucket}", {**context, "s3:prefix": [""]})
        )

    def _s3_permits(self, caller: Caller, request: Request) -> bool:
        bucket = _bucket_of(request)
        if bucket is None:
            return permitted(caller, request)
        policy = bucket.policy.decode() if isinstance(bucket.policy, bytes) else bucket.policy
        account: str = bucket.account_id
        asked = Request(request.action, request.resource, {**request.context, "aws:resourceaccount": [account]})
        return permitted(caller, asked, resource_policy=policy, resource_account=account)


def _bucket_of(request: Request) -> FakeBucket | None:
    """The bucket that a request to S3 is about, whoever owns it; None where there is none."""
    name = request.resource.removeprefix("arn:aws:s3:::").split("/", 1)[0]
    owner = s3_backends.bucket_accounts.get(name)
    return s3_backends[owner[1]][owner[0]].buckets[name] if owner else None


def _unpaid(caller: Caller, request: Request, *, pays: bool) -> bool:
    """Whether a bucket whose requesters pay is asked by somebody of another account who does not say that they do.

    After "Using Requester Pays buckets" of S3's guide: who does not sign cannot pay.
    """
    bucket = _bucket_of(request)
    if bucket is None or bucket.payer != s3_requests.REQUESTER or caller.account_id == bucket.account_id:
        return False
    return not pays or caller.kind == "anonymous"


def _context(caller: Caller, environ: Mapping[str, Any], region: str) -> dict[str, list[str]]:
    """The global condition keys. Loopback counts as secure transport, so that TLS-only policies hold unchanged."""
    now = time.time()
    context = {
        "aws:currenttime": [datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")],
        "aws:epochtime": [str(int(now))],
        "aws:securetransport": ["true"],
        "aws:sourceip": [str(environ.get("REMOTE_ADDR", "127.0.0.1"))],
        "aws:useragent": [str(environ.get("HTTP_USER_AGENT", ""))],
        "aws:requestedregion": [region],
        "aws:principalaccount": [caller.account_id],
        "aws:principalarn": [caller.principal_arn],
        "aws:userid": [caller.unique_id],
        "aws:principaltype": [{"user": "User", "role": "AssumedRole"}.get(caller.kind, "Anonymous")],
    }
    if caller.kind == "user":
        context["aws:username"] = [caller.name]
    if caller.session and caller.session.source_instance_arn:
        context["ec2:sourceinstancearn"] = [caller.session.source_instance_arn]
    return context


def _authorize_parsed(response: Any, iam_request_cls: type, resource: str = "*") -> None:
    """moto's hook, once for each call of a service other than S3."""
    call = current()
    if call is None:
        return
    name = response._get_action()
    name = name[0] if isinstance(name, list) else name
    call.action = name
    if call.caller.kind == "anonymous":
        if name in UNSIGNED_ACTIONS or response.headers.get("X-Amz-Target") in response.PUBLIC_OPERATIONS:
            return
        raise Fault("MissingAuthenticationToken", "The request must be signed with a valid access key.")
    action = f"{NAMES_IN_POLICIES.get(call.service, call.service)}:{name}"
    if action in ALWAYS_ALLOWED or action in DECIDED_ELSEWHERE:
        return
    target = resource_of(call.service, name, response, fallback=resource)
    owner = {"aws:resourceaccount": [target.account_id or call.caller.account_id]}
    for arn in target.arns:
        known = {**call.context, **owner, **target.context.get(arn, {}), **target.request_context}
        request = Request(action, arn, known)
        if not permitted(call.caller, request, resource_policy=target.policy, resource_account=target.account_id):
            raise access_denied(call.caller.arn, action, arn)


def _current_account(response: Any) -> str:
    call = current()
    if call is None or call.caller.kind == "anonymous":
        return _bucket_owner(response)
    return call.caller.account_id


def _bucket_owner(response: Any) -> str:
    from agents.local_cloud.accounts import PLATFORM_ACCOUNT

    where = s3_requests.address(response.normalized_request.environ)
    owner = s3_backends.bucket_accounts.get(where.bucket)
    return owner[1] if owner else PLATFORM_ACCOUNT


def _bucket_permission(bucket: FakeBucket, action: str, resource: str) -> Any:
    """moto asks this of bucket policies alone; the decision has been taken by then."""
    from moto.iam.access_control import PermissionResult

    call = current()
    denied = call is not None and resource in call.denied_keys
    return PermissionResult.DENIED if denied else PermissionResult.PERMITTED
