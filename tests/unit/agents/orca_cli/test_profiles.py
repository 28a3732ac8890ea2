"""Where Orca is and how to come in: kept for its owner's eyes, and never sent to a stranger."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agents.orca_cli.errors import CliError
from agents.orca_cli.profiles import Profile, Profiles, address, profile_chosen

HERE = Profile("default", "https://orca.example.org", "orca_here", "ada@example.org")
THERE = Profile("there", "https://there.example.org", "orca_%there", "ada@there.example.org")


@pytest.fixture
def file(home: Path) -> Profiles:
    made = Profiles(home / "config" / "config.ini")
    made.put(HERE)
    made.put(THERE)
    return made


def test_the_file_is_for_its_owner_alone(file: Profiles) -> None:
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert not file.is_open_to_others()
    file.path.chmod(0o644)
    assert file.is_open_to_others()
    file.use("there")
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["config.ini"]


def test_profiles_come_back_as_they_were_kept(file: Profiles) -> None:
    again = Profiles(file.path)
    assert (again.get("default"), again.get("there"), again.used) == (HERE, THERE, "default")
    again.use("there")
    again.remove("default")
    assert (Profiles(file.path).names, Profiles(file.path).used) == (["there"], "there")


def test_a_profile_is_chosen_by_name_or_environment(file: Profiles) -> None:
    assert profile_chosen(file, "", {}) == HERE
    assert profile_chosen(file, "there", {}) == THERE
    assert profile_chosen(file, "", {"ORCA_PROFILE": "there"}) == THERE
    with pytest.raises(CliError, match="no profile called nowhere"):
        profile_chosen(file, "nowhere", {})


def test_the_environment_wins(file: Profiles) -> None:
    chosen = profile_chosen(file, "", {"ORCA_URL": "other.example.org/", "ORCA_TOKEN": "orca_other"})
    assert (chosen.url, chosen.token, chosen.email) == ("https://other.example.org", "orca_other", "")
    assert profile_chosen(file, "", {"ORCA_TOKEN": "orca_other"}).url == HERE.url
    both = {"ORCA_URL": "other.example.org", "ORCA_TOKEN": "t"}
    assert profile_chosen(file, "nowhere", both).url == "https://other.example.org"


def test_a_token_goes_to_no_other_address(file: Profiles) -> None:
    assert profile_chosen(file, "", {"ORCA_URL": "https://evil.example.org"}).token == ""
    assert profile_chosen(file, "", {"ORCA_URL": HERE.url}).token == HERE.token


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("orca.example.org", "https://orca.example.org"),
        ("localhost:8000", "http://localhost:8000"),
        ("127.0.0.1:8000/", "http://127.0.0.1:8000"),
        (" https://example.org/orca/api/v1/ ", "https://example.org/orca"),
    ],
)
def test_addresses_are_read_as_people_type_them(typed: str, meant: str) -> None:
    assert address(typed) == meant


@pytest.mark.parametrize("typed", ["ftp://example.org", "https://", "http://[::1", "https://example.org:99999", ""])
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(CliError, match="no address"):
        address(typed)


def test_a_file_that_is_broken_is_not_overwritten(home: Path) -> None:
    path = home / "config" / "config.ini"
    path.parent.mkdir()
    path.write_text("this is not an ini file")
    with pytest.raises(CliError, match="cannot be read"):
        Profiles(path)
    assert path.read_text() == "this is not an ini file"
