"""Pages of notifications: what was typed comes back, secrets are shown once, tests say how they went."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse
from playwright.sync_api import expect
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.notices import outbox, services
from portal.notices.models import Notice, Subscription
from portal.notices.sending import notices_send
from portal.pipelines.models import ScriptVersion
from tests.fixtures.windows import WindowMaker, chromium, served, window
from tests.unit.portal.notices.conftest import (
    PipelineMaker,
    Receiver,
    SubscriptionMaker,
    _laptop,
    hook,
    mailed,
    pipeline_made,
    receiver,
)

from .conftest import RunMaker, assert_no_inline
from .test_query_counts import queries

__all__ = ["_laptop", "chromium", "hook", "mailed", "pipeline_made", "receiver", "served", "window"]
pytestmark = pytest.mark.django_db
FORM = {"name": "Operations", "on": ["failure", "late"], "late_minutes": "30", "silent_hours": "", "everything": "yes"}


def shown(browser: Client, address: str) -> str:
    answer = browser.get(address)
    assert answer.status_code == 200
    html = str(answer.content.decode())
    assert_no_inline(html)
    return html


def test_a_mail_is_made_and_changed(browser: Client, owner: User, pipeline_made: PipelineMaker) -> None:
    pipeline = pipeline_made()
    assert "Nobody is told yet" in shown(browser, reverse("notification_list"))
    assert owner.email in shown(browser, reverse("notification_new"))
    browser.post(reverse("notification_new"), FORM | {"channel": "email", "email": owner.email})
    made = Subscription.objects.get()
    assert (made.on, made.address, made.late_minutes, made.everything) == (["failure", "late"], owner.email, 30, True)
    assert "Operations" in shown(browser, reverse("notification_list"))
    edit = reverse("notification_edit", args=[made.pk])
    assert 'value="30"' in shown(browser, edit)
    changed = FORM | {"email": owner.email, "on": ["did_not_run"], "silent_hours": "26", "everything": "no"}
    browser.post(edit, changed | {"pipelines": [pipeline.pk]})
    made.refresh_from_db()
    assert (made.on, made.silent_hours, made.pipelines, made.everything) == (["did_not_run"], 26, [pipeline.pk], False)
    html = shown(browser, reverse("notification", args=[made.pk]))
    assert "26 hours" in html and "nightly" in html


def test_the_secret_of_a_webhook_is_shown_once(browser: Client, receiver: Receiver) -> None:
    answer = browser.post(reverse("notification_new"), FORM | {"channel": "webhook", "url": receiver.url})
    html = answer.content.decode()
    made = Subscription.objects.get()
    assert answer["Cache-Control"] == "no-store"
    assert services.secret_of(owner=made.owner, subscription_id=made.pk) in html
    assert_no_inline(html)
    assert "whsec_" not in shown(browser, reverse("notification", args=[made.pk]))
    html = browser.post(reverse("notification_secret", args=[made.pk])).content.decode()
    made.refresh_from_db()
    assert services.secret_of(owner=made.owner, subscription_id=made.pk) in html
    assert "signs too for a day" in html


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url": "ftp://example.org/"}, "begins with https://"),
        ({"url": ""}, "begins with https://"),
        ({"on": []}, "Choose at least one."),
        ({"late_minutes": "0"}, "greater than or equal to 1"),
        ({"everything": "no"}, "Choose scripts or pipelines"),
        ({"name": " "}, "required"),
        ({"channel": "pigeon"}, "pigeon"),
        ({"everything": "no", "scripts": ["01arz3ndektsv4rrffq69g5fav"]}, "01arz3ndektsv4rrffq69g5fav"),
    ],
)
def test_what_cannot_be_is_said_beside_what_was_typed(
    browser: Client, receiver: Receiver, wrong: dict[str, Any], said: str
) -> None:
    answer = browser.post(reverse("notification_new"), FORM | {"channel": "webhook", "url": receiver.url} | wrong)
    assert answer.status_code == 422
    html = answer.content.decode()
    assert said in html
    assert wrong.get("name") is not None or "Operations" in html
    assert not Subscription.objects.exists()


def test_a_test_says_how_it_went(browser: Client, hook: SubscriptionMaker, receiver: Receiver) -> None:
    test = reverse("notification_test", args=[hook().pk])
    assert "answered 204" in browser.post(test, follow=True).content.decode()
    receiver.answer(500)
    html = browser.post(test, follow=True).content.decode()
    assert "The test did not arrive. It answered 500." in html
    assert html.count("A test of your notifications") >= 2


def test_a_mail_is_tested_too(browser: Client, mailed: SubscriptionMaker) -> None:
    html = browser.post(reverse("notification_test", args=[mailed().pk]), follow=True).content.decode()
    assert "The mail server took the test" in html
    assert len(mail.outbox) == 1


def test_what_was_given_up_is_sent_again(
    browser: Client, hook: SubscriptionMaker, receiver: Receiver, run_made: RunMaker
) -> None:
    made = hook()
    outbox.run_ended_note(run=run_made("failed", lines=[["err", "<script>alert(1)</script>"]]))
    receiver.answer(404, 204)
    notices_send()
    assert "did not arrive" in shown(browser, reverse("notification_list"))
    html = shown(browser, reverse("notification", args=[made.pk]))
    assert "It answered 404." in html and "Send again" in html and "&lt;script&gt;" in html
    browser.post(reverse("delivery_again", args=[made.pk, Notice.objects.get().pk]))
    notices_send()
    assert "answered 204" in shown(browser, reverse("notification", args=[made.pk]))
    assert "did not arrive" not in shown(browser, reverse("notification_list"))


def test_it_is_switched_off_and_on_and_deleted(browser: Client, hook: SubscriptionMaker, receiver: Receiver) -> None:
    made = hook()
    switch = reverse("notification_switch", args=[made.pk])
    browser.post(switch, {"enabled": "no"})
    assert "Nothing is sent there." in shown(browser, reverse("notification", args=[made.pk]))
    Subscription.objects.update(disabled_why="It answered 410: it wants no more notices.")
    assert "it wants no more" in shown(browser, reverse("notification", args=[made.pk]))
    browser.post(switch, {"enabled": "yes"})
    assert Subscription.objects.get().enabled
    browser.post(reverse("notification_delete", args=[made.pk]))
    assert not Subscription.objects.exists()


def test_more_notices_and_notifications_cost_no_more_questions(
    browser: Client, api: APIClient, hook: SubscriptionMaker, run_made: RunMaker
) -> None:
    def grown() -> None:
        made = hook()
        for _ in range(9):
            outbox.run_ended_note(run=run_made("failed", lines=[["err", "no disk"]]))
        notices_send()
        pages[1] = reverse("notification", args=[made.pk])
        lists[1] = reverse("api_notification_deliveries", args=[made.pk])

    pages, lists = [reverse("notification_list"), ""], [reverse("api_notifications"), ""]
    grown()
    few = [len(queries(browser, page)) for page in pages] + [len(queries(api, address)) for address in lists]
    grown()
    many = [len(queries(browser, page)) for page in pages] + [len(queries(api, address)) for address in lists]
    assert many == few
    assert max(few) <= 8


def test_the_account_leads_there(browser: Client) -> None:
    assert reverse("notification_list") in shown(browser, reverse("account"))


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_by_hand_in_a_browser(
    window: WindowMaker, receiver: Receiver, version: ScriptVersion, run_made: RunMaker, tmp_path_factory: Any
) -> None:
    for width in (1280, 390):
        with window(width=width) as w:
            page = w.open(reverse("notification_new"))
            page.get_by_label("Name", exact=True).fill("Operations")
            expect(page.locator(".for-email select")).to_be_visible()
            page.get_by_text("to a program of yours").click()
            expect(page.locator(".for-email select")).not_to_be_visible()
            page.locator(".for-webhook input").fill(receiver.url)
            expect(page.get_by_label("Late after, in minutes")).not_to_be_visible()
            page.get_by_label("A run is late").check()
            page.get_by_label("Late after, in minutes").fill("15")
            page.get_by_label("Those of what I choose").check()
            page.get_by_label("Weather").check()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.get_by_role("button", name="Tell me").click()
            expect(page.locator("#new-secret")).to_contain_text("whsec_")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.get_by_role("button", name="Send a test").click()
            expect(page.get_by_text("The receiver took the test and answered 204.")).to_be_visible()
            run = run_made("failed", name=f"Weather {width}", lines=[["err", "no disk"]])
            outbox.run_ended_note(run=run)
            notices_send()
            expect(page.get_by_role("link", name=f"Weather {width} failed")).to_be_visible()
            page.locator("#deliveries .now", has_text=f"Weather {width} failed").locator("summary").click()
            expect(page.get_by_text("no disk")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.get_by_role("button", name="Delete").click()
            page.get_by_role("button", name="Delete it").click()
            expect(page.get_by_text("The notification is gone.")).to_be_visible()
    assert not Subscription.objects.exists()
