"""Schedules, what became of each of their slots, and who of several beats is the one that fires them."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from portal.core.models import Identified

UNIT_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400}


class Schedule(Identified):
    """What is started when. ``next_at`` is the one truth about when: whoever moves it on has fired the slot.

    Without a ``next_at`` it will not fire: it is disabled, or was for one moment that has passed.
    """

    class Kind(models.TextChoices):
        CRON = "cron", "Cron"
        INTERVAL = "interval", "Interval"
        ONCE = "once", "Once"

    class Unit(models.TextChoices):
        SECONDS = "seconds"
        MINUTES = "minutes"
        HOURS = "hours"
        DAYS = "days"

    class Action(models.TextChoices):
        PIPELINE = "pipeline", "Run a pipeline"
        SCRIPT = "script", "Run a script"
        START = "start", "Start a workspace"
        STOP = "stop", "Stop a workspace"

    class Missed(models.TextChoices):
        SKIP = "skip", "only note it"
        RUN_ONCE = "run_once", "run once, as soon as possible"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="schedules")
    name = models.CharField(max_length=80)
    of_pipeline = models.BooleanField(
        default=False, help_text="It stands in the pipeline's YAML: saving that changes or deletes it."
    )
    enabled = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=200, blank=True, help_text="Why Orca itself disabled it.")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    expression = models.CharField(max_length=200, blank=True, help_text="Cron: the five fields.")
    every = models.PositiveIntegerField(null=True, blank=True, help_text="Interval: how many units.")
    unit = models.CharField(max_length=8, choices=Unit.choices, blank=True)
    at = models.DateTimeField(
        null=True, blank=True, help_text="Once: the moment. Interval: what it is counted from, the first slot."
    )
    zone = models.CharField(max_length=64, default="UTC")
    missed = models.CharField(max_length=8, choices=Missed.choices, default=Missed.SKIP)
    action = models.CharField(max_length=8, choices=Action.choices)
    pipeline = models.ForeignKey(
        "pipelines.Pipeline", on_delete=models.PROTECT, null=True, blank=True, related_name="schedules"
    )
    parameters = models.JSONField(default=dict, blank=True)
    workspace = models.ForeignKey(
        "workspaces.Workspace", on_delete=models.PROTECT, null=True, blank=True, related_name="schedules"
    )
    script = models.ForeignKey(
        "pipelines.Script", on_delete=models.PROTECT, null=True, blank=True, related_name="schedules"
    )
    version = models.PositiveIntegerField(null=True, blank=True, help_text="Of the script; the newest unless given.")
    arguments = models.JSONField(default=list, blank=True)
    environment = models.JSONField(default=dict, blank=True)
    limits = models.JSONField(default=dict, blank=True)
    secrets = models.JSONField(default=list, blank=True, help_text="The names of the secrets that the script is given.")
    next_at = models.DateTimeField(null=True, blank=True, db_index=True)
    last_due_at = models.DateTimeField(null=True, blank=True, help_text="No slot up to here is due any more.")
    last_fire = models.ForeignKey(
        "schedules.Fire", on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    changed_at = models.DateTimeField(auto_now=True)

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner", "name"], name="schedule_names_differ_per_owner"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def look(self) -> str:
        """``on``, ``off``, or ``over`` when the one moment that it was for has passed."""
        if not self.enabled:
            return "off"
        return "on" if self.next_at else "over"


class Fire(Identified):
    """What became of a slot: written once, in the transaction that starts what the slot is for.

    Slots that nobody was there for are one row: the first is ``due_at``, the last ``until``, ``slots`` their number.
    """

    class State(models.TextChoices):
        FIRED = "fired"
        MISSED = "missed"
        REFUSED = "refused"
        FAILED = "failed"

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="fires")
    due_at = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)
    slots = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=8, choices=State.choices)
    by_hand = models.BooleanField(default=False, help_text="Somebody pressed Run now.")
    run = models.OneToOneField("pipelines.Run", on_delete=models.SET_NULL, null=True, blank=True, related_name="fire")
    code = models.CharField(max_length=64, blank=True)
    why = models.CharField(max_length=500, blank=True)

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["schedule", "due_at"], name="a_slot_is_fired_once"),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.due_at:%Y-%m-%d %H:%M:%S}"


class Lease(models.Model):
    """Who of several processes may do what only one may, and until when."""

    name = models.CharField(primary_key=True, max_length=32)
    holder = models.CharField(max_length=120)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"
