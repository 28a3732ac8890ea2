"""Who is asking: the header that anyone can send counts only where a proxy writes it."""

from __future__ import annotations

from typing import Any

import pytest
from auditlog.models import LogEntry
from axes.models import AccessAttempt
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from portal.accounts.models import User
from tests.people import api_of

PEER = "192.0.2.1"


def noted(api: APIClient, **headers: str) -> str | None:
    """The address in the audit trail of a change that was asked for with these headers."""
    answer = api.patch("/api/v1/me/", {"name": "Ada"}, headers=headers, REMOTE_ADDR=PEER)
    assert answer.status_code == 200
    entry = LogEntry.objects.order_by("-pk").first()
    assert entry is not None
    assert entry.remote_port is None
    found: str | None = entry.remote_addr
    return found


def lied(number: int) -> dict[str, Any]:
    return {"REMOTE_ADDR": PEER, "headers": {"X-Forwarded-For": f"198.51.100.{number}"}}


@pytest.mark.parametrize("said", ["198.51.100.7", "198.51.100.7, 203.0.113.9", "nonsense", "x" * 300])
def test_without_a_proxy_the_header_says_nothing(api: APIClient, said: str) -> None:
    assert noted(api, **{"X-Forwarded-For": said, "X-Forwarded-Port": "1"}) == PEER


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("6.6.6.6, 198.51.100.7", "198.51.100.7"),
        ("6.6.6.6,198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("198.51.100.7, nonsense", PEER),
        ("x" * 300, PEER),
        ("", PEER),
    ],
)
def test_behind_a_proxy_its_own_word_counts(api: APIClient, settings: Settings, said: str, meant: str) -> None:
    settings.BEHIND_PROXY = True
    assert noted(api, **{"X-Forwarded-For": said}) == meant


def test_a_lockout_is_not_escaped_by_a_header(owner: User, settings: Settings) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    form = {"login": owner.email, "password": "wrong"}
    answers = [Client().post(reverse("account_login"), form, **lied(number)) for number in range(3)]
    assert answers[-1].status_code == 429
    assert AccessAttempt.objects.get().ip_address == PEER


def test_behind_a_proxy_one_persons_failures_lock_nobody_else_out(owner: User, settings: Settings) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    settings.BEHIND_PROXY = True
    form = {"login": owner.email, "password": "wrong"}
    answers = [Client().post(reverse("account_login"), form, **lied(1)) for _ in range(3)]
    assert answers[-1].status_code == 429
    assert Client().post(reverse("account_login"), form, **lied(2)).status_code == 200


def test_the_rate_of_token_requests_is_not_escaped_by_a_header(db: None) -> None:
    asked = [{"email": f"nobody{number}@example.org", "password": "x"} for number in range(31)]
    answers = [APIClient().post("/api/v1/tokens/", fields, **lied(number)) for number, fields in enumerate(asked)]
    assert [answer.status_code for answer in answers] == [401] * 30 + [429]


def test_the_trail_names_the_person_too(owner: User) -> None:
    noted(api_of(owner))
    assert LogEntry.objects.filter(actor=owner, remote_addr=PEER).exists()
