"""Pages of jobs."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.accounts.current import current_user
from portal.accounts.models import User
from portal.core.errors import Conflict, Invalid, LimitReached, NotFound
from portal.core.streams import stream
from portal.jobs import selectors, services
from portal.jobs.models import Job
from portal.pipelines.models import Run
from portal.pipelines.selectors import script_names
from portal.web.job_form import JobForm
from portal.web.job_form_filling import initial_of, refuse
from portal.web.job_list import STATES, jobs_asked, jobs_page
from portal.web.job_preview import preview_shown
from portal.web.job_shown import SLOW, JobWatch, job_shown, yaml_of
from portal.web.job_words import as_yaml
from portal.web.live import Fragments
from portal.workspaces.selectors import workspaces_of

_REFUSED = (Invalid, Conflict, LimitReached, NotFound)


def _listed(owner: User, request: HttpRequest) -> dict[str, Any]:
    jobs, filtered = jobs_asked(owner, request.GET)
    return {"page": jobs_page(jobs, request.GET.get("before", "")), "filtered": filtered}


@login_required
@require_GET
def job_list(request: HttpRequest) -> HttpResponse:
    """All of a person's jobs, those that fit the filter."""
    owner = current_user(request)
    choices = {
        "asked": request.GET,
        "states": STATES,
        "scripts": script_names(owner),
        "workspaces": list(workspaces_of(owner).values_list("pk", "name")),
    }
    return render(request, "web/jobs/list.html", _listed(owner, request) | choices)


@login_required
@require_GET
async def job_list_live(request: HttpRequest) -> StreamingHttpResponse:
    """How they go."""
    owner = await sync_to_async(current_user)(request)

    def draw() -> dict[str, str]:
        return {"jobs": render_to_string("web/jobs/rows.html", _listed(owner, request), request)}

    watch = Fragments(f"owner:{owner.pk}", draw=draw)
    watch.pause = SLOW
    return stream(watch)


@login_required
@require_http_methods(["GET", "POST"])
def job_new(request: HttpRequest) -> HttpResponse:
    """Describe one, look at what it would work on, submit it."""
    owner = current_user(request)
    form = JobForm(request.POST or None, owner=owner, initial=_beginning(owner, request))
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                job = services.job_submit(owner=owner, submission=form.submission(), via=Run.Via.PAGE)
            except _REFUSED as error:
                refuse(form, error)
                status = error.status
            else:
                return redirect("job", job_id=job.pk)
    wrong = [bound for bound in form if bound.errors]
    return render(request, "web/jobs/new.html", {"form": form, "wrong": wrong}, status=status)


def _beginning(owner: User, request: HttpRequest) -> dict[str, Any]:
    """What the form begins with: an earlier job to be changed, a script, or the outputs of a job."""
    like, script, earlier = (request.GET.get(name, "") for name in ("like", "script", "input_job"))
    begin: dict[str, Any] = {}
    if like:
        job = selectors.job_get(owner=owner, job_id=like)
        chosen = {"workspace": job.workspace_id, "script": job.script_id, "version": job.version.number}
        begin = initial_of(job.definition) | chosen
    if earlier:
        begin |= {"kind": "job", "input_job": selectors.job_get(owner=owner, job_id=earlier).pk}
    return begin | ({"script": script} if script else {})


@login_required
@require_POST
def job_preview(request: HttpRequest) -> HttpResponse:
    """What it would work on and cost, as a part of the page."""
    owner = current_user(request)
    form = JobForm(request.POST, owner=owner)
    return render(request, "web/jobs/preview.html", preview_shown(owner, form))


@login_required
@require_POST
def job_yaml(request: HttpRequest) -> HttpResponse:
    """The same as a file for the command line, as a part of the page."""
    form = JobForm(request.POST, owner=current_user(request))
    text = as_yaml(form.written()) if form.is_valid() else ""
    return render(request, "web/jobs/yaml.html", {"yaml": text, "form": form})


@login_required
@require_GET
def job(request: HttpRequest, job_id: str) -> HttpResponse:
    """One job: how its shards fare, what it costs, what it made."""
    shown = job_shown(current_user(request), job_id, request.GET)
    shown |= {"csrf_value": get_token(request), "yaml": yaml_of(shown["job"])}
    return render(request, "web/jobs/page.html", shown)


@login_required
@require_GET
async def job_live(request: HttpRequest, job_id: str) -> StreamingHttpResponse:
    """Its moving parts; ends when it has."""
    owner = await sync_to_async(current_user)(request)
    found = await sync_to_async(selectors.job_get)(owner=owner, job_id=job_id)
    return stream(JobWatch(found, owner=owner, request=request))


def _job(request: HttpRequest, job_id: str) -> Job:
    return selectors.job_get(owner=current_user(request), job_id=job_id)


@login_required
@require_POST
def job_cancel(request: HttpRequest, job_id: str) -> HttpResponse:
    """Stop it."""
    services.job_cancel(job=_job(request, job_id), by=current_user(request))
    return redirect("job", job_id=job_id)


@login_required
@require_POST
def job_retry(request: HttpRequest, job_id: str) -> HttpResponse:
    """Do again what failed, on the same data."""
    services.job_retry(job=_job(request, job_id), by=current_user(request), via=Run.Via.PAGE)
    return redirect("job", job_id=job_id)


@login_required
@require_POST
def job_outputs_delete(request: HttpRequest, job_id: str) -> HttpResponse:
    """Delete what it made."""
    services.outputs_delete(job=_job(request, job_id), by=current_user(request))
    messages.success(request, "The outputs are deleted. The job, its items and its logs stay.")
    return redirect("job", job_id=job_id)


_LINKS = {
    "archive": selectors.archive_link,
    "index": selectors.index_link,
    "items": selectors.manifest_link,
}


@login_required
@require_GET
def job_file(request: HttpRequest, job_id: str, kind: str) -> HttpResponse:
    """A link to the bucket that works for a while: to its archive, its index or its items."""
    if kind == "job.yaml":
        text = yaml_of(_job(request, job_id))
        headers = {"Content-Disposition": 'attachment; filename="job.yaml"'}
        return HttpResponse(text, content_type="application/yaml; charset=utf-8", headers=headers)
    link = _LINKS.get(kind)
    if link is None:
        raise NotFound("There is no such file of a job.")
    return HttpResponseRedirect(link(_job(request, job_id)))
