"""Chores that belong to no one in particular."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from portal.core.models import IdempotencyKey

ANSWERS_KEPT = timedelta(days=2)


@shared_task
def housekeeping() -> int:
    """Forget the logins that have run out, and the answers that nobody can ask for again. Returns how many of these."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    return IdempotencyKey.objects.filter(created_at__lt=timezone.now() - ANSWERS_KEPT).delete()[0]
