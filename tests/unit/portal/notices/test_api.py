"""Notifications for programs: made, changed, tried, looked into, taken away."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.core import mail
from django.utils import timezone
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.core.models import IdempotencyKey
from portal.notices import outbox
from portal.notices.models import Notice, Subscription
from portal.notices.sending import notices_send

from .conftest import PipelineMaker, Receiver, RunMaker

pytestmark = pytest.mark.django_db
LIST = "/api/v1/notifications/"


def hook_of(receiver: Receiver, **more: Any) -> dict[str, Any]:
    return {"name": "Hook", "channel": "webhook", "address": receiver.url, "on": ["failure"], **more}


def made(api: APIClient, asked: dict[str, Any]) -> dict[str, Any]:
    answer = api.post(LIST, asked)
    assert answer.status_code == 201, answer.data
    return dict(answer.data)


def test_a_webhook_is_made_with_a_secret_that_is_shown_once(api: APIClient, receiver: Receiver) -> None:
    found = made(api, hook_of(receiver))
    assert found["secret"].startswith("whsec_")
    assert (found["on"], found["everything"], found["enabled"]) == (["failure"], True, True)
    for address in (LIST, f"{LIST}{found['id']}/"):
        assert "whsec_" not in api.get(address).content.decode()
    assert api.get(f"{LIST}{found['id']}/").json() == {k: v for k, v in found.items() if k != "secret"}


def test_asking_again_with_the_same_key_gives_the_same_and_keeps_no_secret(api: APIClient, receiver: Receiver) -> None:
    first = api.post(LIST, hook_of(receiver), headers={"Idempotency-Key": "once"})
    again = api.post(LIST, hook_of(receiver), headers={"Idempotency-Key": "once"})
    assert first.json() == again.json()
    assert Subscription.objects.count() == 1
    assert "whsec_" not in str(IdempotencyKey.objects.get().answer)


def test_a_mail_has_no_secret(api: APIClient, owner: User) -> None:
    found = made(api, {"name": "Mail", "channel": "email", "address": owner.email})
    assert (found["secret"], found["on"]) == ("", ["failure"])
    answer = api.post(f"{LIST}{found['id']}/secret/")
    assert (answer.status_code, answer.data["code"]) == (409, "no_secret")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"address": "ftp://example.org/"}, "address"),
        ({"address": "http://"}, "address"),
        ({"address": "http://user:password@example.org/"}, "address"),
        ({"address": "http://example.org:99999/"}, "address"),
        ({"address": "http://[::1/"}, "address"),
        ({"address": "http://169.254.169.254/latest"}, "address"),
        ({"address": "http://exa mple.org/"}, "address"),
        ({"address": "javascript:alert(1)"}, "address"),
        ({"name": "a\nb\x00"}, "name"),
        ({"on": ["weekend"]}, "on"),
        ({"on": []}, "on"),
        ({"late_minutes": 0}, "late_minutes"),
        ({"silent_hours": 99_999}, "silent_hours"),
        ({"scripts": ["01arz3ndektsv4rrffq69g5fav"]}, "scripts"),
        ({"everything": False}, "everything"),
        ({"channel": "pigeon"}, "channel"),
    ],
)
def test_what_cannot_be_is_refused(api: APIClient, receiver: Receiver, wrong: dict[str, Any], field: str) -> None:
    answer = api.post(LIST, hook_of(receiver, **wrong))
    assert answer.status_code in {400, 422}
    assert any(name.split(".")[0] == field for name in answer.data["fields"]), answer.data
    assert not Subscription.objects.exists()


def test_what_belongs_to_another_cannot_be_chosen(
    api: APIClient, outsider_api: APIClient, receiver: Receiver, pipeline_made: PipelineMaker
) -> None:
    pipeline = pipeline_made()
    assert outsider_api.post(LIST, hook_of(receiver, pipelines=[pipeline.pk])).status_code == 422
    found = made(api, hook_of(receiver, pipelines=[pipeline.pk]))
    assert (found["everything"], found["pipelines"]) == (False, [pipeline.pk])


def test_a_name_beyond_ascii_is_kept_as_dns_knows_it(api: APIClient, receiver: Receiver) -> None:
    found = made(api, hook_of(receiver, address="https://bücher.example/größe?q=1#part"))
    assert found["address"] == "https://xn--bcher-kva.example/gr%C3%B6%C3%9Fe?q=1"


def test_only_what_is_named_is_changed(api: APIClient, receiver: Receiver) -> None:
    found = made(api, hook_of(receiver, late_minutes=5))
    address = f"{LIST}{found['id']}/"
    changed = api.patch(address, {"on": ["late", "did_not_run"], "silent_hours": 26, "enabled": False}).json()
    assert changed == {
        **{k: v for k, v in found.items() if k != "secret"},
        "on": ["late", "did_not_run"],
        "silent_hours": 26,
        "enabled": False,
    }
    assert api.patch(address, {"silent_hours": None}).json()["silent_hours"] is None
    assert api.delete(address).status_code == 204
    assert api.get(address).status_code == 404
    said = list(LogEntry.objects.order_by("pk").values_list("additional_data__what", flat=True))
    assert said[-4:] == ["notification.create", "notification.update", "notification.update", "notification.delete"]


def test_a_test_is_sent_and_its_result_told(api: APIClient, receiver: Receiver) -> None:
    found = made(api, hook_of(receiver))
    answer = api.post(f"{LIST}{found['id']}/test/")
    assert answer.status_code == 201
    assert (answer.data["state"], answer.data["status"]) == ("sent", 204)
    assert receiver.heard[0].headers["webhook-id"] == answer.data["id"]
    receiver.answer(500)
    answer = api.post(f"{LIST}{found['id']}/test/")
    assert (answer.data["state"], answer.data["status"], answer.data["error"]) == ("failed", 500, "It answered 500.")
    notices_send()
    assert len(receiver.heard) == 2, "a test is tried once"


def test_a_test_with_a_key_is_sent_once(api: APIClient, receiver: Receiver) -> None:
    found = made(api, hook_of(receiver))
    answers = [api.post(f"{LIST}{found['id']}/test/", headers={"Idempotency-Key": "t"}).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(receiver.heard) == 1


def test_tests_are_bounded(api: APIClient, receiver: Receiver) -> None:
    found = made(api, hook_of(receiver))
    codes = [api.post(f"{LIST}{found['id']}/test/").status_code for _ in range(7)]
    assert codes == [201] * 6 + [429]
    Notice.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    assert api.post(f"{LIST}{found['id']}/test/").status_code == 201


def test_deliveries_are_listed_and_sent_again(
    api: APIClient, receiver: Receiver, run_made: RunMaker, django_capture_on_commit_callbacks: Any
) -> None:
    found = made(api, hook_of(receiver))
    outbox.run_ended_note(run=run_made("failed"))
    receiver.answer(404, 204)
    notices_send()
    deliveries = f"{LIST}{found['id']}/deliveries/"
    (delivery,) = api.get(deliveries).json()["results"]
    assert (delivery["state"], delivery["status"], delivery["body"]["type"]) == ("failed", 404, "run.failed")
    one = f"{deliveries}{delivery['id']}/"
    assert api.get(one).json() == delivery
    with django_capture_on_commit_callbacks(execute=False):
        assert api.post(one + "again/").status_code == 202
    assert api.post(one + "again/").data["code"] == "still_waiting"
    notices_send()
    assert api.get(one).json()["state"] == "sent"
    assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 1
    assert api.get(deliveries, {"state": "failed"}).json()["results"] == []


def test_a_new_secret_is_shown_once(api: APIClient, receiver: Receiver) -> None:
    found = made(api, hook_of(receiver))
    fresh = api.post(f"{LIST}{found['id']}/secret/")
    assert fresh.status_code == 201
    assert fresh.data["secret"].startswith("whsec_") and fresh.data["secret"] != found["secret"]


def test_there_is_an_end_to_how_many(api: APIClient, receiver: Receiver, owner: User) -> None:
    Subscription.objects.bulk_create(
        [Subscription(owner=owner, name=str(n), channel="webhook", address=receiver.url) for n in range(50)]
    )
    answer = api.post(LIST, hook_of(receiver))
    assert (answer.status_code, answer.data["code"]) == (429, "too_many")


def test_a_mail_is_tried_too(api: APIClient, owner: User) -> None:
    found = made(api, {"name": "Mail", "channel": "email", "address": owner.email})
    assert api.post(f"{LIST}{found['id']}/test/").data["state"] == "sent"
    assert mail.outbox[0].subject == "[Orca] A test of your notifications"
