"""One's own budget, for programs, on its page, above all pages, and in the hands of operators."""

from __future__ import annotations

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.core.errors import Invalid
from portal.usage.budgets import budget_update
from portal.usage.models import Budget
from portal.workspaces.models import Workspace
from tests.people import browser_of
from tests.unit.portal.usage.test_reservations import operator, used

__all__ = ["operator"]
URL = "/api/v1/budget/"
DOLLAR = 1_000_000_000


def test_without_a_budget_there_is_what_was_spent(api: APIClient, owner: User, workspace: Workspace) -> None:
    used(owner, workspace, 1_230_000_000)
    found = api.get(URL).json()
    assert (found["spent"], found["soft"], found["hard"], found["left"]) == ("1.23", None, None, None)
    assert not found["reached"]
    assert not found["trial"]


def test_ones_own_soft_amount_is_ones_own_to_change(api: APIClient, owner: User) -> None:
    assert api.patch(URL, {"soft": "12.5"}).json()["soft"] == "12.50"
    assert api.patch(URL, {"soft": "$3"}).json()["soft"] == "3.00"
    assert api.patch(URL, {"soft": None}).json()["soft"] is None
    entry = LogEntry.objects.filter(additional_data__what="budget.update").first()
    assert entry is not None
    assert entry.actor == owner


def test_a_hard_amount_is_lowered_by_its_owner_and_raised_by_operators(
    api: APIClient, owner: User, operator: User
) -> None:
    assert api.patch(URL, {"hard": "20"}).json()["hard"] == "20.00"
    assert api.patch(URL, {"hard": "10"}).json()["left"] == "10.00"
    refused = api.patch(URL, {"hard": "10.01"})
    assert (refused.status_code, list(refused.json()["fields"])) == (422, ["hard"])
    assert api.patch(URL, {"hard": None}).status_code == 400
    budget_update(user=owner, by=operator, hard=30 * DOLLAR)
    assert api.get(URL).json()["hard"] == "30.00"
    with pytest.raises(Invalid):
        budget_update(user=owner, by=owner, hard=None)


@pytest.mark.parametrize("amount", ["", "-1", "many", "1e400", "NaN", "0.0000000001", "9" * 25])
def test_what_is_no_amount_is_refused(api: APIClient, amount: str) -> None:
    refused = api.patch(URL, {"soft": amount})
    assert refused.status_code in {400, 422}
    assert "soft" in refused.json()["fields"]


def test_a_soft_amount_above_the_hard_one_is_refused(api: APIClient) -> None:
    api.patch(URL, {"hard": "5"})
    refused = api.patch(URL, {"soft": "5.01"})
    assert (refused.status_code, refused.json()["fields"]) == (422, {"soft": "at most $5.00"})
    assert Budget.objects.get().soft is None


def test_the_page_shows_and_changes_it(browser: Client, owner: User, workspace: Workspace) -> None:
    used(owner, workspace, DOLLAR)
    page = browser.get(reverse("budget")).content.decode()
    assert "$1.00" in page
    assert "no hard budget" in page
    assert browser.post(reverse("budget"), {"soft": "2", "hard": "4"}).status_code == 302
    page = browser.get(reverse("budget")).content.decode()
    assert 'value="4.00"' in page
    assert "$3.00" in page
    refused = browser.post(reverse("budget"), {"soft": "2", "hard": "400"})
    assert refused.status_code == 422
    assert "Only an operator" in refused.content.decode()
    assert browser.post(reverse("budget"), {"soft": "much", "hard": "4"}).status_code == 422


def test_a_word_stands_above_every_page_when_money_runs_out(browser: Client, owner: User, workspace: Workspace) -> None:
    def shown() -> str:
        return browser.get(reverse("script_list")).content.decode()

    budget_update(user=owner, by=owner, soft=DOLLAR, hard=2 * DOLLAR)
    assert "running out" not in shown()
    used(owner, workspace, DOLLAR)
    assert "running out" in shown()
    used(owner, workspace, DOLLAR)
    assert "used up" in shown()


def test_operators_raise_it_in_the_admin(owner: User, operator: User) -> None:
    User.objects.filter(pk=operator.pk).update(is_superuser=True)
    budget = budget_update(user=owner, by=owner, hard=DOLLAR)
    client = browser_of(operator)
    address = reverse("admin:usage_budget_change", args=[budget.pk])
    assert 'value="1.00"' in client.get(address).content.decode()
    assert client.post(address, {"soft": "", "hard": "7.50"}).status_code == 302
    assert Budget.objects.get().hard == 7_500_000_000
    assert client.get(reverse("admin:usage_budget_changelist")).status_code == 200
    client.post(reverse("admin:usage_budget_add"), {"owner": operator.pk, "soft": "", "hard": "1"})
    assert Budget.objects.get(owner=operator).hard == DOLLAR
