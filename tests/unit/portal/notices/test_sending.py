"""Notices arrive: signed, at least once and known by their id, tried for a day, given up for a reason."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from portal.accounts.models import User
from portal.core.errors import Conflict
from portal.gateways.webhook import Undelivered, post
from portal.notices import outbox, sending, services
from portal.notices.models import GIVEN_UP_AFTER, Notice, Subscription
from portal.notices.sending import notices_send, verdict
from portal.pipelines.models import Run

from .conftest import Heard, Receiver, RunMaker, SubscriptionMaker, due_again, notice

pytestmark = pytest.mark.django_db


@pytest.fixture
def told(hook: SubscriptionMaker, run_made: RunMaker, owner: User) -> tuple[Subscription, str]:
    """A webhook with a notice of a failed run, and its secret."""
    made = hook()
    outbox.run_ended_note(run=run_made("failed", lines=[["err", "no disk"]], exit_code=3, message="It exited with 3."))
    return made, services.secret_of(owner=owner, subscription_id=made.pk)


def verified(heard: Heard, secret: str) -> Any:
    """The body, its signature checked by the specification's own library."""
    return Webhook(secret).verify(heard.body, heard.headers)


def test_what_arrives_is_signed_and_says_all(told: tuple[Subscription, str], receiver: Receiver) -> None:
    subscription, secret = told
    assert notices_send() == 1
    body = verified(receiver.heard[0], secret)
    assert body["type"] == "run.failed"
    assert body["data"]["run"]["state"] == "failed"
    assert body["data"]["run"]["url"].endswith(f"/runs/{Run.objects.get().pk}/")
    assert body["data"]["notification"]["id"] == subscription.pk
    (step,) = body["data"]["steps"]
    assert (step["exit_code"], step["message"], step["log"]) == (3, "It exited with 3.", ["no disk"])
    assert receiver.heard[0].headers["webhook-id"] == notice().pk
    assert receiver.heard[0].headers["content-type"] == "application/json"
    assert (notice().state, notice().status, notice().tries) == ("sent", 204, 1)
    assert notices_send() == 0


def test_another_secret_or_a_changed_body_does_not_pass(told: tuple[Subscription, str], receiver: Receiver) -> None:
    notices_send()
    heard = receiver.heard[0]
    other = "whsec_" + "A" * 32
    with pytest.raises(WebhookVerificationError):
        verified(heard, other)
    with pytest.raises(WebhookVerificationError):
        verified(Heard(heard.path, heard.headers, heard.body.replace("failed", "passed")), told[1])


def test_a_new_secret_signs_beside_the_old_one_for_a_day(
    told: tuple[Subscription, str], receiver: Receiver, owner: User
) -> None:
    subscription, before = told
    after = services.secret_rotate(subscription=subscription, by=owner)
    notices_send()
    assert verified(receiver.heard[0], before) == verified(receiver.heard[0], after)
    Subscription.objects.update(secret_changed_at=timezone.now() - timedelta(hours=25))
    services.notice_again(notice=notice(), by=owner)
    notices_send()
    verified(receiver.heard[1], after)
    with pytest.raises(WebhookVerificationError):
        verified(receiver.heard[1], before)


def test_the_database_holds_no_secret_in_clear(told: tuple[Subscription, str]) -> None:
    subscription, secret = told
    kept = Subscription.objects.get().secret
    assert secret not in kept and secret.removeprefix("whsec_") not in kept
    subscription.refresh_from_db()


def test_a_receiver_that_fails_is_tried_again_with_the_same_id_and_body(
    told: tuple[Subscription, str], receiver: Receiver
) -> None:
    receiver.answer(500, 503, 204)
    waits = []
    for _ in range(2):
        notices_send()
        assert (notice().state, notices_send()) == ("waiting", 0)
        waits.append((notice().next_try_at - timezone.now()).total_seconds())
        Run.objects.update(name="renamed meanwhile")
        due_again()
    notices_send()
    assert (notice().state, notice().tries, notice().error) == ("sent", 3, "")
    assert 3 < waits[0] < 6 and 25 < waits[1] < 34
    assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 1
    assert len({heard.body for heard in receiver.heard}) == 1
    verified(receiver.heard[2], told[1])


