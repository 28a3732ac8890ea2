"""Mails say what failed, with the end of the log and a link, to addresses that are their reader's own."""

from __future__ import annotations

import smtplib
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.utils import timezone

from portal.accounts.models import User
from portal.core.errors import Invalid
from portal.notices import outbox, services
from portal.notices.models import Notice, Subscription
from portal.notices.sending import notices_send
from portal.pipelines.models import Pipeline, Run

from .conftest import PipelineMaker, RunMaker, SubscriptionMaker, due_again, notice

pytestmark = pytest.mark.django_db


def test_a_failure_is_told_with_the_end_of_its_log(mailed: SubscriptionMaker, run_made: RunMaker, owner: User) -> None:
    made = mailed()
    lines = [["out", f"line {n}"] for n in range(100)] + [["err", "<b>no disk</b>"]]
    run = run_made(
        "failed", name="Weather\r\nBcc: all@example.org", lines=lines, exit_code=3, message="It exited with 3."
    )
    outbox.run_ended_note(run=run)
    assert notices_send() == 1
    (sent,) = mail.outbox
    assert isinstance(sent, EmailMultiAlternatives)
    assert sent.to == [owner.email]
    assert sent.subject == "[Orca] Weather Bcc: all@example.org failed"
    text = str(sent.body)
    assert f"{settings.PUBLIC_URL}/runs/{run.pk}/" in text
    assert f"{settings.PUBLIC_URL}/notifications/{made.pk}/" in text
    assert "exit code 3" in text and "It exited with 3." in text
    assert "    <b>no disk</b>" in text and "line 99" in text and "line 50" not in text
    html = str(sent.alternatives[0][0])
    assert "&lt;b&gt;no disk&lt;/b&gt;" in html and "<b>no disk" not in html
    assert notice().pk in sent.extra_headers["Message-ID"]
    assert notice().state == "sent"


def test_a_thousand_failures_do_not_fill_a_mailbox(mailed: SubscriptionMaker, run_made: RunMaker) -> None:
    mailed()
    for number in range(70):
        outbox.run_ended_note(run=run_made("failed", name=f"Run {number}.", lines=[["err", f"broken {number}"]]))
    notices_send()
    assert len(mail.outbox) <= 4
    assert Notice.objects.filter(state="sent").count() == 70
    texts = "".join(str(sent.body) for sent in mail.outbox)
    for number in range(70):
        assert texts.count(f"Run {number}. failed.") == 1
        assert texts.count(f"broken {number}\n") == 1
    assert "Run 0. failed, and " in mail.outbox[0].subject
    assert len({sent.extra_headers["Message-ID"] for sent in mail.outbox}) == len(mail.outbox)


def test_what_goes_together_is_tried_again_together_or_apart(
    mailed: SubscriptionMaker, run_made: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailed()
    for _ in range(3):
        outbox.run_ended_note(run=run_made("failed"))
    server = MailServer(monkeypatch)
    server.error = ConnectionRefusedError("nobody there")
    notices_send()
    assert Notice.objects.filter(state="waiting", next_try_at__gt=timezone.now()).count() == 3
    server.error = None
    Notice.objects.update(next_try_at=timezone.now())
    notices_send()
    assert Notice.objects.filter(state="sent").count() == 3


def test_a_success_is_short(mailed: SubscriptionMaker, run_made: RunMaker) -> None:
    mailed()
    outbox.run_ended_note(run=run_made("succeeded", lines=[["out", "secret work"]]))
    notices_send()
    assert mail.outbox[0].subject == "[Orca] Weather succeeded"
    assert "secret work" not in str(mail.outbox[0].body)


def test_what_is_late_and_what_did_not_run_say_why(
    mailed: SubscriptionMaker, run_made: RunMaker, pipeline_made: PipelineMaker
) -> None:
    mailed(on=["late", "did_not_run"], late_minutes=30, silent_hours=2)
    run_made("running", lines=[["out", "still at it"]])
    Run.objects.update(created_at=timezone.now() - timedelta(hours=1))
    pipeline_made()
    Pipeline.objects.update(created_at=timezone.now() - timedelta(hours=9))
    Subscription.objects.update(created_at=timezone.now() - timedelta(hours=9))
    assert outbox.absences_note() == 2
    notices_send()
    texts = "".join(str(sent.body) for sent in mail.outbox)
    assert "30 minutes after it was asked for" in texts and "still at it" in texts
    assert "nightly has not run well for 2 hours." in texts


def test_only_a_verified_address_of_ones_own_is_taken(mailed: SubscriptionMaker, owner: User, outsider: User) -> None:
    EmailAddress.objects.create(user=owner, email="new@example.org", verified=False)
    for address in (outsider.email, "new@example.org", "x@example.org", ""):
        with pytest.raises(Invalid) as raised:
            mailed(address=address)
        assert "address" in raised.value.fields
        assert outsider.email not in raised.value.fields["address"]
    EmailAddress.objects.update(verified=True)
    assert mailed(address="NEW@example.org").address == "new@example.org"


def test_an_address_that_is_ones_own_no_more_gets_nothing(
    mailed: SubscriptionMaker, run_made: RunMaker, owner: User
) -> None:
    mailed()
    outbox.run_ended_note(run=run_made("failed"))
    EmailAddress.objects.filter(user=owner).update(email="other@example.org")
    notices_send()
    assert not mail.outbox
    assert (notice().state, "verified" in notice().error) == ("failed", True)


class MailServer:
    """Refuses as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        real = EmailMultiAlternatives.send

        def send(message: EmailMultiAlternatives, *rest: Any, **more: Any) -> int:
            if self.error is not None:
                raise self.error
            return real(message, *rest, **more)

        monkeypatch.setattr(EmailMultiAlternatives, "send", send)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ConnectionRefusedError("nobody there"), "waiting"),
        (smtplib.SMTPServerDisconnected("gone"), "waiting"),
        (smtplib.SMTPRecipientsRefused({"a@example.org": (451, b"later")}), "waiting"),
        (smtplib.SMTPRecipientsRefused({"a@example.org": (550, b"unknown")}), "failed"),
    ],
)
def test_a_mail_server_that_refuses(
    mailed: SubscriptionMaker, run_made: RunMaker, monkeypatch: pytest.MonkeyPatch, error: Exception, state: str
) -> None:
    mailed()
    outbox.run_ended_note(run=run_made("failed"))
    server = MailServer(monkeypatch)
    server.error = error
    notices_send()
    assert notice().state == state
    assert notice().error
    if state == "waiting":
        server.error = None
        due_again()
        notices_send()
        assert (notice().state, notice().tries, len(mail.outbox)) == ("sent", 2, 1)


def test_a_test_is_tried_once_and_says_how_it_went(
    mailed: SubscriptionMaker, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = mailed(enabled=False)
    MailServer(monkeypatch).error = ConnectionRefusedError("nobody there")
    services.trial_create(subscription=subscription, by=owner)
    notices_send()
    assert Notice.objects.get().state == "failed"
    assert "nobody there" in Notice.objects.get().error
    assert Subscription.objects.count() == 1
