"""What nobody needs any more is forgotten, and nothing else."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from portal.accounts.models import User
from portal.core.models import IdempotencyKey
from portal.core.tasks import ANSWERS_KEPT, housekeeping


def test_logins_that_ran_out_are_forgotten(owner: User, browser: Client) -> None:
    Session.objects.create(session_key="old", session_data="", expire_date=timezone.now() - timedelta(seconds=1))
    housekeeping()
    assert [session.session_key for session in Session.objects.all()] == [browser.session.session_key]
    assert browser.get("/").status_code == 200


def test_answers_are_kept_as_long_as_somebody_may_ask_again(db: None) -> None:
    for key in ("old", "new"):
        IdempotencyKey.objects.create(owner_id="x", key=key, request="")
    late = timezone.now() - ANSWERS_KEPT - timedelta(seconds=1)
    IdempotencyKey.objects.filter(key="old").update(created_at=late)
    assert housekeeping() == 1
    assert IdempotencyKey.objects.get().key == "new"
