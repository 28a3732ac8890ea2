"""The API about oneself: what it answers, in which shape, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.utils import timezone
from rest_framework.test import APIClient

from portal.accounts import services
from portal.accounts.models import ApiToken, SshKey, User
from tests.people import PASSWORD

Line = Callable[..., str]


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    assert set(body) == {"code", "message", "hint", "fields"}
    assert body["message"]
    return body


def test_me(api: APIClient, owner: User) -> None:
    assert api.get("/api/v1/me/").json() | {"created_at": ""} == {
        "id": owner.id,
        "email": "ada@example.org",
        "name": "",
        "approved": True,
        "created_at": "",
    }
    assert api.patch("/api/v1/me/", {"name": " Ada "}).json()["name"] == "Ada"
    api.patch("/api/v1/me/", {"email": "root@example.org", "is_staff": True})
    owner.refresh_from_db()
    assert (owner.name, owner.email, owner.is_staff) == ("Ada", "ada@example.org", False)


def test_strangers_are_told_how_to_come_in(db: None) -> None:
    for path in ("me", "ssh-keys", "tokens", "ssh-keys/x", "tokens/x"):
        response = APIClient().get(f"/api/v1/{path}/")
        assert_problem(response, 401, "not_authenticated")
        assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer", "Bearer nonsense", "Bearer a b", "Bearer orca_" + "0" * 64])
def test_a_wrong_token_is_refused(db: None, header: str) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=header)
    assert_problem(client.get("/api/v1/me/"), 401, "not_authenticated")


def test_an_address_that_does_not_exist_is_a_problem_too(api: APIClient) -> None:
    assert_problem(api.get("/api/v1/nothing/"), 404, "not_found")
    assert_problem(api.put("/api/v1/me/", {}), 405, "method_not_allowed")
    assert_problem(api.patch("/api/v1/me/", "{", content_type="application/json"), 400, "invalid")
    assert_problem(api.patch("/api/v1/me/", "x", content_type="text/csv"), 415, "unsupported_media_type")


def test_keys_are_added_listed_read_and_removed(api: APIClient, public_key: Line) -> None:
    response = api.post("/api/v1/ssh-keys/", {"name": "laptop", "public_key": public_key("rsa", 2048)})
    assert response.status_code == 201
    key = response.json()
    assert "3072" in key["advice"]
    assert api.get("/api/v1/ssh-keys/").json()["results"] == [key]
    assert api.get(f"/api/v1/ssh-keys/{key['id']}/").json() == key
    assert api.delete(f"/api/v1/ssh-keys/{key['id']}/").status_code == 204
    assert api.get("/api/v1/ssh-keys/").json()["results"] == []


def test_a_refused_key_names_the_field(api: APIClient) -> None:
    body = assert_problem(api.post("/api/v1/ssh-keys/", {"public_key": "ssh-dss AAAA"}), 422, "weak_key")
    assert list(body["fields"]) == ["public_key"]
    body = assert_problem(api.post("/api/v1/ssh-keys/", {"name": "x" * 81}), 400, "invalid")
    assert set(body["fields"]) == {"name", "public_key"}


def test_a_repeated_post_with_one_idempotency_key_adds_once(api: APIClient, public_key: Line) -> None:
    asked = {"public_key": public_key()}
    first = api.post("/api/v1/ssh-keys/", asked, headers={"Idempotency-Key": "k1"})
    again = api.post("/api/v1/ssh-keys/", asked, headers={"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert SshKey.objects.count() == 1


def test_pages_of_a_list_reach_everything_once(api: APIClient, owner: User) -> None:
    keys = [
        SshKey.objects.create(owner=owner, name=str(n), key_type="t", public_key=KEY, fingerprint=str(n))
        for n in range(5)
    ]
    found: list[str] = []
    address = "/api/v1/ssh-keys/?page_size=2"
    while address:
        page = api.get(address).json()
        assert len(page["results"]) <= 2
        found += [key["id"] for key in page["results"]]
        address = page["next"]
    assert found == [key.id for key in reversed(keys)]


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBMsIn0/Y2bUQtFBXtOXVxuSMXNG4nU0ZJ5q1lR0zEJD"


def test_another_persons_things_are_not_there(
    api: APIClient, outsider_api: APIClient, owner: User, public_key: Line
) -> None:
    key = services.ssh_key_add(owner=owner, name="laptop", public_key=public_key())
    token, _ = services.api_token_add(owner=owner, name="cli")
    assert_problem(outsider_api.get(f"/api/v1/ssh-keys/{key.id}/"), 404, "not_found")
    assert_problem(outsider_api.delete(f"/api/v1/ssh-keys/{key.id}/"), 404, "not_found")
    assert_problem(outsider_api.delete(f"/api/v1/tokens/{token.id}/"), 404, "not_found")
    assert outsider_api.get("/api/v1/ssh-keys/").json()["results"] == []
    assert token.id not in str(outsider_api.get("/api/v1/tokens/").json())
    assert api.get(f"/api/v1/ssh-keys/{key.id}/").status_code == 200


def log_in(**more: Any) -> Any:
    asked = {"email": "Ada@example.org", "password": PASSWORD, "name": "cli"} | more
    return APIClient().post("/api/v1/tokens/", asked)


def test_a_token_is_made_by_password_shown_once_and_kept_as_a_hash(owner: User) -> None:
    made = log_in().json()
    text = made.pop("token")
    assert text.startswith("orca_")
    assert text not in str(ApiToken.objects.values())
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    (listed,) = client.get("/api/v1/tokens/").json()["results"]
    assert listed | {"last_used_at": None} == made
    assert text.startswith(listed["begins"])
    assert listed["last_used_at"] is not None
    assert client.delete("/api/v1/tokens/current/").status_code == 204
    assert_problem(client.get("/api/v1/me/"), 401, "not_authenticated")


def test_a_token_can_expire(owner: User) -> None:
    text = log_in(days=1).json()["token"]
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    assert client.get("/api/v1/me/").status_code == 200
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert_problem(client.get("/api/v1/me/"), 401, "not_authenticated")
    assert_problem(log_in(days=0), 400, "invalid")


def test_tokens_that_have_run_out_leave_room_for_others(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.accounts.services.MOST_API_TOKENS", 2)
    assert [log_in(days=1).status_code for _ in range(2)] == [201, 201]
    assert_problem(log_in(days=1), 429, "too_many_tokens")
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert log_in().status_code == 201
    assert ApiToken.objects.count() == 1


def test_a_wrong_password_and_an_unknown_address_read_the_same(owner: User) -> None:
    wrong = assert_problem(log_in(password="wrong"), 401, "login_failed")
    unknown = assert_problem(log_in(email="nobody@example.org"), 401, "login_failed")
    assert wrong == unknown


def test_an_unverified_address_gets_no_token(db: None) -> None:
    User.objects.create_user("new@example.org", PASSWORD)
    assert_problem(log_in(email="new@example.org"), 401, "email_unverified")


def test_an_account_that_is_switched_off_gets_in_nowhere(api: APIClient, owner: User) -> None:
    User.objects.update(is_active=False)
    assert_problem(api.get("/api/v1/me/"), 401, "not_authenticated")
    assert_problem(log_in(), 401, "login_failed")


def test_logins_are_limited_by_rate(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rest_framework.throttling.ScopedRateThrottle.THROTTLE_RATES", {"login": "2/min"})
    assert [log_in().status_code for _ in range(2)] == [201, 201]
    response = log_in()
    assert_problem(response, 429, "throttled")
    assert 0 < int(response.headers["Retry-After"]) <= 61


def test_the_audit_trail_names_who_holds_the_token(api: APIClient, owner: User, public_key: Line) -> None:
    key = api.post("/api/v1/ssh-keys/", {"public_key": public_key()}).json()
    entry = LogEntry.objects.get(object_pk=key["id"])
    assert entry.actor == owner
    assert entry.remote_addr == "127.0.0.1"
