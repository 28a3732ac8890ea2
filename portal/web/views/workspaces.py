"""Pages of workspaces."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.accounts.current import current_user
from portal.clouds.selectors import account_chosen, accounts_open
from portal.core.errors import Conflict, Invalid, LimitReached, OrcaError
from portal.core.streams import stream
from portal.web.forms import DestroyForm, WorkspaceForm, tell
from portal.web.live import Fragments
from portal.web.workspace_shown import workspace_shown, workspaces_shown
from portal.workspaces import services
from portal.workspaces.models import Workspace
from portal.workspaces.selectors import cloud_address, workspace_get

PARTS = ("head", "progress", "connect", "instances", "secrets_panel", "runs", "schedules", "history")


@login_required
@require_GET
def workspace_list(request: HttpRequest) -> HttpResponse:
    """All of a person's workspaces."""
    return render(request, "web/workspaces/list.html", {"workspaces": workspaces_shown(current_user(request))})


@login_required
@require_GET
async def workspace_list_live(request: HttpRequest) -> StreamingHttpResponse:
    """The list's moving part."""
    owner = await sync_to_async(current_user)(request)

    def draw() -> dict[str, str]:
        shown = {"workspaces": workspaces_shown(owner)}
        return {"workspaces": render_to_string("web/dashboard/workspaces.html", shown, request)}

    return stream(Fragments(f"owner:{owner.pk}", draw=draw))


@login_required
@require_http_methods(["GET", "POST"])
def workspace_new(request: HttpRequest) -> HttpResponse:
    """The form for a new one."""
    owner = current_user(request)
    initial = {"instance_type": settings.DEFAULT_INSTANCE_TYPE, "cloud_account": request.GET.get("cloud", "")}
    form = WorkspaceForm(request.POST or None, initial=initial, accounts=accounts_open(owner))
    status = 200
    if request.method == "POST" and form.is_valid():
        wanted = dict(form.cleaned_data)
        chosen = wanted.pop("cloud_account")
        try:
            account = account_chosen(owner=owner, account_id=chosen) if chosen else None
            made = services.workspace_create(owner=owner, cloud_account=account, **wanted)
        except (Invalid, Conflict, LimitReached) as error:
            tell(form, error)
            status = error.status
        else:
            return redirect("workspace", workspace_id=made.pk)
    return render(request, "web/workspaces/new.html", {"form": form}, status=status)


@login_required
@require_GET
def workspace(request: HttpRequest, workspace_id: str) -> HttpResponse:
    """One workspace with all that belongs to it."""
    shown = workspace_shown(current_user(request), workspace_id)
    return render(request, "web/workspaces/page.html", shown | {"csrf_value": get_token(request)})


@login_required
@require_GET
async def workspace_live(request: HttpRequest, workspace_id: str) -> StreamingHttpResponse:
    """Its moving parts."""
    owner = await sync_to_async(current_user)(request)
    found = await sync_to_async(workspace_get)(owner=owner, workspace_id=workspace_id)
    token = get_token(request)

    def draw() -> dict[str, str]:
        shown = workspace_shown(owner, workspace_id) | {"csrf_value": token}
        return {f"ws-{part}": render_to_string(f"web/workspaces/{part}.html", shown, request) for part in PARTS}

    return stream(Fragments(f"workspace:{found.pk}", f"owner:{owner.pk}", draw=draw))


def _own(request: HttpRequest, workspace_id: str) -> Workspace:
    return workspace_get(owner=current_user(request), workspace_id=workspace_id)


@login_required
@require_POST
def workspace_stop(request: HttpRequest, workspace_id: str) -> HttpResponse:
    """Stop its instances."""
    services.workspace_stop(workspace=_own(request, workspace_id), by=current_user(request))
    return redirect("workspace", workspace_id=workspace_id)


@login_required
@require_POST
def workspace_start(request: HttpRequest, workspace_id: str) -> HttpResponse:
    """Start them again."""
    services.workspace_start(workspace=_own(request, workspace_id), by=current_user(request))
    return redirect("workspace", workspace_id=workspace_id)


@login_required
@require_POST
def workspace_apply(request: HttpRequest, workspace_id: str) -> HttpResponse:
    """Plan and apply again, or plan and wait for a yes."""
    services.workspace_apply(
        workspace=_own(request, workspace_id), by=current_user(request), review=request.POST.get("review") == "yes"
    )
    return redirect("workspace", workspace_id=workspace_id)


@login_required
@require_POST
def workspace_destroy(request: HttpRequest, workspace_id: str) -> HttpResponse:
    """Take it down; with its data only if its name was typed."""
    form = DestroyForm(request.POST)
    if not form.is_valid():
        raise Invalid("This cannot be read.", fields={name: str(errors[0]) for name, errors in form.errors.items()})
    services.workspace_destroy(workspace=_own(request, workspace_id), by=current_user(request), **form.cleaned_data)
    kept = "" if form.cleaned_data["delete_data"] else " Its data stays."
    messages.success(request, f"The workspace is being taken down.{kept}")
    return redirect("workspace", workspace_id=workspace_id)


@login_required
@require_POST
def workspace_credentials(request: HttpRequest, workspace_id: str) -> HttpResponse:
    """Temporary AWS credentials, shown once."""
    found = _own(request, workspace_id)
    try:
        lent = services.credentials_lend(workspace=found, by=current_user(request))
    except OrcaError as error:
        response = render(request, "web/workspaces/credentials.html", {"error": error}, status=200)
    else:
        shown = {"lent": lent, "place": cloud_address(found), "workspace": found}
        response = render(request, "web/workspaces/credentials.html", shown)
    response.headers["Cache-Control"] = "no-store"
    return response
