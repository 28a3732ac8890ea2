"""Schedules as an operator sees them."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from portal.accounts.current import current_user
from portal.core.admin import LookOnly, act_on_each
from portal.schedules import services
from portal.schedules.models import Fire, Lease, Schedule


@admin.register(Schedule)
class ScheduleAdmin(LookOnly):
    list_display = ("name", "owner", "enabled", "kind", "action", "zone", "next_at", "last_due_at", "disabled_reason")
    list_filter = ("enabled", "kind", "action", "missed")
    search_fields = ("id", "name", "owner__email", "workspace__name", "script__name", "pipeline__name")
    list_select_related = ("owner",)
    actions = ("enable", "disable", "run_now")

    @admin.action(description="Enable", permissions=["operate"])
    def enable(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        by = current_user(request)
        act_on_each(request, self, rows, lambda s: services.schedule_enable(schedule=s, by=by), "Enabled")

    @admin.action(description="Disable", permissions=["operate"])
    def disable(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        by, why = current_user(request), "An operator disabled it."
        act_on_each(request, self, rows, lambda s: services.schedule_disable(schedule=s, by=by, reason=why), "Disabled")

    @admin.action(description="Run now, as its owner", permissions=["operate"])
    def run_now(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        act_on_each(request, self, rows, lambda s: services.schedule_run_now(schedule=s, by=s.owner), "Started")


@admin.register(Fire)
class FireAdmin(LookOnly):
    list_display = ("schedule", "due_at", "slots", "state", "by_hand", "run", "code", "why", "created_at")
    list_filter = ("state", "by_hand", "code")
    search_fields = ("schedule__id", "schedule__name", "run__id")
    list_select_related = ("schedule", "run")
    show_full_result_count = False


@admin.register(Lease)
class LeaseAdmin(LookOnly):
    list_display = ("name", "holder", "until")
