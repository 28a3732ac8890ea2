"""Where Orca differs from allauth's defaults."""

from __future__ import annotations

import base64
import hashlib
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.encoding import force_bytes

from portal.accounts.models import User
from portal.accounts.throwaway import is_throwaway


class AccountAdapter(DefaultAccountAdapter):
    """Leaves counting wrong passwords to django-axes, which answers 429 and says for how long.

    Links in mails name the address that people use: whoever asks for somebody's mail chooses the ``Host`` of that
    request, and with it where the secret in the link would go.
    """

    def clean_email(self, email: str) -> str:
        """Refuses the domains of addresses that are made to be thrown away."""
        found: str = super().clean_email(email)
        if is_throwaway(found):
            raise ValidationError(
                "This address is of a kind that is made to be thrown away. Use one that you keep.", code="throwaway"
            )
        return found

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        """Notes where somebody signed up from, and whether they are on trial."""
        user.trial = settings.TRIAL
        user.signed_up_from = request.META.get("REMOTE_ADDR") or None
        super().save_user(request, user, form, commit)
        return user

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Nothing: allauth's own limit would hide the lock-out behind a form error."""

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """allauth's, with every host replaced."""
        ours: dict[str, Any] = {name: _public(value) for name, value in context.items() if name.endswith("_url")}
        ours["public_url"] = settings.PUBLIC_URL
        ours["current_site"] = SimpleNamespace(name="Orca", domain=urlsplit(settings.PUBLIC_URL).netloc)
        super().send_mail(template_prefix, email, context | ours)


def _public(address: str) -> str:
    public, wanted = urlsplit(settings.PUBLIC_URL), urlsplit(address)
    return urlunsplit((public.scheme, public.netloc, wanted.path, wanted.query, wanted.fragment))


class MfaAdapter(DefaultMFAAdapter):
    """Keeps the secrets of second factors encrypted; ``SECRET_KEY_FALLBACKS`` still opens older ones."""

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _cipher().decrypt(encrypted_text.encode()).decode()


def _cipher() -> MultiFernet:
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    keys = [hashlib.sha256(b"orca second factor" + force_bytes(secret)).digest() for secret in secrets]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])
