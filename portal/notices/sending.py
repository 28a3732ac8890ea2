"""Notices on their way: claimed by a conditional UPDATE with a lease, tried for about a day, given up for a reason.

One process's sender is one: however many receivers hang, they take one of its worker's threads, and no chore waits.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from portal.core.background import enqueue
from portal.core.errors import NotFound
from portal.core.live import publish
from portal.core.states import moved
from portal.gateways.webhook import Undelivered, post
from portal.notices import mail
from portal.notices.content import body_of, log_is_whole
from portal.notices.models import GIVEN_UP_AFTER, Kind, Notice, Subscription
from portal.notices.outbox import SEND
from portal.notices.secrets import signature_headers

logger = logging.getLogger(__name__)
# Seconds after each try, a little more by chance; the last goes on until the notice is given up.
BACKOFF = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400)
WITHIN = 10.0
CLAIM = timedelta(seconds=60)
AT_ONCE = 12
AT_ONCE_FOR_ONE = 2
LOOKED_AT = 200
MOST_IN_A_MAIL = 50
WORKS_FOR = 60.0
LOOK_AGAIN = 0.5
KNOCKS_FOR_ALL = timedelta(seconds=60)
KEPT = timedelta(days=30)
LOG_WAITED_FOR = timedelta(seconds=10)
_sending = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """How a try went: ``error`` is empty where it was taken. ``gone``: the receiver wants no more of anything."""

    error: str = ""
    retryable: bool = False
    status: int | None = None
    retry_after: float | None = None
    gone: bool = False
    seconds: float = 0.0


_OWN_FAULT = Outcome("A fault of Orca's own: the operator finds it in the log.", retryable=True)


def notices_send() -> int:
    """Send what is due until nothing is, or a minute is over; how many tries. Where one sends already, it goes on."""
    if not _sending.acquire(blocking=False):
        return 0
    try:
        tries, until = 0, time.monotonic() + WORKS_FOR
        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="notices") as pool:
            going: dict[Future[Outcome], _Way] = {}
            while True:
                claimed = _claimed(_due(going.values())) if time.monotonic() < until else []
                if not claimed and not going:
                    return tries
                for way in filter(None, map(_prepared, claimed)):
                    going[pool.submit(_tried, way)] = way
                # While some hang, others become due.
                for done in wait(going, timeout=LOOK_AGAIN, return_when=FIRST_COMPLETED).done:
                    for notice in going.pop(done).notices:
                        _settled(notice, done.result())
                    tries += 1
    finally:
        _sending.release()


def notice_send(*, notice_id: str) -> Notice:
    """Send one now, unless somebody does; the notice as it is then. Raises ``NotFound``."""
    for notice in _claimed([notice_id]):
        way = _prepared(notice)
        if way is not None:
            outcome = _tried(way)
            for sent in way.notices:
                _settled(sent, outcome)
    found = Notice.objects.filter(pk=notice_id).select_related("subscription").first()
    if found is None:
        raise NotFound("There is no such notice.")
    return found


def notice_renew(*, notice: Notice) -> bool:
    """Let a settled notice wait once more, for as long as a fresh one, under its id; whether it was settled."""
    now = timezone.now()
    fresh: dict[str, Any] = {"tries": 0, "next_try_at": now, "give_up_at": now + GIVEN_UP_AFTER, "claimed_until": None}
    return moved(notice, Notice.TRANSITIONS, Notice.State.WAITING, **fresh)


def notice_resend(*, notice_id: str) -> Notice:
    """Send one now, also if it was given up. Raises ``NotFound``."""
    notice = Notice.objects.filter(pk=notice_id).first()
    if notice is not None and notice.state == Notice.State.FAILED:
        notice_renew(notice=notice)
    return notice_send(notice_id=notice_id)


def notices_forget() -> int:
    """Drop what was settled long ago; how many rows."""
    old = Notice.objects.filter(created_at__lt=timezone.now() - KEPT).exclude(state=Notice.State.WAITING)
    return old.delete()[0]


def _due(going: Collection[_Way]) -> list[str]:
    """What is to be tried next: the longest due first, and of no subscription so much that others wait."""
    now = timezone.now()
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    rows = Notice.objects.filter(free, state=Notice.State.WAITING, next_try_at__lte=now).order_by("next_try_at", "id")
    counts = Counter(way.subscription.pk for way in going)
    chosen: list[str] = []
    for pk, subscription_id in rows.values_list("pk", "subscription_id")[:LOOKED_AT]:
        counts[subscription_id] += 1
        if counts[subscription_id] <= AT_ONCE_FOR_ONE and len(chosen) + len(going) < AT_ONCE:
            chosen.append(pk)
    return chosen


def _claimed(notice_ids: Sequence[str]) -> list[Notice]:
    """Those of them that are ours to send now. A sender that dies loses its claim after ``CLAIM``."""
    now = timezone.now()
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    ours = [
        pk
        for pk in notice_ids
        if Notice.objects.filter(free, pk=pk, state=Notice.State.WAITING).update(
            claimed_until=now + CLAIM, tries=F("tries") + 1, tried_at=now
        )
    ]
    shown = ("subscription__owner", "run__workspace", "run__script", "run__pipeline")
    return list(Notice.objects.filter(pk__in=ours).select_related(*shown).order_by("next_try_at", "id"))


@dataclass(frozen=True)
class _Way:
    """All that a try needs, so that it touches no database: tries run side by side."""

    notices: Sequence[Notice]
    subscription: Subscription
    payload: str


def _prepared(notice: Notice) -> _Way | None:
    """What to send and where. None where it is settled without a try, or put off."""
    try:
        if refusal := _refusal(notice):
            _settled(notice, Outcome(refusal))
            return None
        if notice.body is None:
            if timezone.now() - notice.created_at < LOG_WAITED_FOR and not log_is_whole(notice):
                soon = timezone.now() + timedelta(seconds=1)
                Notice.objects.filter(pk=notice.pk).update(claimed_until=None, next_try_at=soon, tries=F("tries") - 1)
                enqueue(SEND, seconds=1.5)
                return None
            _write(notice)
        return _Way([notice, *_company(notice)], notice.subscription, json.dumps(notice.body, ensure_ascii=False))
    except Exception:
        logger.exception("notice %s could not be written", notice.pk)
        _settled(notice, _OWN_FAULT)
        return None


def _write(notice: Notice) -> None:
    """Put the body together, once and for all."""
    notice.body = body_of(notice)
    if not Notice.objects.filter(pk=notice.pk, body__isnull=True).update(body=notice.body):
        notice.refresh_from_db(fields=["body"])


def _company(notice: Notice) -> list[Notice]:
    """What goes with a mail: all that waits for the same mailbox, so that a thousand failures do not fill it."""
    if notice.kind == Kind.TEST or notice.subscription.channel != Subscription.Channel.EMAIL:
        return []
    due = Notice.objects.filter(
        subscription=notice.subscription_id, state=Notice.State.WAITING, next_try_at__lte=timezone.now()
    )
    others = due.exclude(kind=Kind.TEST).order_by("next_try_at", "id").values_list("pk", flat=True)
    claimed = _claimed(list(others[:MOST_IN_A_MAIL]))
    for other in claimed:
        if other.body is None:
            _write(other)
    return claimed


def _refusal(notice: Notice) -> str:
    """Why it is not to be sent at all; mostly empty."""
    subscription, owner = notice.subscription, notice.subscription.owner
    if not subscription.enabled and notice.kind != Kind.TEST:
        return "The notification is switched off."
    if not owner.is_active:
        return "The account is switched off."
    if subscription.channel == Subscription.Channel.EMAIL and subscription.address not in mail.addresses_of(owner):
        return "This is no longer a verified address of yours."
    if notice.tries > 1 and timezone.now() > notice.give_up_at:
        return notice.error or "It could not be sent for a whole day."
    return ""


def _tried(way: _Way) -> Outcome:
    """One try. Whatever goes wrong in it is an outcome."""
    began = time.monotonic()
    try:
        found = _mailed(way) if way.subscription.channel == Subscription.Channel.EMAIL else _posted(way)
    except (Undelivered, mail.MailRefused) as error:
        found = Outcome(error.message, retryable=error.retryable)
    except Exception:
        logger.exception("notice %s could not be sent", way.notices[0].pk)
        found = _OWN_FAULT
    return replace(found, seconds=time.monotonic() - began)


def _mailed(way: _Way) -> Outcome:
    mail.mail_send(to=way.subscription.address, notices=way.notices)
    return Outcome()


def _posted(way: _Way) -> Outcome:
    signed = signature_headers(way.subscription, notice_id=way.notices[0].pk, at=timezone.now(), body=way.payload)
    headers = {"Content-Type": "application/json", "User-Agent": "Orca (webhooks)", **signed}
    answer = post(
        way.subscription.address,
        body=way.payload.encode(),
        headers=headers,
        private=settings.WEBHOOK_PRIVATE_ADDRESSES,
        within=WITHIN,
    )
    return verdict(answer.status, answer.retry_after)


def verdict(status: int, retry_after: float | None = None) -> Outcome:
    """What a receiver's answer means: taken, to be tried again, or never to be."""
    if 200 <= status < 300:
        return Outcome(status=status)
    if status == 410:
        return Outcome("It answered 410: it wants no more notices.", status=status, gone=True)
    if 300 <= status < 400:
        return Outcome(f"It answered {status}, which leads elsewhere: give the final address.", status=status)
    retryable = status in {408, 429} or status >= 500
    return Outcome(f"It answered {status}.", retryable=retryable, status=status, retry_after=retry_after)


