"""One's own page: name, keys and tokens."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from portal.accounts.models import ApiToken, SshKey, User
from portal.accounts.services import api_token_add, ssh_key_add
from tests.people import browser_of

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHXbHQ4mY0N9kyNmNTM3GUnYXDkz2ccqp4w1+6Jq3n3p ada@laptop"


def test_a_name(browser: Client, owner: User) -> None:
    browser.post(reverse("account_name"), {"name": " Ada  Lovelace "})
    owner.refresh_from_db()
    assert owner.name == "Ada Lovelace"
    assert "Ada Lovelace" in browser.get("/").content.decode()


def test_a_key_is_added_and_removed(browser: Client) -> None:
    response = browser.post(reverse("ssh_key_add"), {"public_key": KEY, "key_name": ""})
    assert response.headers["Location"] == "/account/#ssh-keys"
    key = SshKey.objects.get()
    assert key.fingerprint in browser.get("/account/").content.decode()
    browser.post(reverse("ssh_key_remove", args=[key.pk]))
    assert not SshKey.objects.exists()


def test_a_refused_key_says_why_and_stays_to_be_mended(browser: Client) -> None:
    response = browser.post(reverse("ssh_key_add"), {"public_key": f"no-pty {KEY}", "key_name": "Laptop"})
    assert response.status_code == 422
    assert "Leave out the options" in response.content.decode()
    assert "no-pty" in response.content.decode()


def test_a_private_key_that_was_pasted_does_not_come_back(browser: Client, tmp_path: Path) -> None:
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    private = path.read_text()
    response = browser.post(reverse("ssh_key_add"), {"public_key": private, "key_name": "Laptop"})
    html = response.content.decode()
    assert "Stop: this is a PRIVATE key" in html
    assert private.splitlines()[1] not in html
    assert "This field is required" not in html
    assert response.headers["Cache-Control"] == "no-store"


def test_a_short_rsa_key_comes_with_advice(browser: Client, tmp_path: Path) -> None:
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(path)], check=True)
    response: Any = browser.post(reverse("ssh_key_add"), {"public_key": path.with_suffix(".pub").read_text()})
    assert "ed25519 key is better" in " ".join(str(m) for m in response.wsgi_request._messages)


def test_a_token_is_shown_once_and_works(browser: Client) -> None:
    response = browser.post(reverse("token_add"), {"token_name": "laptop", "days": "30"})
    text = response.context["new_token_text"]
    assert text in response.content.decode()
    assert response.headers["Cache-Control"] == "no-store"
    assert text not in browser.get("/account/").content.decode()
    program = APIClient()
    program.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    assert program.get("/api/v1/me/").status_code == 200
    browser.post(reverse("token_remove", args=[ApiToken.objects.get().id]))
    assert program.get("/api/v1/me/").status_code == 401


@pytest.mark.parametrize(("days", "expires"), [("30", True), ("", False)])
def test_how_long_a_token_works(browser: Client, days: str, expires: bool) -> None:
    browser.post(reverse("token_add"), {"token_name": "laptop", "days": days})
    assert (ApiToken.objects.get().expiry is not None) == expires


def test_an_outsider_removes_nothing(owner: User, outsider: User) -> None:
    key = ssh_key_add(owner=owner, name="k", public_key=KEY)
    token, _ = api_token_add(owner=owner, name="t")
    other = browser_of(outsider)
    assert other.post(reverse("ssh_key_remove", args=[key.pk])).status_code == 404
    assert other.post(reverse("token_remove", args=[token.id])).status_code == 404
    assert SshKey.objects.exists()
    assert ApiToken.objects.exists()
