"""What may be spent, and what is set aside for what runs."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from portal.core.models import Identified
from portal.core.states import Transitions


class Budget(Identified):
    """A person's budget of a month, and what has become of it in the month that it names; nano-dollars.

    Whoever changes an amount holds the row's lock (`ledger`). ``spent`` is what the records said when it was last
    looked at; ``reserved`` is set aside for runs that have not ended and is not in the records yet; ``held`` for what
    goes on costing until the month ends, whatever is stopped: disks and stored data.
    """

    owner = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="budget")
    soft = models.PositiveBigIntegerField(null=True, blank=True, help_text="Empty: what the settings say.")
    hard = models.PositiveBigIntegerField(null=True, blank=True, help_text="Empty: what the settings say.")
    month = models.DateField(help_text="Its first day.")
    spent = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0)
    looked_at = models.DateTimeField(null=True, blank=True, db_index=True)
    warned = models.DateField(null=True, blank=True, help_text="The month in which its soft amount was told of.")
    reached_at = models.DateTimeField(null=True, blank=True, help_text="When the hard amount stopped everything.")

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=models.Q(reserved__gte=0), name="nothing_is_reserved_below_nothing"),
        ]

    def __str__(self) -> str:
        return f"budget of {self.owner}"


class Reservation(Identified):
    """What was set aside for a run when it was accepted. ``used`` of it is in the budget's ``spent`` already."""

    class State(models.TextChoices):
        OPEN = "open"
        SETTLED = "settled"

    TRANSITIONS: ClassVar[Transitions] = {"open": frozenset({"settled"}), "settled": frozenset({"open"})}

    run = models.OneToOneField("pipelines.Run", on_delete=models.CASCADE, related_name="reservation")
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="reservations")
    amount = models.PositiveBigIntegerField()
    used = models.BigIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta(Identified.Meta):
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["budget", "state"], name="reservations_of_a_budget"),
            models.Index(fields=["state", "created_at"], name="reservations_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} for {self.run_id}"

    @property
    def outstanding(self) -> int:
        """What is set aside still."""
        return max(0, self.amount - self.used) if self.state == self.State.OPEN else 0
