"""Jobs as an operator sees them."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from portal.accounts.current import current_user
from portal.core.admin import LookOnly, act_on_each
from portal.jobs import services
from portal.jobs.models import Job, PinnedImage


@admin.register(Job)
class JobAdmin(LookOnly):
    list_display = ("name", "owner", "workspace", "phase", "run_state", "nodes", "shards", "items", "created_at")
    list_filter = ("phase", "run__state")
    search_fields = ("id", "name", "owner__email", "run__id")
    list_select_related = ("owner", "workspace", "run")
    actions = ("cancel",)

    @admin.display(description="state")
    def run_state(self, job: Job) -> str:
        return job.run.get_state_display()

    @admin.action(description="Cancel", permissions=["operate"])
    def cancel(self, request: HttpRequest, jobs: QuerySet[Job]) -> None:
        by = current_user(request)
        act_on_each(request, self, jobs, lambda job: services.job_cancel(job=job, by=by), "Cancelled")


@admin.register(PinnedImage)
class PinnedImageAdmin(LookOnly):
    list_display = ("build", "digest", "workspace", "created_at")
    search_fields = ("build", "digest", "owner__email")
    list_select_related = ("workspace",)
