"""Pages of Terraform runs."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_POST

from portal.accounts.current import current_user
from portal.core.streams import stream
from portal.web.live import Fragments
from portal.web.terraform_shown import progress_of
from portal.workspaces.models import TerraformRun
from portal.workspaces.selectors import terraform_run_get
from portal.workspaces.terraform_runs import terraform_run_approve, terraform_run_cancel


@login_required
@require_GET
def terraform_run(request: HttpRequest, run_id: str) -> HttpResponse:
    """What Terraform planned, did and said."""
    run = terraform_run_get(owner=current_user(request), run_id=run_id)
    shown = {"progress": progress_of(run), "workspace": run.workspace, "csrf_value": get_token(request)}
    return render(request, "web/terraform/page.html", shown)


@login_required
@require_GET
async def terraform_run_live(request: HttpRequest, run_id: str) -> StreamingHttpResponse:
    """Its moving parts; ends when the run has."""
    owner = await sync_to_async(current_user)(request)
    found = await sync_to_async(terraform_run_get)(owner=owner, run_id=run_id)
    token = get_token(request)

    def draw() -> dict[str, str]:
        run = terraform_run_get(owner=owner, run_id=run_id)
        watch.over = run.state in TerraformRun.FINAL
        shown = {"progress": progress_of(run), "workspace": run.workspace, "csrf_value": token}
        return {
            f"tf-{part}": render_to_string(f"web/terraform/{part}.html", shown, request) for part in ("state", "log")
        }

    watch = Fragments(f"workspace:{found.workspace_id}", draw=draw)
    return stream(watch)


@login_required
@require_POST
def terraform_run_yes(request: HttpRequest, run_id: str) -> HttpResponse:
    """Say yes to the plan."""
    by = current_user(request)
    run = terraform_run_get(owner=by, run_id=run_id)
    terraform_run_approve(run=run, by=by)
    return redirect("workspace", workspace_id=run.workspace_id)


@login_required
@require_POST
def terraform_run_stop(request: HttpRequest, run_id: str) -> HttpResponse:
    """Stop it, or say no to the plan."""
    by = current_user(request)
    run = terraform_run_get(owner=by, run_id=run_id)
    terraform_run_cancel(run=run, by=by)
    return redirect("workspace", workspace_id=run.workspace_id)
