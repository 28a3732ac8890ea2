"""Pages of schedules."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.accounts.current import current_user
from portal.accounts.models import User
from portal.core.errors import Conflict, Invalid, LimitReached, NotFound, OrcaError
from portal.core.streams import stream
from portal.schedules import services
from portal.schedules.models import Schedule
from portal.schedules.selectors import coming_of, fires_of, schedule_get, schedules_of
from portal.schedules.timing import preview, timing_of, words_of
from portal.web.forms import tell
from portal.web.live import Fragments
from portal.web.schedule_form import ScheduleForm, TimingForm, initial_of, zones

_PAGE = 50
_PARTS = ("head", "coming", "fires")


@login_required
@require_GET
def schedule_list(request: HttpRequest) -> HttpResponse:
    """All of a person's schedules."""
    return render(request, "web/schedules/list.html", _listed(request, current_user(request)))


def _listed(request: HttpRequest, owner: User) -> dict[str, Any]:
    found = schedules_of(owner).order_by("name")
    workspace = request.GET.get("workspace", "")
    if workspace:
        found = found.filter(workspace=workspace) | found.filter(pipeline__workspace=workspace)
    page = Paginator(found, _PAGE).get_page(request.GET.get("page"))
    return {"page": page, "rows": [(row, words_of(timing_of(row))) for row in page], "filtered": bool(workspace)}


@login_required
@require_GET
async def schedule_list_live(request: HttpRequest) -> StreamingHttpResponse:
    """The list's moving part."""
    owner = await sync_to_async(current_user)(request)

    def draw() -> dict[str, str]:
        return {"schedules": render_to_string("web/schedules/rows.html", _listed(request, owner), request)}

    return stream(Fragments(f"owner:{owner.pk}", draw=draw))


@login_required
@require_http_methods(["GET", "POST"])
def schedule_new(request: HttpRequest) -> HttpResponse:
    """The form for a new one; ``?script=``, ``?pipeline=`` and ``?workspace=`` choose what it starts."""
    owner = current_user(request)
    form = ScheduleForm(request.POST or None, owner=owner, initial=_chosen(request))
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            given = form.cleaned_data
            try:
                made = services.schedule_create(
                    owner=owner, name=given["name"], timing=form.timing(), target=form.target(), missed=given["missed"]
                )
            except (Invalid, Conflict, LimitReached, NotFound) as error:
                tell(form, error)
                status = error.status
            else:
                messages.success(request, "Scheduled.")
                return redirect("schedule", schedule_id=made.pk)
    return render(request, "web/schedules/form.html", {"form": form, "zones": zones()}, status=status)


def _chosen(request: HttpRequest) -> dict[str, str]:
    given = {name: request.GET[name] for name in ("pipeline", "script", "workspace") if name in request.GET}
    action = next((name for name in ("pipeline", "script") if name in given), "")
    return given | ({"action": action} if action else {})


@login_required
@require_http_methods(["GET", "POST"])
def schedule_edit(request: HttpRequest, schedule_id: str) -> HttpResponse:
    """The same form for one that is there."""
    owner = current_user(request)
    found = schedule_get(owner=owner, schedule_id=schedule_id)
    form = ScheduleForm(request.POST or None, owner=owner, initial=initial_of(found))
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            given = form.cleaned_data
            try:
                services.schedule_change(
                    schedule=found,
                    by=owner,
                    name=given["name"],
                    timing=form.timing(),
                    target=form.target(limits=found.limits),
                    missed=given["missed"],
                )
            except (Invalid, Conflict, NotFound) as error:
                tell(form, error)
                status = error.status
            else:
                messages.success(request, "Changed.")
                return redirect("schedule", schedule_id=found.pk)
    shown = {"form": form, "schedule": found, "zones": zones()}
    return render(request, "web/schedules/form.html", shown, status=status)


