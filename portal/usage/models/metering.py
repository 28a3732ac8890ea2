"""What things cost, what was used, and what is taken off the bill. Amounts of money are whole nano-dollars."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from portal.core.models import Identified


class Kind(models.TextChoices):
    """What a record of usage is about. The first three together are all seconds of an instance."""

    COMPUTE = "compute", "Processing"
    START_UP = "start_up", "Start-up of instances"
    IDLE = "idle", "Idle instances"
    VOLUME = "volume", "Disks"
    STORAGE = "storage", "Storage"
    EGRESS = "egress", "Data out"
    INGRESS = "ingress", "Data in"
    REQUEST = "request", "Requests"
    READ = "read", "Reading requests"
    # Inside of a region, which costs nothing: without them nobody could tell it from what goes out.
    SENT = "sent", "Sent to buckets"
    FETCHED = "fetched", "Fetched from buckets"


_OF = Kind.choices


class Price(Identified):
    """A list price from an instant on: it holds until a later one of the same thing."""

    class Kind(models.TextChoices):
        INSTANCE = "instance", "Instance, per hour"
        VOLUME = "volume", "Disk, per GB and month"
        STORAGE = "storage", "Storage, per GB and month"
        EGRESS = "egress", "Data out, per GB"
        INGRESS = "ingress", "Data in, per GB"
        REQUEST = "request", "Request that writes or lists"
        READ = "read", "Request that reads"

    region = models.CharField(max_length=32)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    size = models.CharField(max_length=32, blank=True, help_text="The type of an instance; else empty.")
    nano = models.PositiveBigIntegerField(help_text="Nano-dollars (a dollar is 1,000,000,000) of one unit.")
    valid_from = models.DateTimeField()
    source = models.CharField(max_length=200, blank=True)

    class Meta(Identified.Meta):
        ordering: ClassVar[list[str]] = ["region", "kind", "size", "-valid_from"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["region", "kind", "size", "valid_from"], name="one_price_at_a_time"),
        ]

    def __str__(self) -> str:
        return f"{self.region} {self.kind} {self.size}".strip()


class Margin(Identified):
    """What is added to list prices from an instant on; the one that names most counts, then the latest."""

    region = models.CharField(max_length=32, blank=True, help_text="Empty: every region.")
    kind = models.CharField(max_length=10, choices=Price.Kind.choices, blank=True, help_text="Empty: everything.")
    percent = models.DecimalField(
        max_digits=7, decimal_places=2, validators=[MinValueValidator(-100), MaxValueValidator(10_000)]
    )
    valid_from = models.DateTimeField(default=timezone.now)

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["region", "kind", "valid_from"], name="one_margin_at_a_time"),
        ]

    def __str__(self) -> str:
        return f"{self.percent} % on {self.kind or 'everything'} in {self.region or 'every region'}"


class Span(Identified):
    """A time for which the provider bills: of an instance, from its launch to its stop; of its disk, until it is gone.

    What is known of it comes from EC2, but for ``ready_at``, the first word of the agent. ``settled_at``: until then
    it is in the records; ``settled``: all of it is.
    """

    class Kind(models.TextChoices):
        INSTANCE = "instance"
        VOLUME = "volume"

    kind = models.CharField(max_length=8, choices=Kind.choices)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.PROTECT, related_name="+")
    instance_id = models.CharField(max_length=32)
    region = models.CharField(max_length=32)
    size = models.CharField(max_length=32, blank=True, help_text="The type of the instance.")
    gb = models.PositiveIntegerField(default=0, help_text="Of a disk.")
    run = models.ForeignKey(
        "pipelines.Run",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The oldest that waited for it: its start-up is on this one's account.",
    )
    began_at = models.DateTimeField()
    ready_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(help_text="When EC2 last spoke of it.")
    settled_at = models.DateTimeField(null=True, blank=True)
    settled = models.BooleanField(default=False, db_index=True)

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["workspace", "instance_id", "kind", "began_at"], name="one_span_per_beginning"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.instance_id}"


class UsageRecord(Identified):
    """Something that was used, within one day (UTC). Never changed: a correction is another record.

    ``quantity``: milliseconds of a whole instance (compute, start-up, idle), GB-seconds (disks), byte-hours (storage),
    bytes, or requests. ``rate`` is the price of one unit as `prices` gives it, with its margin, when it began.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.PROTECT, related_name="+")
    run = models.ForeignKey("pipelines.Run", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    script = models.CharField(max_length=26, blank=True)
    span = models.ForeignKey(Span, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    instance_id = models.CharField(max_length=32, blank=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    quantity = models.BigIntegerField()
    unit = models.CharField(max_length=12)
    rate = models.BigIntegerField()
    nano = models.BigIntegerField()
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    day = models.DateField()
    key = models.CharField(max_length=100, unique=True, help_text="What it is of: nothing is counted twice.")

    class Meta(Identified.Meta):
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["run", "kind"], name="usage_of_a_run"),
            models.Index(fields=["instance_id", "kind", "day"], name="usage_of_an_instance"),
            models.Index(fields=["instance_id", "kind", "created_at"], name="usage_told_of_an_instance"),
            models.Index(fields=["owner", "day"], name="usage_of_a_person"),
        ]

    def __str__(self) -> str:
        return self.key


class UsageDay(models.Model):
    """The records of a day, added up; kept in the transaction that writes them."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    day = models.DateField()
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    script = models.CharField(max_length=26, blank=True)
    quantity = models.BigIntegerField(default=0)
    nano = models.BigIntegerField(default=0)
    records = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner", "day", "workspace", "kind", "script"], name="one_row_per_day"),
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["day"], name="usage_of_a_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.kind}"


class Grant(Identified):
    """What is taken off a bill: a quantity that is free each month, a percentage, or an amount that is used up."""

    class Kind(models.TextChoices):
        FREE_TIER = "free_tier", "Free each month"
        DISCOUNT = "discount", "Discount"
        CREDIT = "credit", "Credit"

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="grants",
        help_text="Empty: everybody, for free tiers and discounts.",
    )
    kind = models.CharField(max_length=10, choices=Kind.choices)
    of = models.CharField(max_length=10, choices=_OF, blank=True, help_text="What it is good for. Empty: everything.")
    quantity = models.DecimalField(
        max_digits=14,
        decimal_places=3,
        default=Decimal(0),
        validators=[MinValueValidator(0)],
        help_text="Free each month: hours, GB-months, GB or requests.",
    )
    percent = models.DecimalField(
        max_digits=5, decimal_places=2, default=Decimal(0), validators=[MinValueValidator(0), MaxValueValidator(100)]
    )
    amount = models.PositiveBigIntegerField(default=0, help_text="Of a credit, in nano-dollars.")
    valid_from = models.DateTimeField(default=timezone.now)
    valid_to = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=200, blank=True, help_text="Shown on the statement.")
    given_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    trial = models.BooleanField(default=False, editable=False)

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(kind="credit") | Q(owner__isnull=False), name="a_credit_has_an_owner"),
        ]

    def __str__(self) -> str:
        return self.note or self.get_kind_display()
