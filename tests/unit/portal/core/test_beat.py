"""Sweeps that nobody had time for do not pile up."""

from __future__ import annotations

import pytest
from django.conf import settings
from django_celery_beat.schedulers import DatabaseScheduler

from portal.celery import app

pytestmark = pytest.mark.django_db(transaction=True)  # the scheduler closes connections


def test_what_is_due_again_replaces_what_was_not_begun() -> None:
    entries = DatabaseScheduler(app=app).schedule
    sweeps = {name: entries[name] for name in settings.CELERY_BEAT_SCHEDULE}
    assert {name: entry.options["expires"] for name, entry in sweeps.items()} == {
        name: entry.schedule.run_every.total_seconds() for name, entry in sweeps.items()
    }
