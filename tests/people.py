"""The people in tests: they have verified addresses, one password, and know nothing of each other."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.test import Client
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.accounts.services import api_token_add

PASSWORD = "correct-horse-battery-staple"


def person(email: str) -> User:
    """Somebody with a verified address and ``PASSWORD``."""
    user = User.objects.create_user(email, PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def api_of(user: User) -> APIClient:
    """A program of theirs, with a token."""
    _, text = api_token_add(owner=user, name="test")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def browser_of(user: User) -> Client:
    """A browser in which they are logged in."""
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client
