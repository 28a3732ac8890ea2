"""Logging in and out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.orca_cli.profiles import Profile, Profiles
from tests.unit.agents.orca_cli.conftest import URL, Done, Portal, answer, problem

Orca = Callable[..., Done]
ME = {"id": "u", "email": "ada@example.org", "name": "Ada", "approved": True}
BEGUN: dict[str, Any] = {
    "device_code": "secret",
    "user_code": "BCDF-GHJK",
    "verification_uri": f"{URL}/device/",
    "verification_uri_complete": f"{URL}/device/?code=BCDF-GHJK",
    "expires_in": 600,
    "interval": 2,
}


def kept(home: Path, name: str = "default") -> Profile | None:
    return Profiles(home / "config" / "config.ini").get(name)


def test_with_a_token(orca: Orca, portal: Portal, home: Path) -> None:
    portal.says("GET", "me/", answer(ME))
    done = orca("login", "orca.example.org", "--token", "orca_abc")
    assert (done.code, done.out) == (0, f"Logged in to {URL} as ada@example.org.\n")
    assert kept(home) == Profile("default", URL, "orca_abc", "ada@example.org")


def test_with_a_token_that_is_piped_in(orca: Orca, portal: Portal, home: Path) -> None:
    portal.says("GET", "me/", answer(ME))
    assert orca("login", URL, "--token", "-", "--profile", "work", typed="orca_piped\n").code == 0
    found = kept(home, "work")
    assert found is not None
    assert found.token == "orca_piped"
    assert orca("login", URL, "--token", "-").code == 2


def test_a_wrong_token_is_not_kept(orca: Orca, portal: Portal, home: Path) -> None:
    portal.says("GET", "me/", problem("not_authenticated", 401))
    done = orca("login", URL, "--token", "orca_wrong")
    assert done.code == 3
    assert kept(home) is None


def test_in_the_browser(orca: Orca, portal: Portal, home: Path, naps: list[float]) -> None:
    portal.says("POST", "device/", answer(BEGUN, 201))
    portal.says("POST", "device/token/", problem("authorization_pending", 400), answer({"token": "orca_new"}, 201))
    portal.says("GET", "me/", answer(ME))
    done = orca("login", URL, "--json")
    assert done.json == {"profile": "default", "url": URL, "email": "ada@example.org", "approved": True}
    assert BEGUN["verification_uri_complete"] in done.err
    assert "BCDF-GHJK" in done.err
    assert "orca_new" not in done.out + done.err
    assert portal.bodies("POST", "device/token/") == [{"device_code": "secret"}] * 2
    assert naps == [2, 2]
    found = kept(home)
    assert found is not None
    assert found.token == "orca_new"


def test_a_person_who_refuses_is_obeyed(orca: Orca, portal: Portal, home: Path) -> None:
    portal.says("POST", "device/", answer(BEGUN, 201))
    portal.says("POST", "device/token/", problem("access_denied", 400, "This login was refused."))
    done = orca("login", URL)
    assert (done.code, kept(home)) == (1, None)
    assert "This login was refused." in done.err


def test_a_window_opens_only_where_there_is_one(orca: Orca, portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def opens(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr("webbrowser.open", opens)
    portal.says("POST", "device/", answer(BEGUN, 201))
    portal.says("POST", "device/token/", answer({"token": "orca_new"}, 201))
    portal.says("GET", "me/", answer(ME))
    monkeypatch.setenv("SSH_CONNECTION", "1.2.3.4 1 5.6.7.8 22")
    monkeypatch.setenv("DISPLAY", ":0")
    orca("login", URL)
    assert opened == []
    monkeypatch.delenv("SSH_CONNECTION")
    orca("login", URL)
    assert opened == [BEGUN["verification_uri_complete"]]
    orca("login", URL, "--no-browser")
    assert len(opened) == 1


def test_logging_out_revokes_the_token_and_forgets_it(
    orca: Orca, portal: Portal, home: Path, logged_in: Profile
) -> None:
    portal.says("DELETE", "tokens/current/", answer(status=204))
    assert orca("logout", "--json").json == {"profile": "default", "url": URL, "revoked": True}
    assert portal.asked[0].headers["Authorization"] == "Bearer orca_secret"
    assert kept(home) is None
    assert orca("logout").code == 1


def test_logging_out_of_an_orca_that_is_gone_says_that_the_token_lives(
    orca: Orca, portal: Portal, home: Path, logged_in: Profile
) -> None:
    portal.says("DELETE", "tokens/current/", httpx.ConnectError("refused"))
    done = orca("logout")
    assert (done.code, kept(home)) == (0, None)
    assert "The token still works" in done.err


def test_whoami(orca: Orca, portal: Portal, logged_in: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    portal.says("GET", "me/", answer(ME))
    assert orca("whoami").out == f"ada@example.org at {URL} (profile default)\n"
    monkeypatch.setenv("ORCA_TOKEN", "orca_other")
    orca("whoami")
    assert portal.asked[-1].headers["Authorization"] == "Bearer orca_other"


@pytest.mark.parametrize("arguments", [["whoami"], ["workspace", "ls"], ["ls"]])
def test_who_is_not_logged_in_is_told_how(orca: Orca, portal: Portal, arguments: list[str]) -> None:
    done = orca(*arguments)
    assert (done.code, done.out) == (3, "")
    assert "orca login http://127.0.0.1:8000" in done.err
    assert portal.asked == []


def test_profiles(orca: Orca, portal: Portal, home: Path, logged_in: Profile) -> None:
    Profiles(home / "config" / "config.ini").put(Profile("work", "https://work.example.org", "t", "ada@work"))
    assert orca("profile", "use", "work").code == 0
    listed: list[dict[str, Any]] = orca("profile", "ls", "--json").json
    assert [(p["name"], p["used"]) for p in listed] == [("default", False), ("work", True)]
    assert "orca_secret" not in orca("profile", "ls").out
    assert orca("profile", "use", "nowhere").code == 4