def _settled(notice: Notice, outcome: Outcome) -> None:
    """Note how a try went, and when the next one is."""
    now = timezone.now()
    told: dict[str, Any] = {
        "status": outcome.status,
        "error": outcome.error[:300],
        "seconds": outcome.seconds,
        "claimed_until": None,
    }
    if not outcome.error:
        moved(notice, Notice.TRANSITIONS, Notice.State.SENT, sent_at=now, **told)
    else:
        at = now + _wait(notice.tries, outcome)
        if outcome.retryable and at < notice.give_up_at:
            Notice.objects.filter(pk=notice.pk, state=Notice.State.WAITING).update(next_try_at=at, **told)
            # One knocks for all: what else waits for this receiver is left alone for a while.
            later = min(at, now + KNOCKS_FOR_ALL)
            others = Notice.objects.filter(subscription=notice.subscription_id, state=Notice.State.WAITING)
            others.filter(next_try_at__lt=later, claimed_until=None).exclude(pk=notice.pk).update(next_try_at=later)
        else:
            moved(notice, Notice.TRANSITIONS, Notice.State.FAILED, **told)
            logger.warning("notice %s was given up after %d tries: %s", notice.pk, notice.tries, outcome.error)
    if outcome.gone:
        Subscription.objects.filter(pk=notice.subscription_id).update(enabled=False, disabled_why=outcome.error)
    publish([f"notification:{notice.subscription_id}"])


def _wait(tries: int, outcome: Outcome) -> timedelta:
    """Until the next try; a receiver that says how long gets at least that."""
    usual = BACKOFF[min(max(tries, 1), len(BACKOFF)) - 1] * random.uniform(1.0, 1.1)  # noqa: S311 (nothing secret)
    return min(timedelta(seconds=max(usual, outcome.retry_after or 0)), GIVEN_UP_AFTER)
