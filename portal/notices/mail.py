"""Notices as mails: plain text, and the same as HTML."""

from __future__ import annotations

import hashlib
import smtplib
from collections.abc import Sequence
from urllib.parse import urlsplit

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from portal.accounts.models import User
from portal.core.errors import OrcaError
from portal.notices.models import Notice


class MailRefused(OrcaError):
    """The mail server did not take it; ``retryable`` tells whether it may later."""

    status = 502
    code = "mail_refused"

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


def addresses_of(owner: User) -> list[str]:
    """The addresses that a person has shown to be theirs, the primary one first."""
    found = EmailAddress.objects.filter(user=owner, verified=True).order_by("-primary", "email")
    return list(found.values_list("email", flat=True))


def mail_send(*, to: str, notices: Sequence[Notice]) -> None:
    """Send notices of one notification as one mail. Raises ``MailRefused``.

    The ``Message-ID`` of the same notices is always the same, so that a repeat is known.
    """
    subject = " ".join(notices[0].subject.split())
    if len(notices) > 1:
        subject = f"{subject}, and {len(notices) - 1} more"
    told = [notice.content["data"] for notice in notices]
    shown = {"subject": subject, "notices": told, "notification": told[0]["notification"]}
    message = EmailMultiAlternatives(
        f"[Orca] {subject}",
        render_to_string("notices/mail.txt", shown),
        settings.DEFAULT_FROM_EMAIL,
        [to],
        headers={
            "Message-ID": f"<{_name(notices)}@{urlsplit(settings.PUBLIC_URL).hostname or 'orca'}>",
            "Auto-Submitted": "auto-generated",
            "X-Orca-Notice": notices[0].pk,
        },
    )
    message.attach_alternative(render_to_string("notices/mail.html", shown), "text/html")
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        lasting = all(500 <= code < 600 for code in codes)
        raise MailRefused("The mail server refuses this address.", retryable=not lasting) from error
    except (smtplib.SMTPException, OSError) as error:
        raise MailRefused(f"The mail server did not take it: {error}"[:300], retryable=True) from error


def _name(notices: Sequence[Notice]) -> str:
    """What these notices, and no others, are called together."""
    if len(notices) == 1:
        return notices[0].pk
    return hashlib.sha256(" ".join(notice.pk for notice in notices).encode()).hexdigest()[:26]
