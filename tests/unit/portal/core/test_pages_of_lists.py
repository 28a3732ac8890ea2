"""Pages of the API's lists: a cursor is what an answer gave, and nothing else."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import urlencode

import pytest
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.accounts.services import api_token_add
from portal.pipelines.models import Script

LISTS = ("scripts", "runs", "workspaces", "ssh-keys", "tokens")


def cursor(position: str) -> str:
    return b64encode(urlencode({"p": position}).encode()).decode()


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "made_up",
    [
        "x",
        "größe",
        cursor("yesterday"),
        cursor("2026-13-45 00:00:00+00:00"),
        cursor("2026-01-01 00:00:00"),
        cursor("0001-01-01 00:00:00+14:00"),
        cursor("\0"),
        b64encode(b"o=-1").decode(),
        b64encode(b"r=maybe").decode(),
    ],
)
def test_a_cursor_that_was_made_up_is_refused(api: APIClient, path: str, made_up: str) -> None:
    answer = api.get(f"/api/v1/{path}/", {"cursor": made_up})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")
    assert answer.json()["fields"] == {"cursor": "not one of ours"}
    assert answer.json()["hint"]


def test_the_pages_hold_every_row_once_in_both_directions(api: APIClient, owner: User) -> None:
    made = [Script.objects.create(owner=owner, name=f"s{number}").pk for number in range(7)]
    found, address = [], "/api/v1/scripts/?page_size=3"
    while address:
        page = api.get(address).json()
        found += [script["id"] for script in page["results"]]
        last, address = page, page["next"]
    assert found == made[::-1]
    before = api.get(last["previous"]).json()
    assert [script["id"] for script in before["results"]] == found[3:6]


def test_tokens_have_pages_too(api: APIClient, owner: User) -> None:
    for number in range(3):
        api_token_add(owner=owner, name=str(number))
    page = api.get("/api/v1/tokens/?page_size=2").json()
    rest = api.get(page["next"]).json()
    assert len({token["id"] for token in page["results"] + rest["results"]}) == 4


@pytest.mark.parametrize("size", ["0", "-1", "x", "", "1" * 400, "1e3"])
def test_a_size_that_is_none_is_the_usual_one(api: APIClient, owner: User, size: str) -> None:
    Script.objects.create(owner=owner, name="one")
    answer = api.get("/api/v1/scripts/", {"page_size": size})
    assert (answer.status_code, len(answer.json()["results"])) == (200, 1)
