"""What an operator should know of notices: those that Orca itself has failed to send for some time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from portal.accounts.models import User
from portal.notices import sending
from portal.notices.models import Notice, Subscription
from portal.pipelines.attention import MOST_OF_A_KIND, Concern, contribute_concerns

STUCK_AFTER = timedelta(minutes=10)
GIVEN_UP_WITHIN = timedelta(hours=24)


def stuck_notices() -> Iterator[Concern]:
    """Notices whose next try is overdue, and mails that the mail server does not take. A webhook that does not answer
    is its owner's concern, who sees it on the notification's page."""
    now = timezone.now()
    waiting = Q(state=Notice.State.WAITING)
    overdue = waiting & Q(next_try_at__lt=now - STUCK_AFTER)
    mails = Q(subscription__channel=Subscription.Channel.EMAIL, tries__gt=0)
    refused = mails & (waiting & Q(created_at__lt=now - STUCK_AFTER))
    refused |= mails & Q(state=Notice.State.FAILED, tried_at__gt=now - GIVEN_UP_WITHIN, subscription__enabled=True)
    rows = Notice.objects.filter(overdue | refused).exclude(kind="test").select_related("subscription__owner")
    for row in rows.order_by("created_at")[:MOST_OF_A_KIND]:
        given_up = row.state == Notice.State.FAILED
        yield Concern(
            "notice",
            row.pk,
            f"Notice “{row}” is {'given up' if given_up else 'not sent'}",
            row.subscription.owner.email,
            row.created_at,
            row.error or "Nobody has tried to send it: does a worker run, and beat?",
            "Send now",
            "notices_notice",
        )


def _mend(notice_id: str, by: User) -> None:
    sending.notice_resend(notice_id=notice_id)


def connect() -> None:
    """Have them on the operators' page; called once, when Django has loaded."""
    contribute_concerns("notice", stuck_notices, _mend)
