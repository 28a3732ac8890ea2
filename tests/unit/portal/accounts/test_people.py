"""Who a person is, and when they are let in."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import IntegrityError, transaction
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from portal.accounts.models import User
from portal.accounts.selectors import people_waiting, user_by_id
from portal.accounts.services import user_approve, user_update
from portal.core.errors import Invalid, NotFound

pytestmark = pytest.mark.django_db


def test_an_address_is_one_person_whatever_its_spelling() -> None:
    user = User.objects.create_user("Ada@Example.ORG")
    assert user.email == "ada@example.org"
    assert User.objects.get(email="ADA@example.org") == user
    assert User.objects.get_by_natural_key("aDa@example.org") == user
    with pytest.raises(IntegrityError), transaction.atomic():
        User(email="ADA@EXAMPLE.org").save()


def test_an_id_is_opaque_and_sorts_by_time() -> None:
    first, second = (User.objects.create_user(f"{n}@example.org") for n in (1, 2))
    assert len(first.id) == 26
    assert first.id == first.id.lower()
    assert first.id < second.id
    assert user_by_id(first.id) == first
    with pytest.raises(NotFound):
        user_by_id("0" * 26)


def test_a_user_without_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="address"):
        User.objects.create_user("")


def test_a_superuser_can_log_in_at_once() -> None:
    user = User.objects.create_superuser("Root@example.org", "x")
    assert user.is_staff
    assert user.is_superuser
    assert user.is_approved
    assert EmailAddress.objects.get(user=user).verified


def test_what_to_call_somebody() -> None:
    user = User(email="ada@example.org")
    assert (user.get_full_name(), user.get_short_name()) == ("ada@example.org", "ada")
    user.name = "Ada Lovelace"
    assert (user.get_full_name(), user.get_short_name()) == ("Ada Lovelace", "Ada")


def test_a_name_is_tidied_and_bounded() -> None:
    user = User.objects.create_user("ada@example.org")
    assert user_update(user=user, name="  Ada \n Lovelace ").name == "Ada Lovelace"
    with pytest.raises(Invalid) as caught:
        user_update(user=user, name="a" * 121)
    assert "name" in caught.value.fields


def test_everybody_is_let_in_unless_approval_is_asked_for(settings: Settings) -> None:
    user = User.objects.create_user("ada@example.org")
    assert user.is_approved
    settings.SIGNUP_APPROVAL = True
    assert not user.is_approved
    assert list(people_waiting()) == [user]


def test_who_is_approved_is_told_once(
    settings: Settings, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    settings.SIGNUP_APPROVAL = True
    user = User.objects.create_user("ada@example.org")
    with django_capture_on_commit_callbacks(execute=True):
        assert user_approve(user=user)
        assert not user_approve(user=user)
    assert user.is_approved
    assert not people_waiting().exists()
    assert [message.to for message in mail.outbox] == [["ada@example.org"]]
