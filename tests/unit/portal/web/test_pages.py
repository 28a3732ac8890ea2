"""Every page opens, in every state, for its owner; strangers are sent to the door; nothing is inline."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from portal.accounts.models import User
from portal.pipelines import selectors
from portal.pipelines.models import State
from portal.web import tasks_shown
from portal.workspaces.models import TerraformRun, Workspace

from .conftest import RunMaker, WorkspaceMaker, assert_no_inline, terraform_run_made


def shown(browser: Client, address: str) -> str:
    response = browser.get(address)
    assert response.status_code == 200, address
    html = response.content.decode()
    assert_no_inline(html)
    assert "script-src 'self';" in response.headers["Content-Security-Policy"]
    return html


def test_a_stranger_is_told_what_this_is(db: None) -> None:
    html = shown(Client(), "/")
    assert reverse("account_signup") in html


@pytest.mark.parametrize(
    "name", ["workspace_list", "workspace_new", "script_list", "script_new", "run_list", "notification_new", "account"]
)
def test_a_stranger_is_sent_to_the_door_and_back(db: None, name: str) -> None:
    address = reverse(name)
    response = Client().get(address)
    assert response.status_code == 302
    assert response.headers["Location"] == f"{reverse('account_login')}?next={address}"


@pytest.mark.parametrize("name", ["account_login", "account_signup", "account_reset_password"])
def test_the_pages_at_the_door(db: None, name: str) -> None:
    assert "<form" in shown(Client(), reverse(name))


@pytest.mark.parametrize("name", ["account_email", "account_change_password", "mfa_index"])
def test_the_pages_that_allauth_brings_wear_our_clothes(browser: Client, name: str) -> None:
    assert 'class="rail ' in shown(browser, reverse(name))


def test_a_newcomer_is_led_step_by_step(browser: Client) -> None:
    html = shown(browser, "/")
    assert "First steps" in html
    assert html.count('class="next"') == 1
    for name, empty in (
        ("workspace_list", "No workspace yet"),
        ("script_list", "No script yet"),
        ("run_list", "Nothing"),
    ):
        assert empty in shown(browser, reverse(name))


def test_the_steps_are_gone_once_they_are_done(browser: Client, run_made: RunMaker, owner: User) -> None:
    run_made()
    assert 'class="next"' in shown(browser, "/")
    owner.ssh_keys.create(name="k", key_type="t", public_key="t x", fingerprint="f")
    assert "First steps" not in shown(browser, "/")


def test_who_waits_for_approval_is_told_so(browser: Client, settings: Settings) -> None:
    assert "waits for approval" not in shown(browser, "/")
    settings.SIGNUP_APPROVAL = True
    assert "waits for approval" in shown(browser, "/")


@pytest.mark.parametrize("state", Workspace.State.values)
def test_a_workspace_in_every_state(browser: Client, workspace_made: WorkspaceMaker, state: str) -> None:
    workspace = workspace_made(state, name="Glacier")
    for address in (reverse("workspace", args=[workspace.pk]), reverse("workspace_list"), "/"):
        assert "Glacier" in shown(browser, address)


@pytest.mark.parametrize("state", TerraformRun.State.values)
def test_a_terraform_run_in_every_state(browser: Client, workspace: Workspace, state: str) -> None:
    run = terraform_run_made(workspace, state, error_message="No capacity.", error_hint="Try later.")
    for address in (reverse("terraform_run", args=[run.pk]), reverse("workspace", args=[workspace.pk])):
        html = shown(browser, address)
        assert ("No capacity." in html) == (state == "failed")
        assert ("Yes, apply this plan" in html) == (state == "planned")


@pytest.mark.parametrize("state", State.values)
def test_a_run_in_every_state(browser: Client, run_made: RunMaker, state: str) -> None:
    run = run_made(state, message="What happened.")
    html = shown(browser, reverse("run", args=[run.pk]))
    ended = run.is_final
    assert ("Run again" in html) == ended
    assert (reverse("run_live", args=[run.pk]) in html) == (not ended)
    assert ("What happened." in html) == (state in {"failed", "lost", "timed_out", "cancelled"})
    shown(browser, reverse("run_list"))
    shown(browser, "/")


def test_names_are_never_taken_for_markup(browser: Client, workspace_made: WorkspaceMaker, run_made: RunMaker) -> None:
    evil = "<img src=x onerror=alert(1)>"
    workspace = workspace_made("failed", name=evil, state_reason=evil)
    run = run_made(
        "failed",
        name=evil,
        message=evil,
        lines=[["out", evil]],
        arguments=[evil],
        environment={"A": evil},
        outputs=[{"path": evil, "size": 1, "content_type": "text/plain"}],
    )
    for address in ("/", reverse("workspace", args=[workspace.pk]), reverse("run", args=[run.pk]), reverse("run_list")):
        html = browser.get(address).content.decode()
        assert "&lt;img" in html
        assert "<img src=x" not in html


def turned(browser: Client, html: str, to: str) -> str:
    """The page that "Older" (``next``) or "Newer" (``prev``) leads to."""
    link = re.search(rf'<a [^>]*href="([^"]+)"[^>]*rel="{to}"', html)
    assert link, f"no link {to}"
    return shown(browser, reverse("run_list") + unescape(link.group(1)))


def names(html: str) -> list[str]:
    return re.findall(r">(Run \d\d)<", html)


def test_the_newest_runs_come_first_and_pages_reach_all(browser: Client, run_made: RunMaker) -> None:
    for number in range(60):
        run_made(name=f"Run {number:02}")
    every = [f"Run {number:02}" for number in reversed(range(60))]
    first = shown(browser, reverse("run_list"))
    second = turned(browser, first, "next")
    third = turned(browser, second, "next")
    assert [*names(first), *names(second), *names(third)] == every
    assert 'rel="prev"' not in first
    assert 'rel="next"' not in third
    assert "60 runs" in second
    assert names(turned(browser, third, "prev")) == names(second)
    back = turned(browser, second, "prev")
    assert names(back) == names(first)
    assert 'rel="prev"' not in back


def test_a_page_stays_where_it_is_when_runs_are_added(browser: Client, run_made: RunMaker) -> None:
    for number in range(30):
        run_made(name=f"Run {number:02}")
    first = shown(browser, reverse("run_list"))
    run_made(name="Run 99")
    second = turned(browser, first, "next")
    assert names(second) == [f"Run {number:02}" for number in (4, 3, 2, 1, 0)]
    back = turned(browser, second, "prev")
    assert names(back)[0] == "Run 29"
    assert names(turned(browser, back, "prev"))[:2] == ["Run 99", "Run 29"]


@pytest.mark.parametrize("mark", ["nonsense", "1", "-", "99999999999999999999-" + "a" * 26, "1-" + "a" * 26])
def test_a_mark_that_leads_nowhere_is_no_error(browser: Client, run_made: RunMaker, mark: str) -> None:
    run_made(name="Run 01")
    for name in ("before", "after"):
        assert browser.get(reverse("run_list"), {name: mark}).status_code == 200
    assert names(shown(browser, f"{reverse('run_list')}?after={mark}")) == ["Run 01"]


def test_counting_ends(browser: Client, run_made: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (selectors, tasks_shown):
        monkeypatch.setattr(module, "COUNTED", 28)
    for number in range(30):
        run_made(name=f"Run {number:02}")
    assert "more than 28 runs" in shown(browser, reverse("run_list"))


def test_runs_are_filtered(browser: Client, run_made: RunMaker) -> None:
    run_made("failed", name="Broken one")
    run_made("succeeded", name="Good one")
    listed = reverse("run_list")
    assert "Good one" not in shown(browser, f"{listed}?state=failed")
    assert "Broken one" not in shown(browser, f"{listed}?q=good")
    assert "Nothing fits" in shown(browser, f"{listed}?state=lost")
    assert "Good one" in shown(browser, f"{listed}?state=nonsense")
