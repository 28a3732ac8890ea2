"""Calls to the API: asked again where the network breaks, done once, and refused in words."""

from __future__ import annotations

import httpx
import pytest

from agents.orca_cli.api import ATTEMPTS, Api
from agents.orca_cli.errors import CliError, Exit
from agents.orca_cli.profiles import Profile
from tests.unit.agents.orca_cli.conftest import URL, Portal, answer, page, problem


@pytest.fixture
def api(portal: Portal, logged_in: Profile) -> Api:
    return Api(logged_in)


def test_what_did_not_arrive_is_sent_again_with_the_same_key(api: Api, portal: Portal, naps: list[float]) -> None:
    broken = httpx.ReadError("reset")
    portal.says("POST", "runs/", httpx.ConnectError("refused"), broken, answer({"id": "r"}, 201))
    assert api.post("runs/", {"script": "s"}) == {"id": "r"}
    sent = portal.sent("POST", "runs/")
    assert len({request.headers["Idempotency-Key"] for request in sent}) == 1
    assert {request.content for request in sent} == {b'{"script":"s"}'}
    assert sent[0].headers["Authorization"] == "Bearer orca_secret"
    assert len(naps) == 2
    assert naps[0] < naps[1]


def test_two_calls_have_two_keys(api: Api, portal: Portal) -> None:
    portal.says("POST", "runs/", answer({}, 201))
    api.post("runs/")
    api.post("runs/")
    first, second = portal.sent("POST", "runs/")
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]


def test_one_gives_up_in_the_end(api: Api, portal: Portal) -> None:
    portal.says("GET", "me/", httpx.ConnectError("refused"))
    with pytest.raises(CliError, match=f"does not answer at {URL}") as caught:
        api.get("me/")
    assert caught.value.exit_code == Exit.UNREACHABLE
    assert len(portal.asked) == ATTEMPTS


def test_a_busy_orca_is_asked_again_when_it_says(api: Api, portal: Portal, naps: list[float]) -> None:
    busy = answer({"code": "busy", "message": "Busy.", "hint": "", "fields": {}}, 503, **{"Retry-After": "7"})
    portal.says("GET", "me/", busy, answer({"email": "a"}))
    assert api.get("me/") == {"email": "a"}
    assert naps == [7.0]


def test_a_proxy_whose_orca_is_starting_is_asked_again(api: Api, portal: Portal) -> None:
    portal.says("GET", "me/", httpx.Response(502, text="Bad Gateway"), answer({"email": "a"}))
    assert api.get("me/") == {"email": "a"}


def test_a_refusal_is_final(api: Api, portal: Portal, naps: list[float]) -> None:
    portal.says("POST", "x/", problem("limit_reached", 429, "You may have 3.", "Delete one.", name="too many"))
    with pytest.raises(CliError) as caught:
        api.post("x/")
    assert caught.value.lines() == ["You may have 3. (name: too many)", "Delete one."]
    assert (len(portal.asked), naps) == (1, [])


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (problem("not_found", 404), Exit.NOT_FOUND),
        (problem("wrong_state", 409), Exit.CONFLICT),
        (problem("invalid", 422), Exit.REFUSED),
        (problem("forbidden", 403), Exit.LOGIN),
        (problem("cloud_fault", 502), Exit.UNREACHABLE),
        (httpx.Response(500, text="<h1>Server Error</h1>"), Exit.UNREACHABLE),
        (httpx.Response(404, text="<h1>nginx</h1>"), Exit.NOT_FOUND),
        (httpx.Response(200, text="<h1>Welcome</h1>"), Exit.REFUSED),
        (httpx.Response(301, headers={"Location": "https://new.example.org/"}), Exit.REFUSED),
    ],
)
def test_every_kind_of_refusal_has_its_exit_code(api: Api, portal: Portal, told: httpx.Response, code: int) -> None:
    portal.says("GET", "x/", told)
    with pytest.raises(CliError) as caught:
        api.get("x/")
    assert caught.value.exit_code == code
    assert "<h1>" not in "".join(caught.value.lines())


def test_a_token_that_is_refused_says_how_to_log_in(api: Api, portal: Portal) -> None:
    portal.says("GET", "me/", problem("not_authenticated", 401, "Invalid token."))
    with pytest.raises(CliError) as caught:
        api.get("me/")
    assert caught.value.hint == f"Log in: orca login {URL}"


def test_lists_are_read_to_their_end(api: Api, portal: Portal) -> None:
    # Orca may know itself by another address than the one that leads to it.
    portal.says("GET", "runs/", page(1, 2, following="http://inside:8000/api/v1/runs/?cursor=abc%3D&state=x"), page(3))
    assert list(api.find("runs/", state="x")) == [1, 2, 3]
    assert dict(portal.asked[1].url.params) == {"cursor": "abc=", "state": "x"}
    assert portal.asked[1].url.host == "orca.example.org"
