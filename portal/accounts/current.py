"""Who is asking."""

from __future__ import annotations

from django.http import HttpRequest
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request

from portal.accounts.models import User


def current_user(request: Request | HttpRequest) -> User:
    """The person behind a request. Raises ``NotAuthenticated`` where there is none."""
    if not isinstance(request.user, User):
        raise NotAuthenticated
    return request.user
