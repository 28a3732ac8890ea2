"""Who may use the cloud."""

from __future__ import annotations

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView

from portal.accounts.models import User
from portal.core.errors import OrcaError


class IsApproved(IsAuthenticated):
    """Logged in, and let in where new people have to wait for that."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not super().has_permission(request, view):
            return False
        if isinstance(request.user, User) and not request.user.is_approved:
            raise approval_needed()
        return True


def approval_needed() -> OrcaError:
    """What somebody is told who has to wait."""
    return OrcaError(
        "Your account waits for approval.",
        code="approval_needed",
        hint="You get a mail as soon as somebody has let you in.",
        status=403,
    )
