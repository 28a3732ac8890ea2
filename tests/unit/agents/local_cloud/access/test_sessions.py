"""Temporary credentials carry their facts, cannot be changed, and end."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from agents.local_cloud.access.sessions import Session, Sessions
from agents.local_cloud.faults import Fault


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def issue(sessions: Sessions, **more: Any) -> Session:
    facts: dict[str, Any] = {
        "account_id": "100000000001",
        "kind": "role",
        "name": "r",
        "owner_id": "AROA1",
        "role_arn": "arn:aws:iam::100000000001:role/path/r",
        "session_name": "s",
        "seconds": 900,
    }
    return sessions.issue(**{**facts, **more})


def code(sessions: Sessions, key: str, token: str) -> str:
    with pytest.raises(Fault) as refused:
        sessions.open(key, token)
    return refused.value.code


def test_a_token_gives_back_what_went_in_even_after_a_restart() -> None:
    clock = Clock()
    made = issue(Sessions(b"k" * 32, clock), policy="{}", source_instance_arn="arn:i")
    assert Sessions(b"k" * 32, clock).open(made.access_key_id, made.token) == made
    assert made.arn == "arn:aws:sts::100000000001:assumed-role/r/s"
    assert (len(made.access_key_id), made.access_key_id[:4]) == (20, "ASIA")
    assert len(made.secret_access_key) == 40


def test_two_sessions_share_nothing() -> None:
    sessions = Sessions(b"k" * 32)
    one, other = issue(sessions), issue(sessions)
    assert one.secret_access_key != other.secret_access_key
    assert code(sessions, one.access_key_id, other.token) == "InvalidClientTokenId"


def test_a_changed_token_or_another_key_opens_nothing() -> None:
    sessions = Sessions(b"k" * 32)
    made = issue(sessions)
    raw = bytearray(base64.b64decode(made.token))
    for position in (0, 15, 16, len(raw) - 1):
        changed = bytearray(raw)
        changed[position] ^= 1
        token = base64.b64encode(bytes(changed)).decode()
        assert code(sessions, made.access_key_id, token) == "InvalidClientTokenId"
    for token in ("", "junk", "AAAA", "é"):
        assert code(sessions, made.access_key_id, token) == "InvalidClientTokenId"
    assert code(Sessions(b"x" * 32), made.access_key_id, made.token) == "InvalidClientTokenId"


def test_a_session_ends_when_its_time_is_over() -> None:
    clock = Clock()
    sessions = Sessions(b"k" * 32, clock)
    made = issue(sessions, seconds=900)
    clock.now += 899
    assert sessions.open(made.access_key_id, made.token) == made
    clock.now += 1
    assert code(sessions, made.access_key_id, made.token) == "ExpiredToken"
