"""``orca.env`` is made once, for its owner only, and what a person writes there stays."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from scripts.orca.setup import secrets


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    monkeypatch.setattr(secrets, "HOME", tmp_path)
    return tmp_path / "orca.env"


def test_it_is_made_once_and_private(file: Path) -> None:
    secrets.secrets_ensure(file)
    before = file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(secrets.read(file)["SECRET_KEY"]) >= 50
    secrets.secrets_ensure(file)
    assert file.read_bytes() == before


def test_what_a_person_wrote_stays(file: Path) -> None:
    file.write_text("# mine\nexport EMAIL_HOST='mail.example.org'\nORCA_SLOTS=2")
    secrets.secrets_ensure(file)
    read = secrets.read(file)
    assert (read["EMAIL_HOST"], read["ORCA_SLOTS"]) == ("mail.example.org", "2")
    assert file.read_text().startswith("# mine\n")
    assert "SECRET_KEY" in read


def test_two_installations_have_different_keys(file: Path) -> None:
    other = file.with_name("other.env")
    secrets.secrets_ensure(file)
    secrets.secrets_ensure(other)
    assert secrets.read(file) != secrets.read(other)
