"""A program without a browser is let in by a person with one: once, by the right person, and not by guessing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from portal.accounts.devices import MOST_WRONG_CODES
from portal.accounts.models import ApiToken, DeviceLogin, User


@pytest.fixture
def program(db: None) -> APIClient:
    """Without a token or a session."""
    return APIClient()


def begin(program: APIClient, name: str = "orca on ada-laptop") -> dict[str, Any]:
    answer = program.post("/api/v1/device/", {"name": name})
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def ask(program: APIClient, begun: dict[str, Any]) -> Any:
    return program.post("/api/v1/device/token/", {"device_code": begun["device_code"]})


def decide(browser: Client, begun: dict[str, Any], decision: str) -> Any:
    return browser.post("/device/", {"code": begun["user_code"], "decision": decision})


def test_a_program_gets_a_token_once_its_person_has_allowed_it(program: APIClient, browser: Client) -> None:
    begun = begin(program)
    assert begun["verification_uri_complete"].endswith(f"/device/?code={begun['user_code']}")
    assert ask(program, begun).json()["code"] == "authorization_pending"

    page = browser.get(f"/device/?code={begun['user_code']}").content.decode()
    assert "orca on ada-laptop" in page
    assert "127.0.0.1" in page
    assert ask(program, begun).json()["code"] == "authorization_pending"  # looking is not allowing

    assert "Allowed" in decide(browser, begun, "allow").content.decode()
    answer = ask(program, begun)
    assert answer.status_code == 201
    assert answer.json()["expires_at"]
    program.credentials(HTTP_AUTHORIZATION=f"Bearer {answer.json()['token']}")
    assert program.get("/api/v1/me/").json()["email"] == "ada@example.org"
    assert ApiToken.objects.get().name == "orca on ada-laptop"


def test_the_token_is_given_once_and_kept_nowhere(program: APIClient, browser: Client) -> None:
    begun = begin(program)
    decide(browser, begun, "allow")
    text = ask(program, begun).json()["token"]
    again = ask(program, begun)
    assert (again.status_code, again.json()["code"]) == (400, "expired_token")
    row = DeviceLogin.objects.values().get()
    assert begun["device_code"] not in str(row)
    assert text not in str(row)
    assert ApiToken.objects.count() == 1


def test_what_was_refused_stays_refused(program: APIClient, browser: Client) -> None:
    begun = begin(program)
    assert "Refused" in decide(browser, begun, "deny").content.decode()
    assert ask(program, begun).json()["code"] == "access_denied"
    assert decide(browser, begun, "allow").status_code == 404
    assert not ApiToken.objects.exists()
    said = LogEntry.objects.filter(additional_data__what="device.deny").get()
    assert said.actor is not None


def test_a_code_runs_out(program: APIClient, browser: Client) -> None:
    begun = begin(program)
    DeviceLogin.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert decide(browser, begun, "allow").status_code == 404
    assert ask(program, begun).json()["code"] == "expired_token"
    DeviceLogin.objects.update(expires_at=timezone.now() - timedelta(days=2))
    begin(program)
    assert DeviceLogin.objects.count() == 1  # the old one is forgotten


def test_an_account_that_is_switched_off_lets_nothing_in(program: APIClient, browser: Client, owner: User) -> None:
    begun = begin(program)
    decide(browser, begun, "allow")
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert ask(program, begun).json()["code"] == "access_denied"
    assert not ApiToken.objects.exists()


def test_codes_are_read_as_people_type_them(program: APIClient, browser: Client) -> None:
    begun = begin(program, name=" \u0007orca\non  a laptop ")
    typed = begun["user_code"].lower().replace("-", " ")
    page = browser.get("/device/", {"code": typed}).content.decode()
    assert begun["user_code"] in page
    assert "orca on a laptop" in page


def test_codes_cannot_be_guessed(program: APIClient, browser: Client, outsider_browser: Client) -> None:
    begun = begin(program)
    for _ in range(MOST_WRONG_CODES):
        assert outsider_browser.get("/device/?code=BBBB-BBBB").status_code == 404
    assert outsider_browser.get(f"/device/?code={begun['user_code']}").status_code == 429
    assert browser.get(f"/device/?code={begun['user_code']}").status_code == 200


def test_allowing_takes_a_login_and_a_form_of_ours(program: APIClient, owner: User) -> None:
    begun = begin(program)
    stranger = Client()
    answer = stranger.post("/device/", {"code": begun["user_code"], "decision": "allow"})
    assert (answer.status_code, answer.headers["Location"][:16]) == (302, "/accounts/login/")
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    assert forged.post("/device/", {"code": begun["user_code"], "decision": "allow"}).status_code == 403
    assert ask(program, begun).json()["code"] == "authorization_pending"