def test_it_is_tried_for_about_a_day(told: tuple[Subscription, str], receiver: Receiver) -> None:
    receiver.answer(503)
    made = notice().created_at
    gone, tries = timedelta(0), 0
    while notice().state == "waiting":
        Notice.objects.update(give_up_at=made + GIVEN_UP_AFTER - gone)
        due_again()
        assert notices_send() == 1
        tries += 1
        gone += notice().next_try_at - timezone.now()
        assert tries < 20
    assert (notice().state, notice().status) == ("failed", 503)
    assert 8 <= tries <= 12
    assert timedelta(hours=16) < gone < timedelta(hours=26)


def test_a_receiver_says_how_long_to_leave_it_alone(told: tuple[Subscription, str], receiver: Receiver) -> None:
    receiver.answer(429, Retry_After="1800")
    notices_send()
    assert 1790 < (notice().next_try_at - timezone.now()).total_seconds() <= 1801


def test_a_receiver_that_is_busy_is_not_knocked_at_for_each_notice(
    told: tuple[Subscription, str], receiver: Receiver, run_made: RunMaker
) -> None:
    for _ in range(5):
        outbox.run_ended_note(run=run_made("failed"))
    receiver.answer(503)
    assert notices_send() <= sending.AT_ONCE_FOR_ONE + 1
    assert Notice.objects.filter(state="waiting", next_try_at__gt=timezone.now()).count() == 6


@pytest.mark.parametrize(("status", "said"), [(404, "404"), (400, "400"), (302, "final address")])
def test_what_will_not_be_better_is_given_up(
    told: tuple[Subscription, str], receiver: Receiver, status: int, said: str
) -> None:
    receiver.answer(status, Location="http://127.0.0.1:1/")
    notices_send()
    assert (notice().state, notice().tries) == ("failed", 1)
    assert said in notice().error
    assert notice().subscription.enabled
    assert len(receiver.heard) == 1


def test_gone_switches_the_notification_off(
    told: tuple[Subscription, str], receiver: Receiver, run_made: RunMaker, owner: User
) -> None:
    receiver.answer(410)
    notices_send()
    subscription = Subscription.objects.get()
    assert not subscription.enabled
    assert "410" in subscription.disabled_why
    assert outbox.run_ended_note(run=run_made("failed")) == 0
    with pytest.raises(Conflict):
        services.notice_again(notice=notice(), by=owner)
    services.subscription_update(subscription=subscription, by=owner, enabled=True)
    assert Subscription.objects.get().disabled_why == ""


@pytest.mark.parametrize("status", [200, 201, 204, 299, 301, 399, 400, 404, 408, 410, 422, 429, 500, 502, 599])
def test_what_an_answer_means(status: int) -> None:
    found = verdict(status)
    assert (not found.error) == (status < 300)
    assert found.retryable == (status in {408, 429} or status >= 500)
    assert found.gone == (status == 410)


def test_who_hangs_keeps_nobody_else_waiting(
    hook: SubscriptionMaker, run_made: RunMaker, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "WITHIN", 3.0)
    arrived = threading.Event()
    real = post

    def slow(url: str, **given: Any) -> Any:
        if url.endswith("/hangs"):
            assert arrived.wait(10), "the other one waited for this one"
            raise Undelivered("It did not answer within 3 seconds.")
        answer = real(url, **given)
        arrived.set()
        return answer

    monkeypatch.setattr(sending, "post", slow)
    hook(address=receiver.url + "/hangs")
    for _ in range(4):
        outbox.run_ended_note(run=run_made("failed"))
    hook(address=receiver.url + "/quick", name="Quick")
    outbox.run_ended_note(run=run_made("failed"))
    notices_send()
    assert Notice.objects.get(subscription__name="Quick").state == "sent"
    assert not Notice.objects.filter(subscription__name="Hook", state="sent").exists()


