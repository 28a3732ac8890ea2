"""What changes cloud accounts."""

from __future__ import annotations

import secrets
from pathlib import Path

from django.conf import settings

from portal.clouds.models import CloudAccount
from portal.clouds.selectors import numbers_admitted
from portal.clouds.template import template_body, template_key
from portal.gateways import aws_linked, aws_platform, provisioner_policy
from portal.gateways.aws import Account


def account_handle(account: CloudAccount) -> Account:
    """The account as the gateways want it."""
    return Account(account.account_id, account.region, account.role_arn, account.external_id)


def boundary_arn(account: CloudAccount) -> str:
    """The policy that bounds the roles of workspaces in the account."""
    return provisioner_policy.boundary_arn(account.account_id, account.role_name)


def external_id_new() -> str:
    """What the trust policy of a role demands before Orca may assume it: nobody else can say it."""
    return secrets.token_urlsafe(24)


def platform_ensure(*, archive: Path) -> CloudAccount:
    """Make what Orca itself needs in its own account, publish the agent, and record the account.

    Safe to repeat: whatever is there is left, or brought to what it should be.
    """
    number = aws_platform.own_account_id()
    role_arn = aws_platform.provisioner_role_arn(number)
    account = CloudAccount.objects.filter(account_id=number, role_arn=role_arn).first() or CloudAccount(
        name="Orca",
        account_id=number,
        region=settings.AWS_REGION,
        role_arn=role_arn,
        external_id=external_id_new(),
    )
    aws_platform.ensure(account_handle(account))
    aws_platform.agent_publish(archive)
    aws_linked.template_publish(template_body(number), template_key(number))
    aws_linked.instances_admit(numbers_admitted())
    account.claimed_role = CloudAccount.claim(None, role_arn)
    account.save()
    return account
