"""Temporary credentials that carry themselves.

A session token is the session's facts, sealed with a key of this local cloud; the secret access key is derived from
the access key's id. So nothing has to be stored, nothing grows, and credentials outlive a restart as they do on AWS.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from moto.iam.utils import generate_access_key_id_from_account_id

from agents.local_cloud.faults import Fault


@dataclass(frozen=True)
class Session:
    """Temporary credentials and what they stand for. ``expires`` in epoch seconds, whole."""

    account_id: str
    kind: str
    name: str
    owner_id: str
    role_arn: str
    session_name: str
    access_key_id: str
    secret_access_key: str
    token: str
    expires: int
    policy: str | None = None
    source_instance_arn: str | None = None

    @property
    def arn(self) -> str:
        """``arn:aws:sts::<account>:assumed-role/<role>/<session>``."""
        role = self.role_arn.rsplit("/", 1)[-1]
        return f"arn:aws:sts::{self.account_id}:assumed-role/{role}/{self.session_name}"

    @property
    def expiration(self) -> datetime:
        """When the credentials end, in UTC."""
        return datetime.fromtimestamp(self.expires, UTC)


class Sessions:
    """Issues and opens temporary credentials with one sealing key (32 bytes, kept with the state)."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def issue(
        self,
        *,
        account_id: str,
        kind: str,
        name: str,
        owner_id: str,
        role_arn: str,
        session_name: str,
        seconds: int,
        policy: str | None = None,
        source_instance_arn: str | None = None,
    ) -> Session:
        """New credentials that last ``seconds``."""
        access_key_id = generate_access_key_id_from_account_id(account_id, prefix="ASIA", total_length=20)
        expires = int(self._clock()) + seconds
        facts = [
            account_id,
            kind,
            name,
            owner_id,
            role_arn,
            session_name,
            expires,
            policy,
            source_instance_arn,
            secrets.token_hex(4),
        ]
        body = zlib.compress(json.dumps(facts, separators=(",", ":")).encode(), 9)
        seal = self._mac(b"token", access_key_id.encode() + body)
        token = base64.b64encode(seal[:16] + body).decode()
        return self._session(access_key_id, token, facts)

    def open(self, access_key_id: str, token: str) -> Session:
        """The session of a token; ``Fault`` if it is forged, of another key, or has expired."""
        try:
            raw = base64.b64decode(token, validate=True)
        except ValueError:
            raise _invalid() from None
        seal = self._mac(b"token", access_key_id.encode() + raw[16:])
        if not hmac.compare_digest(seal[:16], raw[:16]):
            raise _invalid()
        session = self._session(access_key_id, token, json.loads(zlib.decompress(raw[16:])))
        if session.expires <= self._clock():
            raise Fault("ExpiredToken", "The security token included in the request is expired")
        return session

    def _session(self, access_key_id: str, token: str, facts: list[object]) -> Session:
        account_id, kind, name, owner_id, role_arn, session_name, expires, policy, instance, _ = facts
        secret = base64.b64encode(self._mac(b"secret", access_key_id.encode())).decode()[:40]
        return Session(
            account_id=str(account_id),
            kind=str(kind),
            name=str(name),
            owner_id=str(owner_id),
            role_arn=str(role_arn),
            session_name=str(session_name),
            access_key_id=access_key_id,
            secret_access_key=secret,
            token=token,
            expires=int(str(expires)),
            policy=None if policy is None else str(policy),
            source_instance_arn=None if instance is None else str(instance),
        )

    def _mac(self, purpose: bytes, message: bytes) -> bytes:
        return hmac.new(self._key, purpose + b"\0" + message, hashlib.sha256).digest()


def _invalid() -> Fault:
    return Fault("InvalidClientTokenId", "The security token included in the request is invalid.")
