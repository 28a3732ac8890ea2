"""Workspaces as an operator sees them: what is wrong is a filter away, and the button that mends it is here."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from portal.accounts.current import current_user
from portal.core.admin import LookOnly, act_on_each
from portal.workspaces import services, terraform_runs
from portal.workspaces.instances import instances_compare
from portal.workspaces.models import Instance, Secret, TerraformLine, TerraformRun, Workspace


@admin.register(Workspace)
class WorkspaceAdmin(admin.ModelAdmin[Workspace]):
    list_display = (
        "name",
        "owner",
        "state",
        "state_reason",
        "instance_type",
        "active_run",
        "ready_at",
        "created_at",
    )
    list_filter = ("state", "instance_type", "cloud_account", "data_kept")
    search_fields = ("id", "name", "owner__email")
    list_select_related = ("owner", "active_run", "cloud_account")
    autocomplete_fields = ("owner", "cloud_account")
    readonly_fields = (
        "id",
        "created_at",
        "state",
        "state_reason",
        "state_changed_at",
        "active_run",
        "outputs",
        "data_kept",
        "control_wanted",
        "control_published",
        "ready_at",
        "stop_requested_at",
        "build_seconds",
    )
    actions = ("apply_again", "stop", "start", "look_again", "destroy_keep_data")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.action(description="Apply again (build what is missing, mend drift)", permissions=["change"])
    def apply_again(self, request: HttpRequest, rows: QuerySet[Workspace]) -> None:
        by = current_user(request)
        act_on_each(request, self, rows, lambda w: services.workspace_apply(workspace=w, by=by), "Apply queued")

    @admin.action(description="Stop the instances", permissions=["change"])
    def stop(self, request: HttpRequest, rows: QuerySet[Workspace]) -> None:
        by = current_user(request)
        act_on_each(request, self, rows, lambda w: services.workspace_stop(workspace=w, by=by), "Stopping")

    @admin.action(description="Start the instances", permissions=["change"])
    def start(self, request: HttpRequest, rows: QuerySet[Workspace]) -> None:
        by = current_user(request)
        act_on_each(request, self, rows, lambda w: services.workspace_start(workspace=w, by=by), "Starting")

    @admin.action(description="Compare with what EC2 says now", permissions=["change"])
    def look_again(self, request: HttpRequest, rows: QuerySet[Workspace]) -> None:
        act_on_each(request, self, rows, lambda w: instances_compare(workspace=w), "Looked at")

    @admin.action(description="Destroy, keep the data", permissions=["change"])
    def destroy_keep_data(self, request: HttpRequest, rows: QuerySet[Workspace]) -> None:
        by = current_user(request)
        act_on_each(request, self, rows, lambda w: services.workspace_destroy(workspace=w, by=by), "Destroy queued")


class LineInline(admin.TabularInline[TerraformLine, TerraformRun]):
    model = TerraformLine
    fields = readonly_fields = ("number", "at", "level", "kind", "address", "text")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(TerraformRun)
class TerraformRunAdmin(LookOnly):
    list_display = (
        "id",
        "workspace",
        "operation",
        "state",
        "error_code",
        "worker",
        "heartbeat_at",
        "attempts",
        "to_add",
        "to_change",
        "to_destroy",
        "created_at",
    )
    list_filter = ("state", "operation", "error_code")
    search_fields = ("id", "workspace__id", "workspace__name", "workspace__owner__email")
    list_select_related = ("workspace",)
    inlines = (LineInline,)
    actions = ("cancel", "run_again")

    @admin.action(description="Cancel", permissions=["operate"])
    def cancel(self, request: HttpRequest, rows: QuerySet[TerraformRun]) -> None:
        by = current_user(request)
        act_on_each(request, self, rows, lambda r: terraform_runs.terraform_run_cancel(run=r, by=by), "Cancelling")

    @admin.action(description="Run again", permissions=["operate"])
    def run_again(self, request: HttpRequest, rows: QuerySet[TerraformRun]) -> None:
        by = current_user(request)
        act_on_each(request, self, rows, lambda r: terraform_runs.terraform_run_again(run=r, by=by), "Queued")


@admin.register(Secret)
class SecretAdmin(LookOnly):
    list_display = ("name", "workspace", "changed_at", "changed_by", "created_at")
    search_fields = ("name", "workspace__id", "workspace__name", "workspace__owner__email")
    list_select_related = ("workspace", "changed_by")


@admin.register(Instance)
class InstanceAdmin(LookOnly):
    list_display = (
        "instance_id",
        "workspace",
        "state",
        "public_ip",
        "agent_version",
        "slots",
        "load",
        "heartbeat_at",
    )
    list_filter = ("state", "instance_type")
    search_fields = (
        "instance_id",
        "workspace__id",
        "workspace__name",
        "workspace__owner__email",
        "public_ip",
    )
    list_select_related = ("workspace",)
