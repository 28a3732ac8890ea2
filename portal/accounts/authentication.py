"""How programs say who they are: ``Authorization: Bearer <token>``."""

from __future__ import annotations

from auditlog.context import auditlog_value
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication as KnoxTokenAuthentication

from portal.accounts.models import ApiToken, User
from portal.accounts.services import api_token_used


class TokenAuthentication(KnoxTokenAuthentication):
    """Knox's, which also names the token's owner in the audit trail and notes when a token was used."""

    def _cleanup_token(self, auth_token: ApiToken) -> bool:
        """Whether the token has expired. Knox would look at all tokens of its owner, at every request."""
        return auth_token.expiry is not None and auth_token.expiry < timezone.now()

    def validate_user(self, auth_token: ApiToken) -> tuple[User, ApiToken]:
        user: User
        user, token = super().validate_user(auth_token)
        trail = auditlog_value.get(None)
        if trail is not None:
            trail["actor"] = user
        api_token_used(token=token, at=timezone.now())
        return user, token


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document describes it."""

    target_class = "portal.accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token from your account page or POST /tokens/.",
        }
