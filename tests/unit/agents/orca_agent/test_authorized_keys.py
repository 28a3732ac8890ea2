"""The portal's keys come and go; a person's own stay, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.orca_agent.account import Account
from agents.orca_agent.authorized_keys import BEGIN, END, merge, write

OWN = Account("me", None, None, Path("/"))
KEYS = st.lists(st.text("abc 123-", min_size=1, max_size=10))


def test_the_block_is_replaced_and_the_rest_stays() -> None:
    first = merge("mine\n", ["one"])
    assert first == f"mine\n{BEGIN}\none\n{END}\n"
    assert merge(first + "mine too\n", ["two"]) == f"mine\nmine too\n{BEGIN}\ntwo\n{END}\n"
    assert merge(first, []) == f"mine\n{BEGIN}\n{END}\n"


@given(st.lists(st.text("xyz #", max_size=8).filter(lambda line: not line.startswith("# "))), KEYS, KEYS)
def test_any_own_lines_survive_any_change(own: list[str], first: list[str], second: list[str]) -> None:
    content = merge(merge("".join(f"{line}\n" for line in own), first), second)
    assert content.splitlines() == [*own, BEGIN, *second, END]
    assert merge(content, second) == content


def test_the_file_is_private_and_written_only_when_it_changes(tmp_path: Path) -> None:
    assert write(tmp_path, ["ssh-ed25519 AAAA"], OWN)
    path = tmp_path / ".ssh/authorized_keys"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".ssh").stat().st_mode & 0o777 == 0o700
    before = path.stat().st_ino
    assert not write(tmp_path, ["ssh-ed25519 AAAA"], OWN)
    assert path.stat().st_ino == before
    assert [found.name for found in (tmp_path / ".ssh").iterdir()] == ["authorized_keys"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root's\n")
    (tmp_path / "home/.ssh").mkdir(parents=True)
    path = tmp_path / "home/.ssh/authorized_keys"
    for make in (path.symlink_to, path.hardlink_to):
        path.unlink(missing_ok=True)
        make(secret)
        write(tmp_path / "home", ["key"], OWN)
        assert "root's" not in path.read_text()
        assert not path.is_symlink()
        assert secret.read_text() == "root's\n"


def test_a_linked_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".ssh").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"symbolic|directory"):
        write(tmp_path, ["key"], OWN)
    assert list((tmp_path / "elsewhere").iterdir()) == []
