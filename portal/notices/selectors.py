"""Questions about notifications."""

from __future__ import annotations

from django.db.models import OuterRef, QuerySet, Subquery

from portal.accounts.models import User
from portal.core.errors import NotFound
from portal.notices.models import Kind, Notice, Subscription
from portal.pipelines.models import Pipeline, Script


def subscriptions_of(owner: User) -> QuerySet[Subscription]:
    """A person's notifications, newest first."""
    return Subscription.objects.filter(owner=owner)


def subscriptions_listed(owner: User) -> QuerySet[Subscription]:
    """The same, each with ``last_sent_at``, and ``last_state``: whether the last one arrived, tests apart."""
    notices = Notice.objects.filter(subscription=OuterRef("pk")).order_by("-created_at")
    settled = notices.exclude(state=Notice.State.WAITING).exclude(kind=Kind.TEST)
    return subscriptions_of(owner).annotate(
        last_sent_at=Subquery(notices.filter(state=Notice.State.SENT).values("sent_at")[:1]),
        last_state=Subquery(settled.values("state")[:1]),
    )


def subscription_get(*, owner: User, subscription_id: str) -> Subscription:
    """One of a person's notifications. Raises ``NotFound``."""
    found = subscriptions_of(owner).filter(pk=subscription_id).first()
    if found is None:
        raise NotFound("There is no such notification.")
    return found


def notices_of(subscription: Subscription) -> QuerySet[Notice]:
    """What was sent there, or is to be, newest first."""
    return Notice.objects.filter(subscription=subscription)


def notice_get(*, subscription: Subscription, notice_id: str) -> Notice:
    """One of them. Raises ``NotFound``."""
    found = notices_of(subscription).filter(pk=notice_id).first()
    if found is None:
        raise NotFound("There is no such notice.")
    return found


def chosen_names(subscription: Subscription) -> list[str]:
    """The names of the pipelines and scripts that were chosen; none where everything is meant."""
    if subscription.everything:
        return []
    pipelines = Pipeline.objects.filter(owner_id=subscription.owner_id, pk__in=subscription.pipelines)
    scripts = Script.objects.filter(owner_id=subscription.owner_id, pk__in=subscription.scripts)
    return [*pipelines.values_list("name", flat=True), *scripts.values_list("name", flat=True)]
