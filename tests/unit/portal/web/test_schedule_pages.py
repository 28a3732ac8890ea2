"""Pages of schedules: what is shown before saving, what became of slots, and every button."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.pipelines.models import Run, Script, ScriptVersion
from portal.schedules import firing
from portal.schedules.models import Fire, Schedule
from portal.schedules.services import schedule_create
from portal.schedules.targets import Target
from portal.schedules.timing import Timing
from portal.web.schedule_form import zones
from portal.workspaces.models import Secret, Workspace

from .conftest import WorkspaceMaker, assert_no_inline
from .test_query_counts import queries

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(workspace_made: WorkspaceMaker) -> Workspace:
    """Stopped: no cloud is asked for anything."""
    found = workspace_made("stopped")
    Secret.objects.create(workspace=found, name="API_KEY", changed_at=timezone.now())
    return found


@pytest.fixture
def schedule(owner: User, workspace: Workspace, version: ScriptVersion) -> Schedule:
    return schedule_create(
        owner=owner,
        name="Nightly",
        timing=Timing("cron", expression="30 2 * * *", zone="Europe/Berlin"),
        target=Target(
            "script", workspace=workspace.pk, script=version.script_id, arguments=["a b"], limits={"seconds": 9}
        ),
    )


@pytest.fixture
def typed(workspace: Workspace, version: ScriptVersion) -> dict[str, Any]:
    """What somebody typed into the form."""
    return {
        "name": "Nightly",
        "action": "script",
        "script": version.script_id,
        "workspace": workspace.pk,
        "arguments": "--day 'to day'",
        "environment": "LEVEL=info\n\nEMPTY=",
        "secrets": "API_KEY, API_KEY",
        "kind": "cron",
        "expression": "30 2 * * *",
        "every": "1",
        "unit": "hours",
        "zone": "Europe/Berlin",
        "missed": "run_once",
    }


def messages_of(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_an_empty_list_says_what_one_can_do(browser: Client) -> None:
    page = browser.get(reverse("schedule_list")).content.decode()
    assert "Schedule something" in page
    assert_no_inline(page)


def test_a_schedule_is_made_changed_and_deleted(browser: Client, typed: dict[str, Any]) -> None:
    answer = browser.post(reverse("schedule_new"), typed)
    made = Schedule.objects.get()
    assert answer.status_code == 302
    assert (made.arguments, made.environment) == (["--day", "to day"], {"LEVEL": "info", "EMPTY": ""})
    assert made.secrets == ["API_KEY"]
    assert (made.expression, made.zone, made.missed, made.at) == ("30 2 * * *", "Europe/Berlin", "run_once", None)

    edit = reverse("schedule_edit", args=[made.pk])
    form = browser.get(edit).content.decode()
    assert "--day &#x27;to day&#x27;" in form
    assert "LEVEL=info" in form
    assert_no_inline(form)
    changed = typed | {"name": "Early", "kind": "interval", "every": "2", "unit": "days"}
    assert browser.post(edit, changed).status_code == 302
    made.refresh_from_db()
    assert (made.name, made.kind, made.every, made.expression) == ("Early", "interval", 2, "")

    assert browser.post(reverse("schedule_delete", args=[made.pk])).status_code == 302
    assert not Schedule.objects.exists()


def test_a_page_that_changes_a_name_keeps_what_no_page_shows(
    browser: Client, schedule: Schedule, typed: dict[str, Any]
) -> None:
    before = schedule.next_at
    browser.post(reverse("schedule_edit", args=[schedule.pk]), typed | {"name": "Other"})
    schedule.refresh_from_db()
    assert (schedule.name, schedule.limits, schedule.next_at) == ("Other", {"seconds": 9}, before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expression": "0 0 31 2 *"}, "never due"),
        ({"zone": "Europe/Atlantis"}, "no time zone called"),
        ({"kind": "once", "at": "2020-01-01T00:00"}, "This has passed"),
        ({"kind": "once"}, "This field is required"),
        ({"kind": "interval", "every": ""}, "366 days"),
        ({"environment": "nonsense"}, "is not like name=value"),
        ({"secrets": "OTHER"}, "has no secret OTHER"),
        ({"arguments": "'open"}, "A quote is opened"),
        ({"name": ""}, "This field is required"),
        ({"script": "01hzzzzzzzzzzzzzzzzzzzzzzz"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_is_told_where_it_was_typed(
    browser: Client, typed: dict[str, Any], change: dict[str, str], said: str
) -> None:
    answer = browser.post(reverse("schedule_new"), typed | change)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Schedule.objects.exists()


def test_a_moment_is_one_on_the_clocks_of_the_chosen_zone(browser: Client, typed: dict[str, Any]) -> None:
    browser.post(reverse("schedule_new"), typed | {"kind": "once", "at": "2090-07-01T06:00:00"})
    made = Schedule.objects.get()
    assert made.next_at == datetime(2090, 7, 1, 4, tzinfo=UTC)
    assert 'value="2090-07-01T06:00:00"' in browser.get(reverse("schedule_edit", args=[made.pk])).content.decode()


def test_the_next_five_times_are_shown_before_saving(browser: Client, typed: dict[str, Any]) -> None:
    answer = browser.post(reverse("schedule_preview"), typed | {"expression": "30 2 25 10 *"})
    part = answer.content.decode()
    assert part.count("25 Oct") == 10  # five times, there and in UTC
    assert "02:30 +02:00" in part
    assert "00:30 UTC" in part
    assert_no_inline(part)
    never = browser.post(reverse("schedule_preview"), typed | {"expression": "0 0 30 2 *"}).content.decode()
    assert "never due" in never
    assert not Schedule.objects.exists()


def test_a_form_begins_with_what_one_came_from(browser: Client, version: ScriptVersion, workspace: Workspace) -> None:
    page = browser.get(f"{reverse('schedule_new')}?script={version.script_id}&workspace={workspace.pk}")
    assert page.content.decode().count("selected") >= 2


def test_a_page_shows_when_next_and_what_became_of_it(
    browser: Client, schedule: Schedule, workspace: Workspace
) -> None:
    now = timezone.now()
    run = Run.objects.create(owner=schedule.owner, workspace=workspace, name="x", state="failed", via="schedule")
    Fire.objects.create(schedule=schedule, due_at=now, state="fired", run=run)
    Fire.objects.create(
        schedule=schedule,
        due_at=now - timedelta(days=9),
        until=now - timedelta(days=2),
        slots=7,
        state="missed",
        why="Orca was not running then.",
    )
    Fire.objects.create(schedule=schedule, due_at=now - timedelta(days=1), state="refused", why="It is <b>busy</b>.")
    page = browser.get(reverse("schedule", args=[schedule.pk])).content.decode()
    for text in (
        "At 02:30 every day",
        "02:30 +0",
        "times missed",
        "It is &lt;b&gt;busy&lt;/b&gt;.",
        reverse("run", args=[run.pk]),
    ):
        assert text in page
    assert_no_inline(page)


def test_the_buttons_do_what_they_say(browser: Client, schedule: Schedule) -> None:
    browser.post(reverse("schedule_disable", args=[schedule.pk]))
    schedule.refresh_from_db()
    assert schedule.look == "off"
    browser.post(reverse("schedule_enable", args=[schedule.pk]))
    schedule.refresh_from_db()
    assert schedule.look == "on"
    answer = browser.post(reverse("schedule_run", args=[schedule.pk]))
    assert answer.headers["Location"] == reverse("run", args=[Run.objects.get().pk])


def test_a_schedule_of_what_is_gone_says_why_it_is_off(browser: Client, schedule: Schedule) -> None:
    Script.objects.update(archived_at=timezone.now())
    firing.schedules_check()
    page = browser.get(reverse("schedule", args=[schedule.pk])).content.decode()
    assert "The script Weather was archived." in page
    answer = browser.post(reverse("schedule_enable", args=[schedule.pk]))
    assert any("was archived" in text for text in messages_of(answer))
    answer = browser.post(reverse("schedule_run", args=[schedule.pk]))
    assert any("was archived" in text for text in messages_of(answer))
    assert not Run.objects.exists()


def test_the_list_and_the_workspace_show_what_comes(browser: Client, schedule: Schedule, workspace: Workspace) -> None:
    for address in (
        reverse("schedule_list"),
        f"{reverse('schedule_list')}?workspace={workspace.pk}",
        reverse("workspace", args=[workspace.pk]),
    ):
        page = browser.get(address).content.decode()
        assert "Nightly" in page, address
        assert_no_inline(page)
    assert "Nothing is scheduled there" in browser.get(f"{reverse('schedule_list')}?workspace=x").content.decode()


def test_the_zones_that_are_offered_are_ones_that_can_be_chosen() -> None:
    assert {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"} <= set(zones())


def test_no_page_and_no_list_asks_more_often_for_more(
    browser: Client, api: APIClient, owner: User, schedule: Schedule, workspace: Workspace, version: ScriptVersion
) -> None:
    pages = [
        reverse("schedule_list"),
        reverse("schedule", args=[schedule.pk]),
        reverse("workspace", args=[workspace.pk]),
    ]
    lists = [reverse("api_schedules"), reverse("api_schedule_fires", args=[schedule.pk])]

    def asked() -> dict[str, int]:
        return {page: len(queries(browser, page)) for page in pages} | {
            address: len(queries(api, address)) for address in lists
        }

    def grow(first: int, last: int) -> None:
        for number in range(first, last):
            other = schedule_create(
                owner=owner,
                name=f"other {number}",
                timing=Timing("interval", every=1, unit="days"),
                target=Target("script", workspace=workspace.pk, script=version.script_id),
            )
            for of in (schedule, other):
                run = Run.objects.create(owner=owner, workspace=workspace, name="x", state="failed", via="schedule")
                due_at = timezone.now() - timedelta(days=number)
                fire = Fire.objects.create(schedule=of, due_at=due_at, state="fired", run=run)
                Schedule.objects.filter(pk=of.pk).update(last_fire=fire)

    grow(0, 2)
    few = asked()
    grow(2, 20)
    assert asked() == few
    assert max(few.values()) <= 14, few
