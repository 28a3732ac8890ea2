"""Mails that Django wrote to a file are read back."""

from __future__ import annotations

from pathlib import Path

from django.core.mail import EmailMessage
from django.core.mail.backends.filebased import EmailBackend

from scripts.orca.run.mail import mails_in


def test_every_mail_of_a_file_is_found_with_its_links(tmp_path: Path) -> None:
    with EmailBackend(file_path=str(tmp_path)) as backend:
        long = "http://127.0.0.1:8000/accounts/confirm-email/" + "Mw:1x" * 30 + "/"
        for to, text in (("ada@example.org", f"Grüße! Go to {long}\nBye."), ("bob@example.org", "Nothing to see.")):
            backend.send_messages([EmailMessage("[Orca] Confirm", text, "orca@localhost", [to])])
    (file,) = tmp_path.iterdir()
    first, second = mails_in(file)
    assert (first.to, first.subject, first.links) == ("ada@example.org", "[Orca] Confirm", (long,))
    assert (second.to, second.links) == ("bob@example.org", ())
