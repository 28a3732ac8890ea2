"""Logging in without a page: the password, and the second factor where there is one."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.http import HttpRequest

from portal.accounts.models import User
from portal.core.errors import OrcaError


class LoginRefused(OrcaError):
    """Who is asking could not be established."""

    status = 401
    code = "login_failed"


def password_login(*, request: HttpRequest, email: str, password: str, code: str = "") -> User:
    """The person, once their password and, if they have one, their second factor are right.

    A wrong code counts like a wrong password, so neither can be guessed. Raises LoginRefused.
    """
    address = email.strip().lower()
    user = authenticate(request, email=address, password=password)
    if not isinstance(user, User):
        raise LoginRefused("The address or the password is wrong.", hint="Reset your password if you forgot it.")
    factors = Authenticator.objects.filter(user_id=user.pk, type__in=("totp", "recovery_codes"))
    totp = [factor for factor in factors if factor.type == "totp"]
    if totp and not code:
        raise LoginRefused(
            "A code is needed as well.",
            code="second_factor_needed",
            hint="Send “code” with what your authenticator shows, or a recovery code.",
            fields={"code": "Needed: this account has a second factor."},
        )
    if totp and not any(factor.wrap().validate_code(code) for factor in factors):
        user_login_failed.send(sender=__name__, credentials={"email": address}, request=request)
        raise LoginRefused("The code is wrong.", code="second_factor_wrong", fields={"code": "Wrong or used before."})
    if not EmailAddress.objects.filter(user_id=user.pk, verified=True).exists():
        raise LoginRefused(
            "This address is not verified yet.",
            code="email_unverified",
            hint="Follow the link in the mail that you were sent; logging in on the site sends another one.",
        )
    user_logged_in.send(sender=User, request=request, user=user)
    return user
