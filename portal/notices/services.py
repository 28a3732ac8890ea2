"""What people do with their notifications."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.encoding import iri_to_uri

from portal.accounts.models import User
from portal.core.audit import audit
from portal.core.background import enqueue_on_commit
from portal.core.errors import Conflict, Invalid, LimitReached
from portal.core.live import publish_on_commit
from portal.gateways.webhook import allowed
from portal.notices import outbox, sending
from portal.notices.mail import addresses_of
from portal.notices.models import ASKED_FOR, Kind, Notice, Subscription
from portal.notices.secrets import secret_open, secret_sealed
from portal.pipelines.models import Pipeline, Script

MOST_SUBSCRIPTIONS = 50
MOST_CHOSEN = 200
MOST_MINUTES = 60 * 24 * 30
MOST_HOURS = 24 * 90
MOST_TESTS = 6
_MINUTE = timedelta(minutes=1)


@transaction.atomic
def subscription_create(*, owner: User, channel: str, **fields: Any) -> Subscription:
    """A new notification; ``secret_of`` is to be shown with it, this once. Raises Invalid, LimitReached.

    ``fields`` are those of ``subscription_update``.
    """
    if channel not in Subscription.Channel.values:
        raise Invalid("There is no such way.", fields={"channel": "email or webhook"})
    if Subscription.objects.filter(owner=owner).count() >= MOST_SUBSCRIPTIONS:
        raise LimitReached(f"You have {MOST_SUBSCRIPTIONS} notifications. Remove one first.", code="too_many")
    made = Subscription(owner=owner, channel=channel)
    _take(made, {"name": "", "address": "", "on": [Kind.FAILURE], **fields})
    if channel == Subscription.Channel.WEBHOOK:
        made.secret = secret_sealed()
    made.save()
    audit("notification.create", made, by=owner, channel=channel, address=made.address)
    return made


def secret_of(*, owner: User, subscription_id: str) -> str:
    """The secret of a webhook that was just made; empty for a mail, and where it is gone meanwhile."""
    found = Subscription.objects.filter(owner=owner, pk=subscription_id).first()
    return secret_open(found.secret) if found is not None and found.secret else ""


@transaction.atomic
def subscription_update(*, subscription: Subscription, by: User, **fields: Any) -> Subscription:
    """Change some of ``name address on everything scripts pipelines late_minutes silent_hours enabled``.

    Raises Invalid. A webhook that gets another address keeps its secret.
    """
    _take(subscription, fields)
    subscription.save()
    audit("notification.update", subscription, by=by, changed=sorted(fields))
    return subscription


@transaction.atomic
def subscription_delete(*, subscription: Subscription, by: User) -> None:
    """Take it away, and what was still to be sent."""
    audit("notification.delete", subscription, by=by, address=subscription.address)
    subscription.delete()


@transaction.atomic
def secret_rotate(*, subscription: Subscription, by: User) -> str:
    """A fresh secret, shown this once; the one before signs too for a day. Raises ``Conflict`` for a mail."""
    if subscription.channel != Subscription.Channel.WEBHOOK:
        raise Conflict("Only webhooks have a secret.", code="no_secret")
    sealed = secret_sealed()
    same = Subscription.objects.filter(pk=subscription.pk, secret=subscription.secret)
    changes = {"secret": sealed, "secret_before": subscription.secret, "secret_changed_at": timezone.now()}
    if not same.update(**changes):
        raise Conflict("The secret was changed at the same moment.", code="changed_meanwhile", hint="Do it again.")
    audit("notification.secret", subscription, by=by)
    return secret_open(sealed)


def trial_create(*, subscription: Subscription, by: User) -> Notice:
    """A notice that is about nothing, to be sent by ``sending.notice_send``. Raises ``LimitReached``."""
    recent = Notice.objects.filter(
        subscription__owner_id=subscription.owner_id, kind=Kind.TEST, created_at__gt=timezone.now() - _MINUTE
    )
    if recent.count() >= MOST_TESTS:
        raise LimitReached(f"At most {MOST_TESTS} tests a minute.", hint="Wait a moment.")
    with transaction.atomic():
        notice = outbox.trial_notice(subscription)
        notice.save()
        audit("notification.test", subscription, by=by)
    return notice


def notice_again(*, notice: Notice, by: User) -> None:
    """Send what was sent or given up once more, under the same id. Raises ``Conflict`` while it waits, or is off."""
    if not notice.subscription.enabled:
        raise Conflict("This notification is switched off.", code="switched_off", hint="Switch it on first.")
    with transaction.atomic():
        if not sending.notice_renew(notice=notice):
            raise Conflict("It is still being sent.", code="still_waiting")
        audit("notification.again", notice.subscription, by=by, notice=notice.pk)
        enqueue_on_commit(outbox.SEND)
        publish_on_commit(f"notification:{notice.subscription_id}")


def _take(subscription: Subscription, given: dict[str, Any]) -> None:
    """Put what was given into the row. Raises Invalid, which names each field that cannot be taken."""
    wrong: dict[str, str] = {}
    if "name" in given:
        subscription.name = " ".join(str(given["name"]).split())
        if not 1 <= len(subscription.name) <= 80 or not subscription.name.isprintable():
            wrong["name"] = "1 to 80 characters"
    if "address" in given:
        try:
            subscription.address = _address(subscription, str(given["address"]).strip())
        except Invalid as error:
            wrong["address"] = error.message
    if "on" in given:
        wanted = set(given["on"])
        for kind in ASKED_FOR:
            setattr(subscription, f"on_{kind}", kind in wanted)
        if not wanted or wanted - set(ASKED_FOR):
            wrong["on"] = f"one or more of {', '.join(ASKED_FOR)}"
    wrong |= _take_scope(subscription, given) | _take_times(subscription, given)
    if "enabled" in given:
        subscription.enabled = bool(given["enabled"])
        subscription.disabled_why = ""
    if wrong:
        raise Invalid("The notification cannot be like this.", fields=wrong)


def _take_scope(subscription: Subscription, given: dict[str, Any]) -> dict[str, str]:
    wrong: dict[str, str] = {}
    owner = subscription.owner
    for name, mine in (
        ("scripts", Script.objects.filter(owner=owner, archived_at=None)),
        ("pipelines", Pipeline.objects.filter(owner=owner, archived_at=None)),
    ):
        if name in given:
            chosen = list(dict.fromkeys(given[name]))
            before = set(getattr(subscription, name))  # an archived one may stay chosen
            known = before | {str(pk) for pk in mine.filter(pk__in=chosen[:MOST_CHOSEN]).values_list("pk", flat=True)}
            setattr(subscription, name, chosen)
            if len(chosen) > MOST_CHOSEN:
                wrong[name] = f"at most {MOST_CHOSEN}"
            elif unknown := [pk for pk in chosen if pk not in known]:
                wrong[name] = f"You have none with the id {unknown[0][:40]}."
    if "everything" in given:
        subscription.everything = bool(given["everything"])
    elif {"scripts", "pipelines"} & given.keys():
        subscription.everything = not (subscription.scripts or subscription.pipelines)
    if not subscription.everything and not (subscription.scripts or subscription.pipelines) and not wrong:
        wrong["everything"] = "Choose scripts or pipelines, or take everything."
    return wrong


def _take_times(subscription: Subscription, given: dict[str, Any]) -> dict[str, str]:
    wrong: dict[str, str] = {}
    if "late_minutes" in given:
        subscription.late_minutes = given["late_minutes"]
        if not 1 <= subscription.late_minutes <= MOST_MINUTES:
            wrong["late_minutes"] = f"from 1 to {MOST_MINUTES}"
    if "silent_hours" in given:
        subscription.silent_hours = given["silent_hours"]
        if subscription.silent_hours is not None and not 1 <= subscription.silent_hours <= MOST_HOURS:
            wrong["silent_hours"] = f"from 1 to {MOST_HOURS}, or nothing"
    return wrong


def _address(subscription: Subscription, text: str) -> str:
    """The address as it is kept. Raises ``Invalid``."""
    if subscription.channel == Subscription.Channel.WEBHOOK:
        return webhook_address(text)
    known = addresses_of(subscription.owner)
    if text.lower() not in known:
        raise Invalid(f"Only an address that you have verified: {_listed(known)}.")
    return text.lower()


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "you have none yet"


def webhook_address(text: str) -> str:
    """A URL that may be posted to, its host in ASCII. Raises ``Invalid``.

    What a name stands for is judged anew each time that something is sent.
    """
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port
    except (ValueError, UnicodeError) as error:
        raise Invalid("This is not the address of a web page.") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise Invalid("An address begins with https:// or http://, and a host.")
    if parts.username is not None or parts.password is not None:
        raise Invalid("Put no password into the address: check the signature instead.")
    if any(c.isspace() for c in text) or not text.isprintable():
        raise Invalid("An address has no spaces in it.")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if not allowed(literal, private=settings.WEBHOOK_PRIVATE_ADDRESSES):
            raise Invalid("This is an address inside a private network, where Orca does not send.")
    place = f"[{host}]" if ":" in host else host
    place = place if port is None else f"{place}:{port}"
    found = iri_to_uri(urlunsplit((parts.scheme, place, parts.path or "/", parts.query, "")))
    if len(found) > 500:
        raise Invalid("An address has at most 500 characters.")
    return found
