"""Keys as ``ssh-keygen`` makes them, and an ear for what is said about them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from portal.accounts.events import ssh_keys_changed

KeyMaker = Callable[..., str]


@pytest.fixture(scope="session")
def key_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``key_pair("rsa", 2048, comment="x")``: the private key's path; the public one is beside it."""
    made: dict[tuple[str, int, str], Path] = {}

    def make(kind: str = "ed25519", bits: int = 0, comment: str = "") -> Path:
        if (kind, bits, comment) not in made:
            path = tmp_path_factory.mktemp("keys") / "id"
            size = ["-b", str(bits)] if bits else []
            subprocess.run(
                ["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", comment, "-f", str(path)], check=True
            )
            made[kind, bits, comment] = path
        return made[kind, bits, comment]

    return make


@pytest.fixture(scope="session")
def public_key(key_pair: Callable[..., Path]) -> KeyMaker:
    """The line that belongs to ``key_pair``'s arguments."""

    def line(kind: str = "ed25519", bits: int = 0, comment: str = "") -> str:
        return key_pair(kind, bits, comment).with_suffix(".pub").read_text().strip()

    return line


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """The owners whose keys were said to have changed."""
    owners: list[str] = []

    def listen(owner_id: str, **_: Any) -> None:
        owners.append(owner_id)

    ssh_keys_changed.connect(listen, weak=False)
    yield owners
    ssh_keys_changed.disconnect(listen)
