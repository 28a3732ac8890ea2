"""Secrets that webhooks are signed with, after https://www.standardwebhooks.com."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime, timedelta

from django.utils import timezone
from standardwebhooks import Webhook

from portal.core.sealing import seal, unseal
from portal.notices.models import Subscription

# For so long the secret before the last signs too, so that receivers can be changed without missing anything.
OVERLAP = timedelta(hours=24)
_PURPOSE = "webhook secret"


def secret_sealed() -> str:
    """A fresh secret as the database keeps it."""
    return seal(f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}", purpose=_PURPOSE)


def secret_open(sealed: str) -> str:
    """The secret as its owner sees it, once."""
    return unseal(sealed, purpose=_PURPOSE)


def signature_headers(subscription: Subscription, *, notice_id: str, at: datetime, body: str) -> dict[str, str]:
    """The three headers that let a receiver tell whose this is, when it was sent, and whether it has had it before."""
    sealed = [subscription.secret]
    changed = subscription.secret_changed_at
    if subscription.secret_before and changed is not None and timezone.now() - changed < OVERLAP:
        sealed.append(subscription.secret_before)
    signatures = [Webhook(secret_open(one)).sign(notice_id, at, body) for one in sealed]
    return {
        "webhook-id": notice_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
