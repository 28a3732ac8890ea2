"""What every model of Orca's shares."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from portal.core.ids import new_id


class Identified(models.Model):
    """A row with an opaque, time-ordered identifier and the instant of its making."""

    id = models.CharField(primary_key=True, max_length=26, default=new_id, editable=False)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        abstract = True
        ordering: ClassVar[list[str]] = ["-created_at", "-id"]


class IdempotencyKey(models.Model):
    """An answer that was given to a POST with an ``Idempotency-Key``, kept so that a repeat gets the same one."""

    owner_id = models.CharField(max_length=26)
    key = models.CharField(max_length=128)
    request = models.CharField(max_length=64, help_text="SHA-256 of the method, the path and the body.")
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner_id", "key"], name="one_answer_per_key"),
        ]

    def __str__(self) -> str:
        return self.key
