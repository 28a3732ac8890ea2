"""Pages of scripts."""

from __future__ import annotations

import shlex
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.accounts.current import current_user
from portal.accounts.models import User
from portal.core.errors import CloudFault, Conflict, Invalid, NotFound
from portal.pipelines import services
from portal.pipelines.models import Run, Script, ScriptVersion
from portal.pipelines.selectors import file_text, run_get, runs_listed, script_get, scripts_of, version_get
from portal.web.code_shown import code_html
from portal.web.forms import RunForm, ScriptForm, UploadForm, tell
from portal.workspaces.models import Workspace
from portal.workspaces.secrets import secrets_by_name
from portal.workspaces.selectors import workspace_get, workspaces_of


@login_required
@require_GET
def script_list(request: HttpRequest) -> HttpResponse:
    """All of a person's scripts."""
    return render(request, "web/scripts/list.html", {"scripts": scripts_of(current_user(request))})


@login_required
@require_http_methods(["GET", "POST"])
def script_new(request: HttpRequest) -> HttpResponse:
    """Upload a new one."""
    form = ScriptForm(request.POST or None, request.FILES or None)
    status = 200
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            version = services.script_create(
                owner=current_user(request),
                name=given["name"],
                description=given["description"],
                entrypoint=given["entrypoint"],
                uploads=form.uploads(),
            )
        except (Invalid, Conflict, CloudFault) as error:
            tell(form, error)
            status = error.status
        else:
            messages.success(request, "Uploaded. Run it whenever you like.")
            return redirect("script", script_id=version.script_id)
    return render(request, "web/scripts/new.html", {"form": form}, status=status)


@login_required
@require_GET
def script(request: HttpRequest, script_id: str) -> HttpResponse:
    """One script: run it, see its files and versions."""
    owner = current_user(request)
    found = script_get(owner=owner, script_id=script_id)
    form = _run_form(owner, found, initial=_like(owner, request.GET.get("like", "")))
    return render(request, "web/scripts/page.html", _shown(request, owner, found) | {"form": form})


def _run_form(owner: User, found: Script, data: Any = None, initial: dict[str, Any] | None = None) -> RunForm:
    usable = workspaces_of(owner).filter(state__in=Workspace.TAKES_RUNS)
    workspaces = sorted(usable, key=lambda w: (w.state not in Workspace.ALIVE, w.state != Workspace.State.READY))
    versions, secrets = found.versions.order_by("-number")[:100], secrets_by_name(workspaces)
    return RunForm(data, initial=initial, workspaces=workspaces, versions=versions, secrets=secrets)


def _like(owner: User, run_id: str) -> dict[str, Any]:
    """What an earlier run was started with, to be changed and run again."""
    if not run_id:
        return {}
    run = run_get(owner=owner, run_id=run_id)
    step = run.steps.all()[0]
    changed = {
        key: step.limits.get(key) for key, (usual, _, _) in services.LIMITS.items() if step.limits.get(key) != usual
    }
    return {
        **changed,
        "workspace": run.workspace_id,
        "version": step.version.number,
        "arguments": shlex.join(step.arguments),
        "environment": list(step.environment.items()),
        "secrets": step.secrets,
    }


def _shown(request: HttpRequest, owner: User, found: Script) -> dict[str, Any]:
    asked = request.GET.get("version", "")
    version = version_get(script=found, number=int(asked) if asked.isascii() and asked.isdigit() else None)
    path = request.GET.get("file") or version.entrypoint
    text, problem = _file_shown(version, path)
    return {
        "script": found,
        "version": version,
        "versions": found.versions.select_related("uploaded_by").order_by("-number")[:50],
        "path": path,
        "text": text,
        "problem": problem,
        "runs": runs_listed(owner).filter(script=found)[:4],
        "upload_form": UploadForm(),
    }


def _file_shown(version: ScriptVersion, path: str) -> tuple[SafeString | None, str]:
    """A file's coloured text, or why there is none."""
    try:
        text = file_text(version, path)
    except NotFound:
        return None, "There is no such file in this version."
    except CloudFault:
        return None, "The file cannot be fetched right now."
    if text is None:
        return None, "This is not text, or too long to show."
    return code_html(text, path), ""


@login_required
@require_POST
def script_upload(request: HttpRequest, script_id: str) -> HttpResponse:
    """Another version."""
    owner = current_user(request)
    found = script_get(owner=owner, script_id=script_id)
    form = UploadForm(request.POST, request.FILES)
    status = 422
    if form.is_valid():
        newest = version_get(script=found).number
        try:
            version = services.script_version_add(
                script=found, by=owner, uploads=form.uploads(), entrypoint=form.cleaned_data["entrypoint"]
            )
        except (Invalid, CloudFault) as error:
            tell(form, error)
            status = error.status
        else:
            same = version.number == newest
            messages.success(request, "These files are the newest version already." if same else f"{version} is there.")
            return redirect("script", script_id=found.pk)
    shown = _shown(request, owner, found) | {"form": _run_form(owner, found), "upload_form": form, "upload_open": True}
    return render(request, "web/scripts/page.html", shown, status=status)


@login_required
@require_POST
def script_archive(request: HttpRequest, script_id: str) -> HttpResponse:
    """Take it out of sight."""
    by = current_user(request)
    found = script_get(owner=by, script_id=script_id)
    services.script_archive(script=found, by=by)
    messages.success(request, f"{found.name} is gone from the list. Its runs are still there.")
    return redirect("script_list")


@login_required
@require_POST
def script_run(request: HttpRequest, script_id: str) -> HttpResponse:
    """Start a run."""
    owner = current_user(request)
    found = script_get(owner=owner, script_id=script_id)
    form = _run_form(owner, found, request.POST)
    status = 422
    if form.is_valid():
        given = form.cleaned_data
        try:
            run = services.run_create(
                owner=owner,
                workspace=workspace_get(owner=owner, workspace_id=given["workspace"]),
                version=version_get(script=found, number=given["version"]),
                arguments=given["arguments"],
                environment=form.environment(),
                secrets=given["secrets"],
                limits=form.limits(),
                name=given["name"],
                via=Run.Via.PAGE,
            )
        except (Invalid, Conflict) as error:
            tell(form, error)
            status = error.status
        else:
            return redirect("run", run_id=run.pk)
    return render(request, "web/scripts/page.html", _shown(request, owner, found) | {"form": form}, status=status)
