"""Guessing passwords: after so many failures the door stays shut, for that address from that place."""

from __future__ import annotations

from typing import Any

import pytest
from axes.models import AccessAttempt
from axes.utils import reset
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from portal.accounts.lockout import username_of
from portal.accounts.models import User
from tests.people import PASSWORD, person

LIMIT = 3


@pytest.fixture(autouse=True)
def _limit(settings: Settings) -> None:
    settings.AXES_FAILURE_LIMIT = LIMIT


def by_page(password: str, email: str = "ada@example.org", address: str = "192.0.2.1") -> Any:
    form = {"login": email, "password": password}
    return Client(REMOTE_ADDR=address).post(reverse("account_login"), form)


def by_api(password: str, email: str = "ada@example.org", address: str = "192.0.2.1") -> Any:
    asked = {"email": email, "password": password}
    return APIClient(REMOTE_ADDR=address).post("/api/v1/tokens/", asked)


def test_failures_are_recorded_under_the_address_that_was_tried(owner: User) -> None:
    by_page("wrong", "ADA@example.org ")
    by_api("wrong")
    (attempt,) = AccessAttempt.objects.all()
    assert (attempt.username, attempt.failures_since_start) == ("ada@example.org", 2)


def test_the_page_locks_with_429_and_says_until_when(owner: User) -> None:
    answers = [by_page("wrong") for _ in range(LIMIT + 8)]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [200] * (LIMIT - 1) + [429] * 9
    assert answers[-1].headers["Retry-After"] == "900"
    assert "15 minutes" in answers[-1].content.decode()
    locked = by_page(PASSWORD)
    assert locked.status_code == 429
    assert "_auth_user_id" not in locked.client.session


def test_the_api_locks_with_429_and_a_problem(owner: User) -> None:
    answers = [by_api("wrong") for _ in range(LIMIT + 1)]
    assert [answer.status_code for answer in answers] == [401] * (LIMIT - 1) + [429] * 2
    assert answers[-1].json()["code"] == "locked_out"
    assert answers[-1].headers["Retry-After"] == "900"
    assert by_api(PASSWORD).status_code == 429


def test_page_and_api_count_together(owner: User) -> None:
    for _ in range(LIMIT):
        by_page("wrong")
    assert by_api(PASSWORD).status_code == 429


def test_nobody_is_locked_out_by_what_others_do(owner: User) -> None:
    person("grace@example.org")
    for _ in range(LIMIT):
        by_page("wrong")
    assert by_page(PASSWORD, address="192.0.2.2").status_code == 302
    assert by_page(PASSWORD, email="grace@example.org").status_code == 302


def test_the_right_password_forgets_the_wrong_ones(owner: User) -> None:
    for _ in range(3):
        for _ in range(LIMIT - 1):
            by_page("wrong")
        assert by_page(PASSWORD).status_code == 302


def test_an_administrator_can_unlock(owner: User) -> None:
    for _ in range(LIMIT):
        by_page("wrong")
    reset(username="ada@example.org")
    assert by_page(PASSWORD).status_code == 302


def test_the_name_is_found_wherever_it_is_given(rf: Any) -> None:
    assert username_of(None, {"email": " Ada@Example.org"}) == "ada@example.org"
    assert username_of(rf.post("/", {"login": "ada@example.org"}), None) == "ada@example.org"
    assert username_of(rf.post("/"), {}) is None
    assert username_of(None, None) is None
