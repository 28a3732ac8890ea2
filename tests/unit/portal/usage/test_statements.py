"""A month's statement: sums, and deductions in their order."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.core.errors import NotFound
from portal.usage.models import Grant, UsageDay
from portal.usage.selectors import month_named, months_of, statement_get
from portal.usage.services import records_add, trial_grant
from portal.usage.statements import Statement
from portal.workspaces.models import Workspace
from tests.unit.portal.usage.statement_made import DOLLAR, MONTH, used

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def statement(owner: User, month: str = MONTH) -> Statement:
    return statement_get(owner=owner, month=month)


def grant(owner: User | None, kind: str, **more: Any) -> Grant:
    return Grant.objects.create(**{"owner": owner, "kind": kind, "note": kind, "valid_from": LONG_AGO, **more})


def taken(owner: User, month: str = MONTH) -> list[tuple[str, int]]:
    return [(deduction.name, deduction.nano) for deduction in statement(owner, month).deductions]


def test_sums_by_kind_workspace_script_and_day(workspace: Workspace, owner: User) -> None:
    used(workspace, "compute", 3 * DOLLAR, quantity=7_200_000, script="a")
    used(workspace, "compute", 2 * DOLLAR, quantity=3_600_000, day=6)
    used(workspace, "idle", DOLLAR, quantity=1_800_000, day=6)
    used(workspace, "compute", 9 * DOLLAR, month=9)
    found = statement(owner)
    assert [(line.kind, line.nano, line.quantity, line.unit) for line in found.kinds] == [
        ("compute", 5 * DOLLAR, Decimal(3), "hours"),
        ("idle", DOLLAR, Decimal("0.5"), "hours"),
    ]
    assert [(line.name, line.nano) for line in found.workspaces] == [("lab", 6 * DOLLAR)]
    assert [line.nano for line in found.scripts] == [3 * DOLLAR, 3 * DOLLAR]
    assert found.days == {
        date(2026, 10, 5): {"compute": 3 * DOLLAR},
        date(2026, 10, 6): {"compute": 2 * DOLLAR, "idle": DOLLAR},
    }
    assert (found.used, found.total) == (6 * DOLLAR, 6 * DOLLAR)
    assert (date(2026, 9, 1), 9 * DOLLAR) in months_of(owner)


def test_a_record_that_is_there_is_not_added_up_again(workspace: Workspace, owner: User) -> None:
    record = used(workspace, "compute", DOLLAR)
    assert records_add(records=[record]) == []
    assert UsageDay.objects.get().nano == DOLLAR


def test_deductions_come_in_their_order(workspace: Workspace, owner: User) -> None:
    used(workspace, "compute", 10 * DOLLAR, quantity=10 * 3_600_000)
    used(workspace, "egress", 10 * DOLLAR)
    grant(owner, "credit", amount=100 * DOLLAR)
    grant(owner, "discount", percent=10)
    grant(None, "discount", percent=50, of="egress", valid_from=datetime(2026, 2, 1, tzinfo=UTC), note="half egress")
    grant(None, "free_tier", of="compute", quantity=4)
    assert taken(owner) == [
        ("free_tier", 4 * DOLLAR),
        ("discount", 1_600_000_000),  # a tenth of 6 and of 10
        ("half egress", 4_500_000_000),
        ("credit", 9_900_000_000),
    ]
    assert statement(owner).total == 0


def test_a_credit_is_used_up_over_the_months(workspace: Workspace, owner: User) -> None:
    for month in (8, 9, 10):
        used(workspace, "compute", 4 * DOLLAR, month=month)
    grant(owner, "credit", amount=10 * DOLLAR)
    assert [taken(owner, f"2026-{month:02d}")[0][1] for month in (8, 9, 10)] == [4 * DOLLAR, 4 * DOLLAR, 2 * DOLLAR]
    assert "$0.00 of $10.00 are left" in statement(owner).deductions[0].why
    assert statement(owner).total == 2 * DOLLAR


def test_what_runs_out_first_is_used_first(workspace: Workspace, owner: User) -> None:
    used(workspace, "compute", 4 * DOLLAR)
    grant(owner, "credit", amount=3 * DOLLAR, note="for good")
    grant(owner, "credit", amount=3 * DOLLAR, note="soon over", valid_to=datetime(2026, 10, 20, tzinfo=UTC))
    grant(owner, "credit", amount=3 * DOLLAR, note="over", valid_to=datetime(2026, 9, 20, tzinfo=UTC))
    grant(owner, "credit", amount=3 * DOLLAR, note="to come", valid_from=datetime(2026, 11, 1, tzinfo=UTC))
    assert taken(owner) == [("soon over", 3 * DOLLAR), ("for good", DOLLAR)]


def test_what_is_used_in_ones_own_account_is_paid_to_aws(workspace: Workspace, owner: User) -> None:
    used(workspace, "compute", 4 * DOLLAR)
    CloudAccount.objects.update(owner=owner)
    grant(owner, "credit", amount=3 * DOLLAR)
    assert taken(owner) == [("Your own cloud accounts", 4 * DOLLAR)]
    assert statement(owner).total == 0


def test_others_grants_are_others(workspace: Workspace, owner: User, outsider: User) -> None:
    used(workspace, "compute", 4 * DOLLAR)
    grant(outsider, "credit", amount=3 * DOLLAR)
    assert taken(owner) == []
    assert statement(outsider).used == 0


def test_a_new_account_gets_its_credit_once(owner: User, settings: Settings) -> None:
    assert trial_grant(owner=owner) is None
    settings.TRIAL_CREDIT = Decimal("12.50")
    made = trial_grant(owner=owner)
    assert made is not None
    assert made.amount == 12_500_000_000
    assert made.valid_to is not None
    assert trial_grant(owner=owner) is None


@pytest.mark.parametrize("name", ["2026-13", "2026-1", "1999-12", "9999-01", "x", "2026-10-01", "２０２６-10"])
def test_what_is_no_month_has_no_statement(name: str) -> None:
    with pytest.raises(NotFound):
        month_named(name)
