from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from portal.clouds.models import CloudAccount
from portal.clouds.services import external_id_new


@admin.register(CloudAccount)
class CloudAccountAdmin(admin.ModelAdmin[CloudAccount]):
    list_display = ("name", "account_id", "region", "owner", "state", "enabled", "created_at")
    list_filter = ("state", "enabled", "region")
    search_fields = ("name", "account_id", "owner__email")
    autocomplete_fields = ("owner",)
    readonly_fields = (
        "id",
        "created_at",
        "external_id",
        "state",
        "next_external_id",
        "registry",
        "checks",
        "checked_at",
        "linked_at",
        "unlinked_at",
    )

    def save_model(self, request: HttpRequest, obj: CloudAccount, form: Any, change: bool) -> None:
        obj.external_id = obj.external_id or external_id_new()
        if obj.state != CloudAccount.State.UNLINKED:
            obj.claimed_role = CloudAccount.claim(obj.owner_id, obj.role_arn) if obj.role_arn else None
        super().save_model(request, obj, form, change)
