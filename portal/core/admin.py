"""What the admins of several apps share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin, register
from django.db.models import QuerySet
from django.http import HttpRequest

from portal.core.errors import OrcaError
from portal.core.models import IdempotencyKey


def act_on_each(
    request: HttpRequest, page: ModelAdmin[Any], rows: QuerySet[Any], act: Callable[[Any], object], done: str
) -> None:
    """Do ``act`` to every chosen row; say how many it was done to, and for each refusal why."""
    count = 0
    for row in rows:
        try:
            act(row)
            count += 1
        except OrcaError as error:
            page.message_user(request, f"{row}: {error.message} {error.hint}".strip(), messages.ERROR)
    if count:
        page.message_user(request, f"{done}: {count}.", messages.SUCCESS)


class LookOnly(ModelAdmin[Any]):
    """Rows that only the machinery writes, and takes away: a Terraform run that is deleted would give up its lock."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """What actions with ``permissions=["operate"]`` ask for: the right to change such rows, if not by hand."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")


@register(IdempotencyKey)
class IdempotencyKeyAdmin(LookOnly):
    list_display = ("key", "owner_id", "status", "created_at")
    search_fields = ("key", "owner_id")
