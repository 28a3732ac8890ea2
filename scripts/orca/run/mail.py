"""Mails that the portal wrote to files because no mail server is set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

_SEPARATOR = re.compile(rb"^-{79}$", re.MULTILINE)


@dataclass(frozen=True)
class Mail:
    """One mail: whom to, about what, and the addresses that its text names."""

    to: str
    subject: str
    links: tuple[str, ...]


def mails_in(path: Path) -> list[Mail]:
    """The mails in one file of Django's file backend."""
    parts = (part.lstrip() for part in _SEPARATOR.split(path.read_bytes()))
    return [_read(part) for part in parts if part]


def _read(data: bytes) -> Mail:
    message = message_from_bytes(data, _class=EmailMessage, policy=default)
    body = message.get_body(("plain", "html"))
    text = str(body.get_content()) if body is not None else ""
    return Mail(str(message["To"]), str(message["Subject"]), tuple(re.findall(r"https?://[^\s<>\"]+", text)))
