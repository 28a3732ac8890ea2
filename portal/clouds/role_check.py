"""Looks at a role step by step, and says of each step in words what is wrong and what to do.

Asking changes nothing in the account. What does not answer is no verdict: then the check ends with ``CloudFault``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from django.conf import settings

from portal.clouds.permissions import REGISTRY, Group, groups
from portal.core.errors import CloudFault
from portal.gateways import aws_linked, aws_platform
from portal.gateways.aws import Account, forget_account

Verdict = Literal["ok", "failed", "lacking", "skipped"]
_AGAIN = "Apply Terraform's envs/link or the CloudFormation template again; both hold everything that is needed."


@dataclass(frozen=True)
class Finding:
    """One step: ``missing`` holds ``{"action", "resource"}`` of each permission that is not there.

    ``lacking`` is what Orca can do without: the account works, and the message says what it does not have.
    """

    key: str
    title: str
    state: Verdict
    message: str = ""
    hint: str = ""
    missing: tuple[dict[str, str], ...] = ()

    def as_row(self) -> dict[str, Any]:
        """As ``CloudAccount.checks`` keeps it."""
        return {**vars(self), "missing": list(self.missing)}


class _Wrong(Exception):
    """What a step found to be wrong. The steps after a ``fatal`` one would say nothing."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        fatal: bool = False,
        missing: tuple[dict[str, str], ...] = (),
        state: Verdict = "failed",
    ) -> None:
        super().__init__(message)
        self.message, self.hint, self.fatal, self.missing, self.state = message, hint, fatal, missing, state


Step = tuple[str, str, Callable[[], str]]


def role_examine(account: Account, *, indispensable: frozenset[str] = frozenset()) -> list[Finding]:
    """Every step in its order. Raises ``CloudFault`` where the cloud does not answer.

    ``indispensable`` are keys of what Orca can do without in accounts that never had it, and not in this one.
    """
    forget_account(account)
    found: list[Finding] = []
    blocked = False
    for key, title, look in _steps(account, indispensable):
        if blocked:
            found.append(Finding(key, title, "skipped"))
            continue
        try:
            found.append(Finding(key, title, "ok", look()))
        except _Wrong as wrong:
            blocked = wrong.fatal
            found.append(Finding(key, title, wrong.state, wrong.message, wrong.hint, wrong.missing))
        except CloudFault as fault:
            if fault.retryable:
                raise
            found.append(Finding(key, title, "failed", fault.message, fault.hint))
    return found


def passed(findings: list[Finding]) -> bool:
    """Whether Orca may build with the role."""
    return all(finding.state in {"ok", "lacking"} for finding in findings)


def has_registry(findings: list[Finding]) -> bool:
    """Whether workspaces there may have a repository for the images that their instances build."""
    return any(finding.key == REGISTRY and finding.state == "ok" for finding in findings)


def _steps(account: Account, indispensable: frozenset[str]) -> Iterator[Step]:
    yield "role", "Orca may assume the role", lambda: _lets_orca_in(account)
    yield "external_id", "Nobody gets in without the ExternalId", lambda: _keeps_others_out(account)
    yield "self_check", "The role may say what it is allowed", lambda: _may_ask(account)
    for group in groups(account.number, account.region, account.role_arn.rsplit("/", 1)[-1]):
        optional = bool(group.without) and group.key not in indispensable
        yield group.key, group.title, partial(_allows, account, group, optional=optional)
    yield "boundary", "The boundary of workspaces' roles", lambda: _has_boundary(account)
    yield "network", "A default network", lambda: _has_network(account)


def _lets_orca_in(account: Account) -> str:
    if not aws_linked.role_lets_in(account.role_arn, account.external_id):
        orca = aws_platform.own_account_id()
        raise _Wrong(
            f"AWS does not let Orca assume {account.role_arn}.",
            f"Is the role there, and does its trust policy name arn:aws:iam::{orca}:root and the ExternalId that is"
            " shown here? A role that was made just now may need a minute.",
            fatal=True,
        )
    if (number := aws_linked.whoami(account)) != account.number:
        raise _Wrong(f"The role belongs to account {number}, not to {account.number}.", fatal=True)
    return f"A session in account {account.number}, for an hour at most."


def _keeps_others_out(account: Account) -> str:
    without, wrong = aws_linked.role_lets_strangers_in(account.role_arn)
    if without or wrong:
        how = "without any ExternalId" if without else "with an ExternalId that was made up"
        raise _Wrong(
            f"Warning: the role lets Orca in {how}.",
            "Whoever knows its name could have Orca build in your account. Its trust policy has to demand the"
            " ExternalId that is shown here, with StringEquals on sts:ExternalId. Until then Orca builds nothing.",
            fatal=True,
        )
    return "Tried without an ExternalId and with a wrong one: refused both times."


def _may_ask(account: Account) -> str:
    action = "iam:SimulatePrincipalPolicy"
    try:
        aws_linked.denied(account, ["sts:GetCallerIdentity"], ["*"], {})
    except CloudFault as fault:
        if fault.code != "cloud_denied":
            raise
        gone = ({"action": action, "resource": account.role_arn},)
        raise _Wrong(f"Missing: {action}, on the role itself.", _AGAIN, fatal=True, missing=gone) from fault
    return "Permissions are looked up, nothing is tried out."


def _allows(account: Account, group: Group, *, optional: bool) -> str:
    missing = [
        {"action": denied.action, "resource": denied.resource}
        for need in group.needs
        for denied in aws_linked.denied(account, need.actions, need.resources, need.context)
    ]
    if missing:
        unlike = list(dict.fromkeys(gone["action"] for gone in missing))
        said = f"Missing: {', '.join(unlike)}."
        if optional:
            raise _Wrong(f"{group.without} {said}", _AGAIN, missing=tuple(missing), state="lacking")
        raise _Wrong(said, _AGAIN, missing=tuple(missing))
    count = sum(len(need.actions) for need in group.needs)
    return f"{count} permission{'' if count == 1 else 's'}, all there."


def _has_boundary(account: Account) -> str:
    if not aws_linked.boundary_is_there(account):
        raise _Wrong(f"The policy {account.role_arn.rsplit('/', 1)[-1]}-boundary is not in the account.", _AGAIN)
    return "Nothing that runs in a workspace reaches beyond workspaces."


def _has_network(account: Account) -> str:
    if not aws_linked.has_default_network(account):
        raise _Wrong(
            f"There is no default VPC in {account.region}.",
            f"Make one: aws ec2 create-default-vpc --region {account.region}",
        )
    return f"There is one in {account.region}."


def region_fitting(region: str) -> bool:
    """Whether Orca can build there: agents fetch themselves from Orca's bucket, which answers in its own region."""
    return region == settings.AWS_REGION
