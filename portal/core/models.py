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
