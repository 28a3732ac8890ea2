"""Notifications as an operator sees them."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from portal.core.admin import LookOnly, act_on_each
from portal.notices import sending
from portal.notices.models import Notice, Subscription


@admin.register(Subscription)
class SubscriptionAdmin(LookOnly):
    list_display = ("name", "owner", "channel", "address", "enabled", "disabled_why", "created_at")
    list_filter = ("channel", "enabled")
    search_fields = ("id", "name", "address", "owner__email")
    list_select_related = ("owner",)
    exclude = ("secret", "secret_before")


@admin.register(Notice)
class NoticeAdmin(LookOnly):
    list_display = ("subject", "subscription", "kind", "state", "tries", "status", "error", "next_try_at", "created_at")
    list_filter = ("state", "kind", "subscription__channel")
    search_fields = ("id", "event", "subject", "subscription__owner__email")
    list_select_related = ("subscription",)
    date_hierarchy = "created_at"
    actions = ("send_now",)

    @admin.action(description="Send now", permissions=["operate"])
    def send_now(self, request: HttpRequest, rows: QuerySet[Notice]) -> None:
        act_on_each(request, self, rows, lambda notice: sending.notice_resend(notice_id=notice.pk), "Tried")
