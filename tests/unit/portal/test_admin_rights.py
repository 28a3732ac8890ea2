"""What staff may do in the administration pages goes by their rights, not by being let in."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from portal.accounts.models import User
from portal.core.admin import LookOnly
from portal.workspaces.models import TerraformRun, Workspace
from tests.people import PASSWORD, browser_of
from tests.unit.portal.web.conftest import WorkspaceMaker, account, workspace_made

__all__ = ["account", "workspace_made"]
ATTENTION = "/admin/attention/"
pytestmark = pytest.mark.django_db


def staff(*rights: str) -> Client:
    """The browser of somebody who may open the administration pages, with these rights (``view``, ``change``)."""
    user = User.objects.create_user("staff@example.org", PASSWORD, is_staff=True)
    for right in rights:
        user.user_permissions.add(*Permission.objects.filter(codename__startswith=f"{right}_"))
    return browser_of(user)


@pytest.fixture
def broken(workspace_made: WorkspaceMaker) -> Workspace:
    """A workspace that needs attention."""
    return workspace_made("failed", state_reason="No machines left.")


def act(browser: Client, page: str, action: str, *rows: Any) -> None:
    browser.post(reverse(page), {"action": action, "_selected_action": [row.pk for row in rows]})


def test_every_action_asks_for_a_right() -> None:
    ours: list[Any] = [page for page in admin.site._registry.values() if type(page).__module__.startswith("portal.")]
    actions = [(type(page).__name__, *action[:2]) for page in ours for action in page._get_base_actions()]
    assert len(actions) > 10
    assert [(page, name) for page, act, name in actions if not getattr(act, "allowed_permissions", None)] == []


@pytest.mark.parametrize("page", [p for p in admin.site._registry.values() if isinstance(p, LookOnly)], ids=str)
def test_what_the_machinery_writes_nobody_writes_or_deletes(page: LookOnly, rf: Any) -> None:
    request = rf.get("/")
    request.user = User(is_staff=True, is_superuser=True, is_active=True)
    assert page.has_view_permission(request)
    assert not page.has_add_permission(request)
    assert not page.has_change_permission(request)
    assert not page.has_delete_permission(request)
    assert page.has_operate_permission(request)


def test_a_run_that_holds_a_lock_is_not_deleted(broken: Workspace) -> None:
    run = TerraformRun.objects.create(workspace=broken, operation="apply", state="applying")
    Workspace.objects.update(active_run=run)
    office = browser_of(User.objects.create_superuser("root@example.org", PASSWORD))
    delete = reverse("admin:workspaces_terraformrun_delete", args=[run.pk])
    assert office.post(delete, {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [run.pk], "post": "yes"}
    office.post(reverse("admin:workspaces_terraformrun_changelist"), chosen)
    assert Workspace.objects.get().active_run == run


def test_who_may_look_only_looks(broken: Workspace) -> None:
    looker = staff("view")
    html = looker.get(ATTENTION).content.decode()
    assert "No machines left." in html
    assert "Apply again" not in html
    refused = looker.post(ATTENTION, {"kind": "workspace", "id": broken.pk}, follow=True).content.decode()
    assert "no such concern" in refused
    act(looker, "admin:workspaces_workspace_changelist", "destroy_keep_data", broken)
    assert not TerraformRun.objects.exists()
    run = TerraformRun.objects.create(workspace=broken, operation="destroy", state="failed")
    act(looker, "admin:workspaces_terraformrun_changelist", "run_again", run)
    assert TerraformRun.objects.count() == 1


def test_who_may_change_mends(broken: Workspace) -> None:
    operator = staff("view", "change")
    assert "Apply again" in operator.get(ATTENTION).content.decode()
    operator.post(ATTENTION, {"kind": "workspace", "id": broken.pk})
    run = TerraformRun.objects.get()
    assert run.operation == "apply"
    act(operator, "admin:workspaces_terraformrun_changelist", "cancel", run)
    run.refresh_from_db()
    assert run.state == "cancelled"


def test_staff_without_a_right_learn_nothing(broken: Workspace) -> None:
    stranger = staff()
    html = stranger.get(ATTENTION).content.decode()
    assert broken.owner.email not in html
    assert "No machines left." not in html
    stranger.post(ATTENTION, {"kind": "workspace", "id": broken.pk})
    assert not TerraformRun.objects.exists()