def test_a_private_address_is_refused_where_it_is_not_allowed(
    told: tuple[Subscription, str], receiver: Receiver, settings: Any
) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = False
    notices_send()
    assert notice().state == "failed"
    assert "private network" in notice().error
    assert not receiver.heard


def test_a_sender_that_died_loses_its_claim(told: tuple[Subscription, str], receiver: Receiver) -> None:
    """It was killed after it had sent: the notice comes again, with the id that it came with."""
    (claimed,) = sending._claimed([notice().pk])
    way = sending._prepared(claimed)
    assert way is not None
    assert not sending._tried(way).error
    assert notices_send() == 0, "another's claim is respected"
    Notice.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert notices_send() == 1
    assert [heard.headers["webhook-id"] for heard in receiver.heard] == [notice().pk] * 2
    assert len({heard.body for heard in receiver.heard}) == 1
    assert notice().state == "sent"


def test_two_senders_claim_a_notice_once(told: tuple[Subscription, str]) -> None:
    assert len(sending._claimed([notice().pk])) == 1
    assert sending._claimed([notice().pk]) == []


def test_one_that_kills_its_sender_is_given_up_too(told: tuple[Subscription, str], receiver: Receiver) -> None:
    Notice.objects.update(tries=40, give_up_at=timezone.now() - timedelta(hours=1))
    notices_send()
    assert notice().state == "failed"
    assert not receiver.heard


def test_what_was_to_be_sent_is_not_once_it_is_switched_off(
    told: tuple[Subscription, str], receiver: Receiver, owner: User
) -> None:
    services.subscription_update(subscription=told[0], by=owner, enabled=False)
    notices_send()
    assert (notice().state, notice().error) == ("failed", "The notification is switched off.")
    assert not receiver.heard


def test_nor_to_who_may_not_log_in_any_more(told: tuple[Subscription, str], receiver: Receiver) -> None:
    User.objects.update(is_active=False)
    notices_send()
    assert notice().state == "failed"
    assert not receiver.heard


def test_a_fault_of_ours_is_a_try_and_stops_nobody(
    told: tuple[Subscription, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Notice) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(sending, "body_of", broken)
    with caplog.at_level(logging.CRITICAL):
        notices_send()
    assert notice().state == "waiting"
    assert "operator" in notice().error
    monkeypatch.undo()


def test_the_end_of_the_log_is_waited_for_a_moment(
    hook: SubscriptionMaker, run_made: RunMaker, receiver: Receiver
) -> None:
    hook()
    run = run_made("failed", lines=[["out", "begun"]])
    run.steps.update(log_lines=2)
    outbox.run_ended_note(run=run)
    notices_send()
    assert not receiver.heard
    assert notice().tries == 0
    Notice.objects.update(created_at=timezone.now() - sending.LOG_WAITED_FOR, next_try_at=timezone.now())
    notices_send()
    assert json.loads(receiver.heard[0].body)["data"]["steps"][0]["log"] == ["begun"]


def test_what_was_settled_long_ago_is_forgotten(told: tuple[Subscription, str]) -> None:
    Notice.objects.update(created_at=timezone.now() - sending.KEPT - timedelta(days=1))
    assert sending.notices_forget() == 0, "it still waits"
    Notice.objects.update(state="sent")
    assert sending.notices_forget() == 1


def test_sending_asks_the_database_little(
    told: tuple[Subscription, str], run_made: RunMaker, django_assert_max_num_queries: Any
) -> None:
    """Some for each notice, and none that grows with what waits."""
    assert connection.vendor in {"sqlite", "mysql"}
    with django_assert_max_num_queries(20):
        notices_send()
