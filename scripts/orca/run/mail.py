"""Mails that the portal wrote to files because no mail server is set."""

from __future__ import annotations

import email
import re
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

_SEPARATOR = re.compile(r"^-{79}$", re.MULTILINE)


@dataclass(frozen=True)
class Mail:
    """One mail: whom to, about what, and the addresses that its text names."""

    to: str
    subject: str
    links: tuple[str, ...]


def mails_in(path: Path) -> list[Mail]:
    """The mails in one file of Django's file backend."""
    texts = [text.strip() for text in _SEPARATOR.split(path.read_text())]
    return [_read(email.message_from_string(text)) for text in texts if text]


def _read(message: Message) -> Mail:
    body = message.get_payload(decode=True)
    text = body.decode() if isinstance(body, bytes) else str(message)
    links = tuple(re.findall(r"https?://[^\s<>\"]+", text))
    return Mail(str(message["To"]), str(message["Subject"]), links)
