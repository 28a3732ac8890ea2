"""Letting a program in that has no browser: the device flow of RFC 8628, with Orca's own tokens.

The program begins and gets a secret and a short code. Its person types the code on a page, sees what asks and from
where, and allows it. The program, which has been asking with its secret, gets a token once; it is kept nowhere.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.utils import timezone

from portal.accounts.models import ApiToken, DeviceLogin, User
from portal.accounts.services import api_token_add
from portal.core.audit import audit
from portal.core.errors import LimitReached, NotFound, OrcaError
from portal.core.states import moved

State = DeviceLogin.State
LASTS = timedelta(minutes=10)
ASK_EVERY_SECONDS = 2
TOKEN_DAYS = 90
# No vowels, so that no words appear, and nothing that looks like a digit (RFC 8628, 6.1).
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
CODE_LENGTH = 8
MOST_WRONG_CODES = 20
_KEPT = timedelta(days=1)


class DevicePending(OrcaError):
    """Nobody has decided yet: ask again in ``ASK_EVERY_SECONDS``."""

    status = 400
    code = "authorization_pending"


class DeviceRefused(OrcaError):
    """There will be no token for this secret."""

    status = 400
    code = "access_denied"


@dataclass(frozen=True)
class Begun:
    """A login that has begun; ``secret`` is for the program alone."""

    login: DeviceLogin
    secret: str


def device_login_begin(*, name: str, address: str) -> Begun:
    """Begin: a secret for the program and a code for its person."""
    now = timezone.now()
    DeviceLogin.objects.filter(expires_at__lt=now - _KEPT).delete()
    called = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:80] or "a program"
    while True:
        secret = secrets.token_urlsafe(32)
        code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
        try:
            with transaction.atomic():
                login = DeviceLogin.objects.create(
                    secret=_digest(secret), code=code, name=called, address=address, expires_at=now + LASTS
                )
        except IntegrityError:  # the code is in use: one time in many millions
            continue
        return Begun(login, secret)


def device_login_find(*, by: User, code: str) -> DeviceLogin:
    """The login that waits with this code, however it was typed.

    Raises ``NotFound``, or ``LimitReached`` for a person who has typed many wrong ones.
    """
    guesses = f"device-guesses:{by.pk}"
    if cache.get(guesses, 0) >= MOST_WRONG_CODES:
        raise LimitReached("Too many wrong codes.", code="too_many_codes", hint="Wait ten minutes, then begin again.")
    typed = "".join(c for c in code.upper() if c.isalnum())
    found = DeviceLogin.objects.filter(code=typed, state=State.WAITING, expires_at__gt=timezone.now()).first()
    if found is None:
        cache.add(guesses, 0, LASTS.total_seconds())
        cache.incr(guesses)
        raise NotFound(
            "No program waits with this code.",
            code="unknown_code",
            hint="A code works once and for ten minutes. Compare it with your terminal, or run “orca login” again.",
        )
    return found


def device_login_decide(*, login: DeviceLogin, by: User, allow: bool) -> None:
    """Let the program in as ``by``, or refuse it. Raises ``NotFound`` where somebody has decided before."""
    state = State.ALLOWED if allow else State.DENIED
    with transaction.atomic():
        if not moved(login, DeviceLogin.TRANSITIONS, state, user=by):
            raise NotFound("This code was used already.", code="unknown_code", hint="Run “orca login” again.")
        audit(f"device.{'allow' if allow else 'deny'}", login, by=by, program=login.name, address=login.address)


def device_login_take(*, secret: str) -> tuple[ApiToken, str]:
    """The token of a program that was allowed in, and its text, which is given this once.

    Raises ``DevicePending``, ``DeviceRefused`` or ``LimitReached`` (too many tokens).
    """
    login = DeviceLogin.objects.select_related("user").filter(secret=_digest(secret)).first()
    if login is None or login.state == State.TAKEN or login.expires_at < timezone.now():
        raise DeviceRefused("This login has run out.", code="expired_token", hint="Begin again.")
    if login.state == State.WAITING:
        raise DevicePending("Nobody has allowed this yet.", hint="Ask again in a moment.")
    with transaction.atomic():
        if login.user is None or not login.user.is_active or not moved(login, DeviceLogin.TRANSITIONS, State.TAKEN):
            raise DeviceRefused("This login was refused.", hint="Begin again, and allow it on the page.")
        return api_token_add(owner=login.user, name=login.name, days=TOKEN_DAYS)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
