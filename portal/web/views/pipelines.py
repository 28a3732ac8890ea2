"""Pages of pipelines."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.accounts.current import current_user
from portal.accounts.models import User
from portal.core.errors import Conflict, Invalid
from portal.core.streams import stream
from portal.pipelines import pipelines
from portal.pipelines.models import Pipeline, PipelineVersion
from portal.pipelines.selectors import pipeline_get, pipeline_version_get, pipelines_of
from portal.web.forms import SourceForm
from portal.web.live import Fragments
from portal.web.pipeline_shown import example, pipeline_shown, problems_shown, runs_shown


@login_required
@require_GET
def pipeline_list(request: HttpRequest) -> HttpResponse:
    """All of a person's pipelines."""
    shown = {"pipelines": pipelines_of(current_user(request)), "csrf_value": get_token(request)}
    return render(request, "web/pipelines/list.html", shown)


@login_required
@require_GET
async def pipeline_list_live(request: HttpRequest) -> StreamingHttpResponse:
    """How their last runs go."""
    owner = await sync_to_async(current_user)(request)
    token = get_token(request)

    def draw() -> dict[str, str]:
        shown = {"pipelines": pipelines_of(owner), "csrf_value": token}
        return {"pipelines": render_to_string("web/pipelines/rows.html", shown, request)}

    return stream(Fragments(f"owner:{owner.pk}", draw=draw))


@login_required
@require_http_methods(["GET", "POST"])
def pipeline_new(request: HttpRequest) -> HttpResponse:
    """Write one, from an example of one's own scripts."""
    owner = current_user(request)
    if request.method == "POST":
        return _saved(request, owner, None)
    found = example(owner)
    shown = {"form": SourceForm(initial={"source": found.source}), "lacking": found.lacking}
    return render(request, "web/pipelines/edit.html", shown)


@login_required
@require_http_methods(["GET", "POST"])
def pipeline_edit(request: HttpRequest, pipeline_id: str) -> HttpResponse:
    """Write it anew; every change makes a version."""
    owner = current_user(request)
    found = pipeline_get(owner=owner, pipeline_id=pipeline_id)
    if request.method == "POST":
        return _saved(request, owner, found)
    version = pipeline_version_get(pipeline=found, number=_number(request))
    shown = {"pipeline": found, "version": version, "form": SourceForm(initial={"source": version.source})}
    return render(request, "web/pipelines/edit.html", shown)


def _saved(request: HttpRequest, owner: User, before: Pipeline | None) -> HttpResponse:
    # A form sends lines that end as in a mail (https://html.spec.whatwg.org/#form-submission).
    source = request.POST.get("source", "").replace("\r\n", "\n")
    try:
        saved, version, changed = pipelines.pipeline_apply(owner=owner, source=source)
    except (Invalid, Conflict) as error:
        form = SourceForm(initial={"source": source})
        shown = {"pipeline": before, "form": form, "refused": error} | problems_shown(owner, source)
        return render(request, "web/pipelines/edit.html", shown, status=error.status)
    messages.success(request, _told(saved, version, before, changed=changed))
    return redirect("pipeline", pipeline_id=saved.pk)


def _told(saved: Pipeline, version: PipelineVersion, before: Pipeline | None, *, changed: bool) -> str:
    """What saving has done."""
    if before is not None and saved.pk != before.pk:
        kind = "a new pipeline" if version.number == 1 else f"version {version.number}"
        return f"Saved under its new name, as {kind}. {before.name} stays as it was."
    if not changed:
        return f"Nothing was changed: version {version.number} is the same."
    if version.number == 1:
        return "Created. Run it whenever you like."
    return f"Saved as version {version.number}. Runs that have begun keep the one that they began with."


@login_required
@require_POST
def pipeline_check(request: HttpRequest) -> HttpResponse:
    """What is wrong with what is being typed, as a part of the page; else a picture of it."""
    shown = problems_shown(current_user(request), request.POST.get("source", "").replace("\r\n", "\n"))
    return render(request, "web/pipelines/problems.html", shown)


@login_required
@require_GET
def pipeline(request: HttpRequest, pipeline_id: str) -> HttpResponse:
    """One pipeline: its steps as a picture, its runs, its versions; run it."""
    owner = current_user(request)
    found = pipeline_get(owner=owner, pipeline_id=pipeline_id)
    return render(request, "web/pipelines/page.html", pipeline_shown(owner, found, _number(request)))


@login_required
@require_GET
async def pipeline_live(request: HttpRequest, pipeline_id: str) -> StreamingHttpResponse:
    """Its runs as they go."""
    owner = await sync_to_async(current_user)(request)
    found = await sync_to_async(pipeline_get)(owner=owner, pipeline_id=pipeline_id)

    def draw() -> dict[str, str]:
        shown = {"pipeline": found, "runs": runs_shown(owner, found)}
        return {"pipeline-runs": render_to_string("web/pipelines/runs.html", shown, request)}

    return stream(Fragments(f"owner:{owner.pk}", draw=draw))


@login_required
@require_POST
def pipeline_run(request: HttpRequest, pipeline_id: str) -> HttpResponse:
    """Run the newest version."""
    owner = current_user(request)
    found = pipeline_get(owner=owner, pipeline_id=pipeline_id)
    prefix = "parameter-"
    given = {
        name.removeprefix(prefix): value.replace("\r\n", "\n")
        for name, value in request.POST.items()
        if isinstance(value, str) and name.startswith(prefix)
    }
    required = _required(found)
    # An empty field says nothing where something has to be said.
    told = {name: value for name, value in given.items() if value or name not in required}
    try:
        run = pipelines.pipeline_run(pipeline=found, by=owner, parameters=told)
    except (Invalid, Conflict) as error:
        shown: dict[str, Any] = pipeline_shown(owner, found, None, given=given, refused=error)
        return render(request, "web/pipelines/page.html", shown, status=error.status)
    return redirect("run", run_id=run.pk)


def _required(found: Pipeline) -> set[str]:
    parameters = pipeline_version_get(pipeline=found).definition.get("parameters", {})
    return {name for name, parameter in parameters.items() if parameter["default"] is None}


@login_required
@require_POST
def pipeline_archive(request: HttpRequest, pipeline_id: str) -> HttpResponse:
    """Delete it; its runs stay."""
    owner = current_user(request)
    found = pipeline_get(owner=owner, pipeline_id=pipeline_id)
    pipelines.pipeline_archive(pipeline=found, by=owner)
    messages.success(request, f"{found.name} is deleted. Its runs, their logs and outputs stay.")
    return redirect("pipeline_list")


def _number(request: HttpRequest) -> int | None:
    asked = request.GET.get("version", "")
    return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 9 else None
