"""Receipt handles that say which message and which receipt they are for, so that nothing has to be remembered."""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass


@dataclass(frozen=True)
class Receipt:
    """One receipt of one message. ``number`` counts the message's receipts from 1."""

    message_id: str
    number: int
    nonce: str

    @property
    def handle(self) -> str:
        """What the consumer is given."""
        return base64.urlsafe_b64encode(f"{self.message_id} {self.number} {self.nonce}".encode()).decode()

    @classmethod
    def new(cls, message_id: str, number: int) -> Receipt:
        """A receipt that nobody can guess."""
        return cls(message_id, number, secrets.token_hex(8))

    @classmethod
    def parse(cls, handle: str) -> Receipt | None:
        """The receipt of a handle; None if it never was one."""
        try:
            message_id, number, nonce = base64.urlsafe_b64decode(handle.encode()).decode().split(" ")
            return cls(message_id, int(number), nonce)
        except (ValueError, binascii.Error):
            return None
