from django.contrib import admin

from portal.clouds.models import CloudAccount


@admin.register(CloudAccount)
class CloudAccountAdmin(admin.ModelAdmin[CloudAccount]):
    list_display = ("name", "account_id", "region", "owner", "enabled", "created_at")
    list_filter = ("enabled", "region")
    search_fields = ("name", "account_id", "owner__email")
    autocomplete_fields = ("owner",)
    readonly_fields = ("id", "created_at", "external_id")
