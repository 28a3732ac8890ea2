"""Reading people, keys and tokens."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.utils import timezone

from portal.accounts.models import ApiToken, SshKey, User
from portal.core.errors import NotFound


def user_by_id(user_id: str) -> User:
    """One person. Raises NotFound."""
    try:
        return User.objects.get(pk=user_id)
    except User.DoesNotExist as error:
        raise NotFound("There is no such person.") from error


def ssh_keys_of(owner: User) -> QuerySet[SshKey]:
    """A person's keys, the newest first."""
    return SshKey.objects.filter(owner=owner).order_by("-created_at", "-id")


def ssh_key_of(owner: User, key_id: str) -> SshKey:
    """One of a person's keys. Raises NotFound."""
    try:
        return SshKey.objects.get(owner=owner, pk=key_id)
    except SshKey.DoesNotExist as error:
        raise NotFound("There is no such key.") from error


def authorized_keys_of(owner_id: str) -> list[str]:
    """The lines for ``authorized_keys`` on a person's instances; none while the account is switched off."""
    keys = SshKey.objects.filter(owner_id=owner_id, owner__is_active=True).order_by("created_at", "id")
    return [key.authorized_line for key in keys]


def api_tokens_of(owner: User) -> QuerySet[ApiToken]:
    """A person's tokens that still work, the newest first."""
    alive = Q(expiry__isnull=True) | Q(expiry__gt=timezone.now())
    return ApiToken.objects.filter(alive, user=owner).order_by("-created", "-id")


def people_waiting() -> QuerySet[User]:
    """Those who signed up and wait to be let in, the longest wait first."""
    return User.objects.filter(approved_at__isnull=True, is_staff=False, is_active=True).order_by("created_at")
