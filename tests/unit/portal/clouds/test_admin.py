"""Cloud accounts, as administrators add and change them."""

from __future__ import annotations

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.urls import reverse

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from tests.people import PASSWORD, browser_of

ADD = "admin:clouds_cloudaccount_add"
FORM = {
    "name": "Second cell",
    "account_id": "200000000002",
    "region": "eu-central-1",
    "role_arn": "arn:aws:iam::200000000002:role/orca-provisioner",
    "enabled": "on",
}


@pytest.fixture
def administrator(db: None) -> User:
    return User.objects.create_superuser("root@example.org", PASSWORD)


@pytest.fixture
def office(administrator: User) -> Client:
    return browser_of(administrator)


def test_a_new_account_gets_an_external_id_that_nobody_chose(office: Client) -> None:
    for number in ("2", "3"):
        role = f"arn:aws:iam::20000000000{number}:role/orca-provisioner"
        form = FORM | {"account_id": f"20000000000{number}", "role_arn": role, "external_id": "chosen"}
        assert office.post(reverse(ADD), form).status_code == 302
    given = set(CloudAccount.objects.values_list("external_id", flat=True))
    assert len(given) == 2
    assert all(len(external_id) >= 32 for external_id in given)


def test_a_change_leaves_the_external_id_and_is_in_the_trail_without_it(office: Client, administrator: User) -> None:
    office.post(reverse(ADD), FORM)
    account = CloudAccount.objects.get()
    change = reverse("admin:clouds_cloudaccount_change", args=[account.pk])
    assert account.external_id in office.get(change).content.decode()
    assert office.post(change, FORM | {"name": "Renamed"}).status_code == 302
    after = CloudAccount.objects.get()
    assert (after.name, after.external_id) == ("Renamed", account.external_id)
    entries = LogEntry.objects.get_for_object(account)
    assert entries.filter(actor=administrator, changes__name=["Second cell", "Renamed"]).count() == 1
    assert not any("external_id" in entry.changes_dict for entry in entries)
