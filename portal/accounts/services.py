"""Changing people, keys and tokens."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.mail import send_mail
from django.db import IntegrityError, transaction
from django.utils import timezone
from knox.models import get_digest_token
from knox.settings import CONSTANTS

from portal.accounts.events import ssh_keys_changed
from portal.accounts.models import ApiToken, SshKey, User
from portal.accounts.ssh import public_key_read
from portal.core.audit import audit
from portal.core.errors import Conflict, Invalid, LimitReached, NotFound

MOST_SSH_KEYS = 50
MOST_API_TOKENS = 50
LONGEST_TOKEN_DAYS = 3650


@transaction.atomic
def ssh_key_add(*, owner: User, name: str, public_key: str) -> SshKey:
    """Lets a key into all of the owner's instances; without a name it takes the key's own comment.

    Raises Invalid, Conflict when the owner has it already, LimitReached.
    """
    read = public_key_read(public_key)
    called = " ".join((name or read.comment or read.key_type).split())[:80]
    if SshKey.objects.filter(owner=owner).count() >= MOST_SSH_KEYS:
        raise LimitReached(f"You have {MOST_SSH_KEYS} keys. Remove one first.", code="too_many_keys")
    if SshKey.objects.filter(owner=owner, fingerprint=read.fingerprint).exists():
        raise _known_key(read.fingerprint)
    try:
        with transaction.atomic():
            key = SshKey.objects.create(
                owner=owner,
                name=called,
                key_type=read.key_type,
                public_key=read.line,
                fingerprint=read.fingerprint,
            )
    except IntegrityError as error:
        raise _known_key(read.fingerprint) from error
    _announce_keys(owner.pk)
    return key


def _known_key(fingerprint: str) -> Conflict:
    message = "You have added this key already."
    return Conflict(message, code="key_exists", hint=fingerprint, fields={"public_key": message})


@transaction.atomic
def ssh_key_remove(*, owner: User, key_id: str) -> None:
    """Takes a key out of all of the owner's instances. Raises NotFound."""
    deleted, _ = SshKey.objects.filter(owner=owner, pk=key_id).delete()
    if not deleted:
        raise NotFound("There is no such key.")
    _announce_keys(owner.pk)


def _announce_keys(owner_id: str) -> None:
    transaction.on_commit(partial(ssh_keys_changed.send_robust, sender=SshKey, owner_id=owner_id))


def api_token_add(*, owner: User, name: str, days: int | None = None) -> tuple[ApiToken, str]:
    """A new token and its text, which is kept nowhere; without ``days`` it does not expire.

    Raises Invalid, LimitReached.
    """
    if days is not None and not 1 <= days <= LONGEST_TOKEN_DAYS:
        message = f"A token lasts from 1 to {LONGEST_TOKEN_DAYS} days."
        raise Invalid(message, fields={"days": message})
    ApiToken.objects.filter(user=owner, expiry__lte=timezone.now()).delete()  # they are listed nowhere any more
    if ApiToken.objects.filter(user=owner).count() >= MOST_API_TOKENS:
        raise LimitReached(f"You have {MOST_API_TOKENS} tokens. Remove one first.", code="too_many_tokens")
    digest, text = get_digest_token()
    token = ApiToken.objects.create(
        user=owner,
        name=" ".join(name.split())[:80],
        digest=digest,
        token_key=text[: CONSTANTS.TOKEN_KEY_LENGTH],
        expiry=None if days is None else timezone.now() + timedelta(days=days),
    )
    return token, text


def api_token_remove(*, owner: User, token_id: str) -> None:
    """Makes a token useless at once. Raises NotFound."""
    deleted, _ = ApiToken.objects.filter(user=owner, id=token_id).delete()
    if not deleted:
        raise NotFound("There is no such token.")


def api_token_used(*, token: ApiToken, at: datetime) -> None:
    """Notes that a token was used, at most once a minute so that reading costs no write."""
    if token.last_used_at is None or at - token.last_used_at > timedelta(minutes=1):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=at)


def user_update(*, user: User, name: str) -> User:
    """Changes what a person is called. Raises Invalid."""
    called = " ".join(name.split())
    if len(called) > 120:
        message = "A name has at most 120 characters."
        raise Invalid(message, fields={"name": message})
    user.name = called
    user.save(update_fields=["name"])
    return user


@transaction.atomic
def user_approve(*, user: User) -> bool:
    """Lets a person in and tells them; False when somebody did so before."""
    locked = User.objects.select_for_update().get(pk=user.pk)
    if locked.approved_at is not None:
        return False
    locked.approved_at = user.approved_at = timezone.now()
    locked.save(update_fields=["approved_at"])
    if settings.SIGNUP_APPROVAL:
        transaction.on_commit(partial(_tell_approved, user.email))
    return True


@transaction.atomic
def trial_lift(*, user: User, by: User) -> bool:
    """Takes somebody off trial: they have everybody's quota from now on; False when they were not on trial."""
    if not User.objects.filter(pk=user.pk, trial=True).update(trial=False):
        return False
    user.trial = False
    audit("user.trial_lift", user, by=by)
    return True


def _tell_approved(email: str) -> None:
    send_mail(
        "[Orca] You can start",
        f"Your account was approved. Log in and build your workspace:\n\n{settings.PUBLIC_URL}/\n",
        settings.DEFAULT_FROM_EMAIL,
        [email],
        fail_silently=True,
    )


@transaction.atomic
def user_readdress(*, user: User) -> None:
    """What follows when an operator gives a person another address: the old one opens nothing any more, not even by a
    password reset, and the new one is verified at the next login."""
    EmailAddress.objects.filter(user=user).delete()
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=False)


@transaction.atomic
def user_activate(*, user: User, active: bool) -> None:
    """Switches an account on, or off: no login, no token, no SSH key of it works any more."""
    user.is_active = active
    user.save(update_fields=["is_active"])
    if not active:
        ApiToken.objects.filter(user=user).delete()
    _announce_keys(user.pk)
