"""Operators see the notices that are stuck because of Orca, and send them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from portal.accounts.models import User
from portal.notices import outbox
from portal.notices.attention import stuck_notices
from portal.notices.models import Notice
from portal.notices.sending import notices_send
from tests.people import browser_of

from .conftest import Receiver, RunMaker, SubscriptionMaker, notice

pytestmark = pytest.mark.django_db
PAGE = "/admin/attention/"


@pytest.fixture
def operator(db: None) -> Client:
    return browser_of(User.objects.create_superuser("op@example.org", "x"))


def aged() -> None:
    Notice.objects.update(
        created_at=timezone.now() - timedelta(minutes=11), next_try_at=timezone.now() - timedelta(minutes=11)
    )


def test_what_nobody_sends_is_a_concern_and_the_button_sends_it(
    operator: Client, mailed: SubscriptionMaker, run_made: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.pipelines.attention._events", lambda: iter(()))
    mailed()
    outbox.run_ended_note(run=run_made("failed"))
    assert not list(stuck_notices())
    aged()
    page = operator.get(PAGE).content.decode()
    assert "Notice “Weather failed” is not sent" in page
    assert "does a worker run" in page
    operator.post(PAGE, {"kind": "notice", "id": notice().pk})
    assert (notice().state, len(mail.outbox)) == ("sent", 1)
    assert not list(stuck_notices())


def test_a_mail_that_was_given_up_is_one_and_a_dead_webhook_is_not(
    mailed: SubscriptionMaker, hook: SubscriptionMaker, run_made: RunMaker, receiver: Receiver
) -> None:
    mailed()
    hook()
    receiver.answer(404)
    outbox.run_ended_note(run=run_made("failed"))
    notices_send()
    Notice.objects.filter(subscription__channel="email").update(state="failed", error="The mail server is down.")
    (concern,) = stuck_notices()
    assert concern.why == "The mail server is down."
    assert "given up" in concern.what


def test_the_admin_shows_no_secret(operator: Client, hook: SubscriptionMaker) -> None:
    made = hook()
    page = operator.get(f"/admin/notices/subscription/{made.pk}/change/").content.decode()
    assert made.secret not in page
    assert made.address in page
