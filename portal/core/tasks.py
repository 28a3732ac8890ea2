"""Chores that belong to no one in particular."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from portal.core.models import IdempotencyKey

ANSWERS_KEPT = timedelta(days=2)


@shared_task
def housekeeping() -> int:
    """Forget the answers that nobody can ask for again. Returns how many."""
    return IdempotencyKey.objects.filter(created_at__lt=timezone.now() - ANSWERS_KEPT).delete()[0]
