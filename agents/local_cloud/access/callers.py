"""Who signed a request: the users of every account, and the sessions of their roles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from moto.iam.exceptions import NotFoundException
from moto.iam.models import IAMBackend, Role, User, iam_backends

from agents.local_cloud.access.sessions import Session, Sessions
from agents.local_cloud.accounts import PARTITION
from agents.local_cloud.faults import Fault


@dataclass(frozen=True)
class Caller:
    """A principal. ``kind`` is "user", "role" or "anonymous"; ``arn`` is what GetCallerIdentity answers."""

    account_id: str
    kind: str
    name: str
    arn: str
    unique_id: str
    secret_access_key: str = ""
    session: Session | None = None

    @property
    def principal_arn(self) -> str:
        """What ``aws:PrincipalArn`` holds: the role's ARN for a session of it, else the ARN itself."""
        return self.session.role_arn if self.session and self.kind == "role" else self.arn


ANONYMOUS = Caller(account_id="anonymous", kind="anonymous", name="anonymous", arn="anonymous", unique_id="anonymous")


def iam(account_id: str) -> IAMBackend:
    """The IAM of one account."""
    return iam_backends[account_id][PARTITION]


def caller_of(access_key_id: str, token: str, sessions: Sessions, *, service: str = "") -> Caller:
    """The caller whose access key this is.

    Raises ``Fault`` (InvalidClientTokenId, or InvalidAccessKeyId and InvalidToken for S3, or ExpiredToken).
    """
    if token:
        return _session_caller(sessions.open(access_key_id, token), service)
    for account_id, account in list(iam_backends.items()):
        key = account[PARTITION].access_keys.get(access_key_id)
        if key is None or not key.user_name or key.status != "Active":
            continue
        user = account[PARTITION].users.get(key.user_name)
        if user is not None and key in user.access_keys:
            return Caller(
                account_id=account_id,
                kind="user",
                name=user.name,
                arn=user.arn,
                unique_id=user.id,
                secret_access_key=key.secret_access_key,
            )
    raise unknown_key(service)


def unknown_key(service: str) -> Fault:
    """The refusal of an access key that no account has."""
    if service == "s3":
        return Fault("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    return Fault("InvalidClientTokenId", "The security token included in the request is invalid.")


def role_by_arn(role_arn: str) -> Role | None:
    """The role with this ARN, looked up in the ARN's own account; None if there is none."""
    parts = role_arn.split(":", 5)
    if len(parts) != 6 or parts[2] != "iam" or not parts[5].startswith("role/"):
        return None
    if parts[4] not in iam_backends:
        return None
    try:
        role = iam(parts[4]).get_role_by_arn(role_arn)
    except NotFoundException:
        return None
    return role


def _session_caller(session: Session, service: str) -> Caller:
    if session.kind == "user":
        user = iam(session.account_id).users.get(session.name)
        if user is None or user.id != session.owner_id:
            raise unknown_key(service)
        return Caller(session.account_id, "user", user.name, user.arn, user.id, session.secret_access_key, session)
    role = role_by_arn(session.role_arn)
    # A role that was deleted and made again under the same name does not inherit its sessions.
    if role is None or role.id != session.owner_id:
        raise unknown_key(service)
    return Caller(
        account_id=session.account_id,
        kind="role",
        name=role.name,
        arn=session.arn,
        unique_id=f"{role.id}:{session.session_name}",
        secret_access_key=session.secret_access_key,
        session=session,
    )


def identity_policies(caller: Caller) -> Iterator[str]:
    """The JSON documents of every policy of the caller's user (with groups) or role."""
    backend = iam(caller.account_id)
    if caller.kind == "role" and caller.session is not None:
        role = role_by_arn(caller.session.role_arn)
        if role is not None:
            yield from role.policies.values()
            yield from _managed(role.managed_policies.values())
    elif caller.kind == "user":
        user: User = backend.users[caller.name]
        yield from user.policies.values()
        yield from _managed(user.managed_policies.values())
        for group in backend.get_groups_for_user(caller.name):
            yield from group.policies.values()
            yield from _managed(group.managed_policies.values())


def boundary(caller: Caller) -> str | None:
    """The JSON document of the caller's permissions boundary; None if there is none."""
    backend = iam(caller.account_id)
    arn: str | None = None
    if caller.kind == "role" and caller.session is not None:
        role = role_by_arn(caller.session.role_arn)
        arn = role.permissions_boundary_arn if role else None
    elif caller.kind == "user":
        arn = getattr(backend.users[caller.name], "permissions_boundary_arn", None)
    if not arn:
        return None
    policy = backend.managed_policies.get(arn)
    # A boundary that names a policy which is gone allows nothing.
    return next(_managed([policy])) if policy else '{"Statement": []}'


def _managed(policies: Iterable[Any]) -> Iterator[str]:
    for policy in policies:
        yield next(version.document for version in policy.versions if version.is_default)
