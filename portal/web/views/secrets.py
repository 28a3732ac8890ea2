"""The page of a workspace's secrets: add, replace, delete. No page shows one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from portal.accounts.current import current_user
from portal.core.errors import CloudFault, Conflict, Invalid, LimitReached
from portal.web.forms import SecretForm, tell
from portal.workspaces import secrets
from portal.workspaces.models import Workspace
from portal.workspaces.selectors import workspace_get


def _own(request: HttpRequest, workspace_id: str) -> Workspace:
    return workspace_get(owner=current_user(request), workspace_id=workspace_id)


def _page(request: HttpRequest, workspace: Workspace, form: SecretForm, *, status: int = 200) -> HttpResponse:
    shown: dict[str, Any] = {
        "workspace": workspace,
        "secrets": secrets.secrets_of(workspace),
        "form": form,
        "takes": workspace.state not in {Workspace.State.DESTROYING, Workspace.State.DESTROYED},
    }
    return render(request, "web/workspaces/secrets.html", shown, status=status)


@login_required
@require_GET
def secret_list(request: HttpRequest, workspace_id: str) -> HttpResponse:
    """The names, and the form; ``?replace=NAME`` fills that in."""
    form = SecretForm(initial={"name": request.GET.get("replace", "")[:100]})
    return _page(request, _own(request, workspace_id), form)


@sensitive_post_parameters("value")
@login_required
@require_POST
def secret_save(request: HttpRequest, workspace_id: str) -> HttpResponse:
    """Add one, or give it another value."""
    workspace, form = _own(request, workspace_id), SecretForm(request.POST)
    status = 422
    if form.is_valid():
        name = form.cleaned_data["name"]
        try:
            _, is_new = secrets.secret_put(workspace=workspace, by=current_user(request), **form.cleaned_data)
        except (Invalid, Conflict, LimitReached, CloudFault) as error:
            tell(form, error)
            status = error.status
        else:
            done = f"{name} is kept." if is_new else f"{name} has its new value; steps that start in a minute have it."
            messages.success(request, done)
            return redirect("secret_list", workspace_id=workspace.pk)
    form.forget()
    return _page(request, workspace, form, status=status)


@login_required
@require_POST
def secret_delete(request: HttpRequest, workspace_id: str, secret_name: str) -> HttpResponse:
    """Delete one."""
    workspace = _own(request, workspace_id)
    secrets.secret_delete(workspace=workspace, name=secret_name, by=current_user(request))
    messages.success(request, f"{secret_name} is deleted.")
    return redirect("secret_list", workspace_id=workspace.pk)
