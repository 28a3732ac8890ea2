"""Signing up, verifying the address, forgetting the password, and the second factor."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from portal.accounts.models import User
from tests.people import PASSWORD

pytestmark = pytest.mark.django_db
NEW_PASSWORD = "another-horse-entirely"


def link_in_mail() -> str:
    """The path of the link in the newest mail."""
    found = re.search(r"https?://\S+/accounts/\S+", str(mail.outbox[-1].body))
    assert found, mail.outbox[-1].body
    return urlsplit(found.group()).path


def signed_up(browser: Client, email: str = "New@Example.org") -> Any:
    form = {"email": email, "password1": PASSWORD, "password2": PASSWORD}
    return browser.post(reverse("account_signup"), form)


def logged_in(browser: Client) -> bool:
    return "_auth_user_id" in browser.session


def log_in(browser: Client, password: str = PASSWORD, email: str = "ada@example.org") -> Any:
    return browser.post(reverse("account_login"), {"login": email, "password": password})


def test_who_signs_up_is_in_once_the_address_is_verified() -> None:
    browser = Client()
    response = signed_up(browser)
    assert response.headers["Location"] == reverse("account_email_verification_sent")
    assert "Look into your mail" in browser.get(response.headers["Location"]).content.decode()
    assert not logged_in(browser)
    user = User.objects.get(email="new@example.org")
    assert [m.to for m in mail.outbox] == [["new@example.org"]]
    assert mail.outbox[0].subject.startswith("[Orca] ")
    browser.get(link_in_mail())
    assert logged_in(browser)
    assert EmailAddress.objects.get(user=user).verified
    assert browser.get("/").context["user"] == user


def test_without_the_link_nobody_is_in() -> None:
    signed_up(Client())
    browser = Client()
    log_in(browser, email="new@example.org")
    assert not logged_in(browser)


def test_signing_up_does_not_tell_who_is_here(owner: User) -> None:
    known, unknown = signed_up(Client(), "ADA@example.org"), signed_up(Client(), "nobody@example.org")
    assert known.headers["Location"] == unknown.headers["Location"]
    assert User.objects.filter(email="ada@example.org").count() == 1


@pytest.mark.parametrize("password", ["short", "12345678901234", "password", "new@example.org"])
def test_a_weak_password_is_refused(password: str) -> None:
    form = {"email": "new@example.org", "password1": password, "password2": password}
    response = Client().post(reverse("account_signup"), form)
    assert response.context["form"].errors
    assert not User.objects.exists()


def test_a_forgotten_password_is_replaced_by_mail(owner: User) -> None:
    browser = Client()
    browser.post(reverse("account_reset_password"), {"email": "Ada@example.org"})
    form = browser.get(link_in_mail(), follow=True)
    assert form.status_code == 200
    address = form.redirect_chain[-1][0]
    browser.post(address, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})
    assert not _lets_in(PASSWORD)
    assert _lets_in(NEW_PASSWORD)


@pytest.mark.parametrize(
    ("route", "form", "path"),
    [
        ("account_reset_password", {"email": "ada@example.org"}, "/accounts/password/reset/key/"),
        ("account_reset_password", {"email": "nobody@example.org"}, "/accounts/signup/"),
        (
            "account_signup",
            {"email": "new@example.org", "password1": PASSWORD, "password2": PASSWORD},
            "/accounts/confirm-email/",
        ),
        (
            "account_signup",
            {"email": "ada@example.org", "password1": PASSWORD, "password2": PASSWORD},
            "/accounts/password/reset/",
        ),
    ],
)
def test_a_link_in_a_mail_leads_to_the_public_address_whatever_host_was_asked(
    owner: User, settings: Settings, route: str, form: dict[str, str], path: str
) -> None:
    settings.PUBLIC_URL = "https://orca.example.org"
    Client().post(reverse(route), form, headers={"Host": "localhost:1337"})
    body = str(mail.outbox[-1].body)
    links = re.findall(r"https?://\S+", body)
    assert links[0].startswith(f"https://orca.example.org{path}")
    assert links[1:] == ["https://orca.example.org/"]
    assert "localhost" not in body


def _lets_in(password: str) -> bool:
    browser = Client()
    log_in(browser, password)
    return logged_in(browser)


def test_a_reset_for_a_stranger_reads_the_same(owner: User) -> None:
    answers = [Client().post(reverse("account_reset_password"), {"email": f"{n}@example.org"}) for n in ("ada", "x")]
    assert answers[0].headers["Location"] == answers[1].headers["Location"]


def test_a_new_address_counts_once_it_is_verified(owner: User, browser: Client) -> None:
    browser.post(reverse("account_email"), {"email": "lovelace@example.org", "action_add": "yes"})
    owner.refresh_from_db()
    assert owner.email == "ada@example.org"
    assert "lovelace@example.org" in browser.get(reverse("account_email")).content.decode()
    browser.get(link_in_mail())
    owner.refresh_from_db()
    assert owner.email == "lovelace@example.org"
    assert EmailAddress.objects.get(user=owner).email == "lovelace@example.org"


def test_an_address_of_somebody_else_is_not_to_be_had(owner: User, outsider: User, browser: Client) -> None:
    browser.post(reverse("account_email"), {"email": "Mallory@example.org", "action_add": "yes"})
    assert not EmailAddress.objects.filter(user=owner, email="mallory@example.org", verified=True).exists()
    owner.refresh_from_db()
    assert owner.email == "ada@example.org"


class Clock:
    """The half minute that authenticators count in, standing still until it is told to go on."""

    half_minute = 57_000_000

    def code(self, secret: str) -> str:
        """What an authenticator shows the next time one looks."""
        self.half_minute += 1
        return str(format_hotp_value(hotp_value(secret, self.half_minute)))


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(auth, "yield_hotp_counters_from_time", lambda: iter([found.half_minute]))
    return found


def second_factor(browser: Client, clock: Clock) -> str:
    """Switch it on as a person does; the secret."""
    browser.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    page = browser.get(reverse("mfa_activate_totp"))
    secret: str = page.context["form"].secret
    response = browser.post(reverse("mfa_activate_totp"), {"code": clock.code(secret)})
    assert response.status_code == 302
    return secret


@pytest.fixture
def secret(owner: User, clock: Clock) -> str:
    browser = Client()
    log_in(browser)
    return second_factor(browser, clock)


def test_the_second_factor_is_set_up_with_a_picture_and_kept_encrypted(owner: User, clock: Clock) -> None:
    browser = Client()
    log_in(browser)
    assert browser.get(reverse("mfa_activate_totp")).status_code == 302
    secret = second_factor(browser, clock)
    stored = Authenticator.objects.get(user=owner, type="totp")
    assert secret not in str(stored.data)
    seed = str(Authenticator.objects.get(user=owner, type="recovery_codes").data)
    codes = browser.get(reverse("mfa_view_recovery_codes")).context["unused_codes"]
    assert len(codes) == 10
    assert not any(code in seed for code in codes)
    assert "On: a code" in browser.get("/account/").content.decode()


def test_with_it_the_password_alone_is_not_enough(owner: User, secret: str, clock: Clock) -> None:
    browser = Client()
    response = log_in(browser)
    assert response.headers["Location"] == reverse("mfa_authenticate")
    assert not logged_in(browser)
    browser.post(reverse("mfa_authenticate"), {"code": "000000"})
    assert not logged_in(browser)
    browser.post(reverse("mfa_authenticate"), {"code": clock.code(secret)})
    assert logged_in(browser)


def test_a_recovery_code_lets_in_once(owner: User, secret: str) -> None:
    codes = Authenticator.objects.get(user=owner, type="recovery_codes").wrap().get_unused_codes()
    for expected in (True, False):
        browser = Client()
        log_in(browser)
        browser.post(reverse("mfa_authenticate"), {"code": codes[0]})
        assert logged_in(browser) == expected


def token(**more: str) -> Any:
    return APIClient().post("/api/v1/tokens/", {"email": "ada@example.org", "password": PASSWORD} | more)


def test_the_api_asks_for_it_too(owner: User, secret: str, clock: Clock) -> None:
    assert token().json()["code"] == "second_factor_needed"
    assert token(code="000000").json()["code"] == "second_factor_wrong"
    assert token(password="wrong", code=clock.code(secret)).json()["code"] == "login_failed"
    used = clock.code(secret)
    assert token(code=used).status_code == 201
    assert token(code=used).json()["code"] == "second_factor_wrong"


def test_codes_cannot_be_guessed_through_the_api(owner: User, secret: str, clock: Clock) -> None:
    statuses = [token(code=f"{n:06}").status_code for n in range(6)]
    assert statuses[-1] == 429
    assert token(code=clock.code(secret)).status_code == 429
