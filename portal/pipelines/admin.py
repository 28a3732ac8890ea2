"""Scripts and runs as an operator sees them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from portal.accounts.current import current_user
from portal.core.admin import LookOnly, act_on_each
from portal.pipelines import again, dispatch, services
from portal.pipelines.models import (
    LogChunk,
    Outbox,
    Pipeline,
    PipelineVersion,
    Run,
    Script,
    ScriptVersion,
    SeenEvent,
    Step,
)


class VersionInline(admin.TabularInline[ScriptVersion, Script]):
    model = ScriptVersion
    fields = readonly_fields = ("number", "entrypoint", "runtime", "size", "sha256", "created_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Script)
class ScriptAdmin(LookOnly):
    list_display = ("name", "owner", "archived_at", "created_at")
    list_filter = ("archived_at",)
    search_fields = ("id", "name", "owner__email")
    list_select_related = ("owner",)
    inlines = (VersionInline,)


@admin.register(ScriptVersion)
class ScriptVersionAdmin(LookOnly):
    list_display = ("script", "number", "entrypoint", "runtime", "size", "created_at")
    list_filter = ("runtime",)
    search_fields = ("script__name", "script__owner__email", "sha256")
    list_select_related = ("script",)


class StepInline(admin.TabularInline[Step, Run]):
    model = Step
    fields = readonly_fields = (
        "name",
        "state",
        "attempt",
        "instance_id",
        "exit_code",
        "reason",
        "message",
        "seen_at",
    )
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PipelineVersionInline(admin.TabularInline[PipelineVersion, Pipeline]):
    model = PipelineVersion
    fields = readonly_fields = ("number", "written_by", "created_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Pipeline)
class PipelineAdmin(LookOnly):
    list_display = ("name", "owner", "workspace", "concurrency", "archived_at", "created_at")
    list_filter = ("concurrency", "archived_at")
    search_fields = ("id", "name", "owner__email", "workspace__name")
    list_select_related = ("owner", "workspace")
    inlines = (PipelineVersionInline,)


@admin.register(PipelineVersion)
class PipelineVersionAdmin(LookOnly):
    list_display = ("pipeline", "number", "written_by", "created_at")
    search_fields = ("pipeline__name", "pipeline__owner__email")
    list_select_related = ("pipeline", "written_by")


@admin.register(Run)
class RunAdmin(LookOnly):
    list_display = ("name", "owner", "workspace", "state", "via", "created_at", "started_at", "finished_at")
    list_filter = ("state", "via")
    search_fields = ("id", "name", "owner__email", "workspace__name")
    list_select_related = ("owner", "workspace")
    date_hierarchy = "created_at"
    inlines = (StepInline,)
    actions = ("cancel", "run_again")

    @admin.action(description="Cancel", permissions=["operate"])
    def cancel(self, request: HttpRequest, rows: QuerySet[Run]) -> None:
        by = current_user(request)
        act_on_each(request, self, rows, lambda r: services.run_cancel(run=r, by=by), "Cancelling")

    @admin.action(description="Run again, as its owner", permissions=["operate"])
    def run_again(self, request: HttpRequest, rows: QuerySet[Run]) -> None:
        act_on_each(request, self, rows, lambda r: again.run_again(run=r, by=r.owner), "Started again")


@admin.register(Step)
class StepAdmin(LookOnly):
    list_display = (
        "name",
        "run",
        "workspace",
        "state",
        "attempt",
        "reason",
        "released_at",
        "seen_at",
        "instance_id",
    )
    list_filter = ("state", "reason")
    search_fields = ("id", "run__id", "name", "instance_id")
    list_select_related = ("run", "workspace")
    actions = ("hand_out_again",)

    @admin.action(description="Hand out again (lost on the way)", permissions=["operate"])
    def hand_out_again(self, request: HttpRequest, rows: QuerySet[Step]) -> None:
        act_on_each(request, self, rows, lambda s: dispatch.step_return(step=s), "Back in the backlog")


@admin.register(LogChunk)
class LogChunkAdmin(LookOnly):
    list_display = ("step", "execution", "first", "count")
    search_fields = ("step__id",)
    list_select_related = ("step",)
    show_full_result_count = False


@admin.register(Outbox)
class OutboxAdmin(LookOnly):
    list_display = ("step", "workspace", "attempt", "tries", "error", "sent_at", "created_at")
    list_filter = (("sent_at", admin.EmptyFieldListFilter),)
    search_fields = ("step__id", "workspace__name")
    list_select_related = ("step", "workspace")
    actions = ("send_now",)

    @admin.action(description="Send now", permissions=["operate"])
    def send_now(self, request: HttpRequest, rows: QuerySet[Outbox]) -> None:
        act_on_each(request, self, rows, lambda o: dispatch.outbox_send(outbox_ids=[o.pk]), "Sent")


@admin.register(SeenEvent)
class SeenEventAdmin(LookOnly):
    list_display = ("id", "created_at")
    search_fields = ("id",)
    show_full_result_count = False
