"""Pages of runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_POST

from portal.accounts.current import current_user
from portal.core.errors import CloudFault, NotFound
from portal.core.streams import stream
from portal.pipelines import again, services
from portal.pipelines.models import Step
from portal.pipelines.selectors import (
    PREVIEW_BYTES,
    log_lines,
    output_link,
    output_text,
    outputs_of,
    run_bare,
    run_get,
    step_found,
)
from portal.web.code_shown import code_html, markdown_html, sheet_of
from portal.web.live import Fragments
from portal.web.run_shown import RunWatch, execution_asked, log_window, run_shown
from portal.web.tasks_shown import parts_of, tasks_shown

_MOST_LINES = 200_000


@login_required
@require_GET
def run_list(request: HttpRequest) -> HttpResponse:
    """All of a person's runs, those that fit the filter."""
    return render(request, "web/runs/list.html", tasks_shown(current_user(request), request.GET))


@login_required
@require_GET
async def run_list_live(request: HttpRequest) -> StreamingHttpResponse:
    """The same page's moving parts."""
    owner = await sync_to_async(current_user)(request)

    def draw() -> dict[str, str]:
        shown = tasks_shown(owner, request.GET)
        return {
            f"runs-{part}": render_to_string(f"web/runs/{part}_part.html", shown, request) for part in parts_of(shown)
        }

    return stream(Fragments(f"owner:{owner.pk}", draw=draw))


@login_required
@require_GET
def run(request: HttpRequest, run_id: str) -> HttpResponse:
    """One run: how it goes, its log, what it made."""
    asked_step = request.GET.get("step", "")
    shown = run_shown(current_user(request), run_id, asked_step, execution_asked(request))
    if shown.get("job") and not asked_step:
        return redirect("job", job_id=shown["job"].pk)
    if "step" not in shown:
        raise NotFound("This run has no steps.")
    asked = request.GET.get("after", "")
    after = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else None
    window = log_window(shown["step"], after=after, past=shown.get("past"))
    shown |= {"log": window, "csrf_value": get_token(request)}
    page = "web/runs/pipeline_page.html" if "pictures" in shown else "web/runs/page.html"
    page = "web/jobs/shard.html" if "shard" in shown else page
    return render(request, page, shown)


@login_required
@require_GET
async def run_live(request: HttpRequest, run_id: str) -> StreamingHttpResponse:
    """Its moving parts, and its log as it grows; ends when the run has."""
    owner = await sync_to_async(current_user)(request)
    found = await sync_to_async(run_bare)(owner=owner, run_id=run_id)
    return stream(RunWatch(found, owner=owner, request=request))


@login_required
@require_POST
def run_cancel(request: HttpRequest, run_id: str) -> HttpResponse:
    """Stop it."""
    by = current_user(request)
    services.run_cancel(run=run_get(owner=by, run_id=run_id), by=by)
    return redirect("run", run_id=run_id)


@login_required
@require_POST
def run_again(request: HttpRequest, run_id: str) -> HttpResponse:
    """The same once more."""
    owner = current_user(request)
    made = again.run_again(run=run_get(owner=owner, run_id=run_id), by=owner)
    return redirect("run", run_id=made.pk)


@login_required
@require_POST
def run_retry(request: HttpRequest, run_id: str) -> HttpResponse:
    """Again from where it failed."""
    owner = current_user(request)
    made = again.run_retry(run=run_get(owner=owner, run_id=run_id), by=owner)
    return redirect("run", run_id=made.pk)


@login_required
@require_POST
def step_again(request: HttpRequest, run_id: str, step_id: str) -> HttpResponse:
    """One step of it again."""
    owner = current_user(request)
    made = again.step_again(step=step_found(owner=owner, run_id=run_id, step_id=step_id), by=owner)
    return redirect("run", run_id=made.pk)


def _step(request: HttpRequest, run_id: str, step_id: str) -> Step:
    return step_found(owner=current_user(request), run_id=run_id, step_id=step_id)


@login_required
@require_GET
def step_log(request: HttpRequest, run_id: str, step_id: str) -> HttpResponse | StreamingHttpResponse:
    """The whole log as a file: from the bucket where it lies there, else what there is of it."""
    step = _step(request, run_id, step_id)
    execution = execution_asked(request)
    done = step.origin or step
    if done.log_key and execution is None:
        return HttpResponseRedirect(services.log_link(step=done))
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in step.name)[:60]
    headers = {"Content-Disposition": f'attachment; filename="{name}-log.txt"'}
    return HttpResponse(_texts(step, execution), content_type="text/plain; charset=utf-8", headers=headers)


def _texts(step: Step, execution: int | None) -> Iterator[str]:
    for line in log_lines(step, most=_MOST_LINES, execution=execution):
        yield f"{line.text}\n"


@login_required
@require_GET
def step_output(request: HttpRequest, run_id: str, step_id: str, path: str) -> HttpResponse:
    """An output: a link to the bucket that works for a while, to be saved or, with ``inline``, to be shown."""
    link = output_link(_step(request, run_id, step_id), path, inline="inline" in request.GET)
    response = HttpResponseRedirect(link)
    response.headers["Cache-Control"] = "private, max-age=300"
    return response


@login_required
@require_GET
def step_preview(request: HttpRequest, run_id: str, step_id: str, path: str) -> HttpResponse:
    """The beginning of a text output, as a part of a page."""
    step = _step(request, run_id, step_id)
    output = next((output for output in outputs_of(step) if output.path == path), None)
    if output is None:
        raise NotFound("There is no such output.")
    shown: dict[str, Any] = {"output": output, "cut": output.size > PREVIEW_BYTES, "limit": PREVIEW_BYTES}
    try:
        text = output_text(step, path)
    except (CloudFault, NotFound) as error:
        return render(request, "web/runs/preview.html", shown | {"problem": error.message})
    if output.kind == "table":
        shown["sheet"] = sheet_of(text, tabs=path.lower().endswith(".tsv"), cut=shown["cut"])
    elif output.kind == "markdown":
        shown["prose"] = markdown_html(text)
    else:
        shown["code"] = code_html(text, path)
    return render(request, "web/runs/preview.html", shown)
