"""Who signs up: how often from one place, with what address, and what a trial account may have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from portal.accounts.models import User
from portal.accounts.quotas import quota_of
from portal.accounts.services import trial_lift
from portal.accounts.throwaway import _listed, is_throwaway
from tests.people import PASSWORD, person

pytestmark = pytest.mark.django_db


def signed_up(email: str, address: str = "192.0.2.1") -> Any:
    form = {"email": email, "password1": PASSWORD, "password2": PASSWORD}
    return Client(REMOTE_ADDR=address).post(reverse("account_signup"), form)


@pytest.mark.parametrize("domain", ["10minutemail.com", "mail.10minutemail.com", "MAILINATOR.com", "mailinator.com."])
def test_addresses_to_throw_away_are_refused(domain: str) -> None:
    response = signed_up(f"new@{domain}")
    assert "thrown away" in response.content.decode() or response.context["form"].errors
    assert not User.objects.exists()


@pytest.mark.parametrize("domain", ["example.org", "minutemail.example", "com"])
def test_other_addresses_are_not(domain: str) -> None:
    assert not is_throwaway(f"new@{domain}")


def test_operators_may_add_domains_and_let_the_known_ones_in(settings: Settings, tmp_path: Path) -> None:
    listed = tmp_path / "domains"
    listed.write_text("# ours\nSpam.example  # since May\n\n", encoding="utf-8")
    settings.MAIL_BLOCKLIST = str(listed)
    settings.MAIL_THROWAWAY = True
    _listed.cache_clear()
    assert is_throwaway("new@sub.spam.example")
    assert not is_throwaway("new@10minutemail.com")


def test_too_many_sign_ups_from_one_place_are_put_off(settings: Settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"signup": "2/h/ip"}
    for number in (1, 2):
        assert signed_up(f"new{number}@example.org").status_code == 302
    assert signed_up("new3@example.org").status_code == 429
    assert signed_up("new4@example.org", address="192.0.2.2").status_code == 302
    assert User.objects.count() == 3


def test_where_somebody_signed_up_from_is_kept() -> None:
    signed_up("new@example.org", address="2001:db8::1")
    assert User.objects.get().signed_up_from == "2001:db8::1"
    assert not User.objects.get().trial


def test_whoever_signs_up_during_trials_has_less_until_it_is_lifted(settings: Settings) -> None:
    settings.TRIAL = True
    signed_up("new@example.org")
    user, operator = User.objects.get(), person("operator@example.org")
    assert user.trial
    assert quota_of(user).workspaces == settings.TRIAL_QUOTA["workspaces"]
    assert not quota_of(user).allows("t3.xlarge")
    assert trial_lift(user=user, by=operator)
    assert not trial_lift(user=user, by=operator)
    user.refresh_from_db()
    assert quota_of(user).workspaces == settings.MAX_WORKSPACES
    assert quota_of(user).allows("t3.xlarge")
    entry = LogEntry.objects.get(additional_data__what="user.trial_lift")
    assert entry.actor == operator
