"""Who wants to hear of which runs and where, and what is on its way there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from portal.core.models import Identified
from portal.core.states import Transitions

GIVEN_UP_AFTER = timedelta(hours=24)


class Kind(models.TextChoices):
    """What a notice can be about; ``test`` is about nothing, and of what will be deleted everybody is told."""

    SUCCESS = "success", "it succeeded"
    FAILURE = "failure", "it failed"
    LATE = "late", "it is late"
    DID_NOT_RUN = "did_not_run", "it did not run"
    BUDGET = "budget", "money runs out"
    EXPIRY = "expiry", "its outputs will be deleted"
    TEST = "test", "a test"


ASKED_FOR = (Kind.SUCCESS, Kind.FAILURE, Kind.LATE, Kind.DID_NOT_RUN, Kind.BUDGET)


class Subscription(Identified):
    """One place where a person wants to hear of runs, and of which."""

    class Channel(models.TextChoices):
        EMAIL = "email", "E-mail"
        WEBHOOK = "webhook", "Webhook"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="subscriptions")
    name = models.CharField(max_length=80)
    channel = models.CharField(max_length=8, choices=Channel.choices)
    address = models.CharField(max_length=500, help_text="An e-mail address, or the URL that is posted to.")
    everything = models.BooleanField(default=True, help_text="All runs, not only those of chosen things.")
    scripts = models.JSONField(default=list, blank=True, help_text="Ids of the chosen scripts.")
    pipelines = models.JSONField(default=list, blank=True, help_text="Ids of the chosen pipelines.")
    on_success = models.BooleanField(default=False)
    on_failure = models.BooleanField(default=True)
    on_late = models.BooleanField(default=False)
    on_did_not_run = models.BooleanField(default=False)
    on_budget = models.BooleanField(default=False)
    late_minutes = models.PositiveIntegerField(default=60)
    silent_hours = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: only slots of schedules count.")
    enabled = models.BooleanField(default=True)
    disabled_why = models.CharField(max_length=200, blank=True, help_text="Empty where a person switched it off.")
    secret = models.TextField(blank=True, editable=False, help_text="Sealed.")
    secret_before = models.TextField(blank=True, editable=False, help_text="Sealed; signs too for a while.")
    secret_changed_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta(Identified.Meta):
        verbose_name = "notification"

    def __str__(self) -> str:
        return self.name

    @property
    def on(self) -> list[str]:
        """What is wanted, as words."""
        return [kind.value for kind in ASKED_FOR if self.wants(kind)]

    def wants(self, kind: str) -> bool:
        """Whether notices of this kind are wanted."""
        return bool(getattr(self, f"on_{kind}"))

    def covers(self, *, script_id: str | None, pipeline_id: str | None) -> bool:
        """Whether runs of these are meant."""
        return self.everything or script_id in self.scripts or pipeline_id in self.pipelines


class Notice(Identified):
    """Something to tell, at one place: an outbox row. ``event`` makes that it is told there once.

    The body is put together when it is first sent, and stays as it is; so does the id, by which receivers know repeats.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        FAILED = "failed"

    TRANSITIONS: ClassVar[Transitions] = {
        "waiting": frozenset({"sent", "failed"}),
        "sent": frozenset({"waiting"}),  # sent again because a person asked for it
        "failed": frozenset({"waiting"}),
    }

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="notices")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    event = models.CharField(max_length=120)
    run = models.ForeignKey("pipelines.Run", on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    facts = models.JSONField(default=dict, blank=True, help_text="What the run's own row does not say.")
    subject = models.CharField(max_length=200)
    body = models.JSONField(null=True, blank=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(default=timezone.now)
    give_up_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True, blank=True)
    tried_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Of the last answer to a webhook.")
    error = models.CharField(max_length=300, blank=True)
    seconds = models.FloatField(null=True, blank=True, help_text="That the last try took.")

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["subscription", "event"], name="told_once_in_a_place"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["state", "next_try_at"], name="notices_by_next_try"),
            models.Index(fields=["subscription", "-created_at"], name="notices_of_a_subscription"),
        ]

    def __str__(self) -> str:
        return self.subject

    @property
    def is_put_off(self) -> bool:
        """Whether it waits for its next try, rather than for its turn."""
        return self.state == self.State.WAITING and self.tries > 0 and self.next_try_at > timezone.now()

    @property
    def content(self) -> dict[str, Any]:
        """The body, nothing while there is none."""
        return self.body or {}
