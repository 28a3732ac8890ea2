"""Sessions with AWS, as they are remembered."""

from __future__ import annotations

import pytest

from portal.gateways import aws
from portal.gateways.aws import Account

ROLE = Account("123456789012", "eu-central-1", "arn:aws:iam::123456789012:role/orca-provisioner", "external-id-0123")
NARROWED = Account(*(ROLE.number, ROLE.region, ROLE.role_arn, ROLE.external_id), policy='{"Statement": []}')


@pytest.mark.usefixtures("paper_cloud")
def test_an_account_is_forgotten_with_all_of_its_sessions() -> None:
    whole, narrowed = aws.client("s3", ROLE), aws.client("s3", NARROWED)
    assert whole is not narrowed
    assert aws.client("s3", NARROWED) is narrowed
    aws.forget_account(ROLE)
    assert aws.client("s3", ROLE) is not whole
    assert aws.client("s3", NARROWED) is not narrowed


@pytest.mark.usefixtures("paper_cloud")
def test_links_are_signed_for_the_region_that_is_asked_for() -> None:
    assert aws.link_client(ROLE).meta.region_name == "eu-central-1"
    assert aws.link_client(ROLE, "us-east-1").meta.region_name == "us-east-1"
