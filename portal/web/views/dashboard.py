"""The first page: what is going on, and what to do next."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET

from portal.accounts.current import current_user
from portal.accounts.models import User
from portal.accounts.selectors import ssh_keys_of
from portal.core.streams import stream
from portal.pipelines.models import OPEN
from portal.pipelines.selectors import runs_listed, script_names
from portal.web.live import Fragments
from portal.web.tasks_shown import going_on
from portal.web.workspace_shown import workspaces_shown

RECENT = 8


@require_GET
def dashboard(request: HttpRequest) -> HttpResponse:
    """The first page; for strangers, what this is and where the door is."""
    if not request.user.is_authenticated:
        return render(request, "web/welcome.html")
    owner = current_user(request)
    shown = overview(owner)
    return render(request, "web/dashboard.html", {"steps": first_steps(owner, shown), **shown})


def overview(owner: User) -> dict[str, list[Any]]:
    """What of a person's things is going on: what runs goes before what waits."""
    return {
        "running": going_on(owner),
        "recent": list(runs_listed(owner).exclude(state__in=OPEN)[:RECENT]),
        "workspaces": workspaces_shown(owner),
    }


def first_steps(owner: User, shown: dict[str, list[Any]]) -> list[dict[str, object]]:
    """What a newcomer does, in order, and what of it is done; empty once all is done."""
    has_run = bool(shown["running"] or shown["recent"])
    done = [
        ssh_keys_of(owner).exists(),
        bool(shown["workspaces"]) or owner.workspaces.exists(),
        has_run or bool(script_names(owner)),
        has_run,
    ]
    if all(done):
        return []
    texts = [
        ("Add your SSH key", "So that you can log in to your machine.", "account", "#ssh-keys", "Add a key"),
        ("Create a workspace", "A machine, a bucket and a queue, built in a minute.", "workspace_new", "", "Create"),
        ("Upload a script", "One Python or shell file is enough.", "script_new", "", "Upload"),
        ("Run it", "Watch its log, and fetch what it made.", "script_list", "", "Choose a script"),
    ]
    following = done.index(False)
    return [
        {
            "title": title,
            "text": text,
            "page": page,
            "anchor": anchor,
            "button": button,
            "done": ready,
            "next": at == following,
        }
        for at, ((title, text, page, anchor, button), ready) in enumerate(zip(texts, done, strict=True))
    ]


@login_required
@require_GET
async def dashboard_live(request: HttpRequest) -> StreamingHttpResponse:
    """The same page's moving parts."""
    owner = await sync_to_async(current_user)(request)
    token = get_token(request)

    def draw() -> dict[str, str]:
        shown = overview(owner) | {"csrf_value": token}
        return {
            f"{part}": render_to_string(f"web/dashboard/{part}.html", shown, request)
            for part in ("running", "workspaces", "recent")
        }

    return stream(Fragments(f"owner:{owner.pk}", draw=draw))