@login_required
@require_POST
def schedule_preview(request: HttpRequest) -> HttpResponse:
    """The next five times of what is in the form, as a part of the page."""
    form = TimingForm(request.POST)
    if not form.is_valid():
        said = [str(text) for errors in form.errors.values() for text in errors]
        return render(request, "web/schedules/preview.html", {"problem": said[0]})
    try:
        shown = preview(form.timing())
    except Invalid as error:
        problem = next(iter(error.fields.values()), error.message)
        return render(request, "web/schedules/preview.html", {"problem": problem})
    return render(request, "web/schedules/preview.html", {"preview": shown, "zone": form.cleaned_data["zone"]})


@login_required
@require_GET
def schedule(request: HttpRequest, schedule_id: str) -> HttpResponse:
    """One schedule: when next, and what became of its slots."""
    shown = _shown(request, current_user(request), schedule_id)
    return render(request, "web/schedules/page.html", shown | {"csrf_value": get_token(request)})


def _shown(request: HttpRequest, owner: User, schedule_id: str) -> dict[str, Any]:
    found = schedule_get(owner=owner, schedule_id=schedule_id)
    page = Paginator(fires_of(found).order_by("-due_at"), _PAGE).get_page(request.GET.get("page"))
    return {
        "schedule": found,
        "words": words_of(timing_of(found)),
        "coming": coming_of(found),
        "page": page,
        "fires": list(page),
    }


@login_required
@require_GET
async def schedule_live(request: HttpRequest, schedule_id: str) -> StreamingHttpResponse:
    """Its moving parts."""
    owner = await sync_to_async(current_user)(request)
    found = await sync_to_async(schedule_get)(owner=owner, schedule_id=schedule_id)
    token = get_token(request)

    def draw() -> dict[str, str]:
        try:
            shown = _shown(request, owner, schedule_id) | {"csrf_value": token}
        except NotFound:
            watch.over = True
            return {}
        return {f"schedule-{part}": render_to_string(f"web/schedules/{part}.html", shown, request) for part in _PARTS}

    watch = Fragments(f"schedule:{found.pk}", f"owner:{owner.pk}", draw=draw)
    return stream(watch)


def _own(request: HttpRequest, schedule_id: str) -> Schedule:
    return schedule_get(owner=current_user(request), schedule_id=schedule_id)


@login_required
@require_POST
def schedule_enable(request: HttpRequest, schedule_id: str) -> HttpResponse:
    """Let it fire."""
    try:
        services.schedule_enable(schedule=_own(request, schedule_id), by=current_user(request))
    except Conflict as error:
        messages.error(request, f"{error.message} {error.hint}".strip())
    return redirect("schedule", schedule_id=schedule_id)


@login_required
@require_POST
def schedule_disable(request: HttpRequest, schedule_id: str) -> HttpResponse:
    """Let it rest."""
    services.schedule_disable(schedule=_own(request, schedule_id), by=current_user(request))
    return redirect("schedule", schedule_id=schedule_id)


@login_required
@require_POST
def schedule_run(request: HttpRequest, schedule_id: str) -> HttpResponse:
    """Start what it starts, now."""
    found = _own(request, schedule_id)
    try:
        fire = services.schedule_run_now(schedule=found, by=current_user(request))
    except (Conflict, Invalid) as error:
        messages.error(request, _said(error))
    else:
        if fire.run_id:
            return redirect("run", run_id=fire.run_id)
        messages.success(request, fire.why or "Done.")
    return redirect("schedule", schedule_id=schedule_id)


def _said(error: OrcaError) -> str:
    return " ".join(filter(None, [error.message, *error.fields.values(), error.hint]))


@login_required
@require_POST
def schedule_delete(request: HttpRequest, schedule_id: str) -> HttpResponse:
    """Take it away with its history."""
    found = _own(request, schedule_id)
    services.schedule_delete(schedule=found, by=current_user(request))
    messages.success(request, f"{found.name} is deleted. The runs that it started are still there.")
    return redirect("schedule_list")
