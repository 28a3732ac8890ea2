"""The first page: what is going on, and what to do next."""

from __future__ import annotations

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
from portal.pipelines.selectors import runs_of, scripts_of
from portal.web.live import Fragments
from portal.web.workspace_shown import workspaces_shown

RECENT = 8


@require_GET
def dashboard(request: HttpRequest) -> HttpResponse:
    """The first page; for strangers, what this is and where the door is."""
    if not request.user.is_authenticated:
        return render(request, "web/welcome.html")
    owner = current_user(request)
    return render(request, "web/dashboard.html", {"steps": first_steps(owner), **overview(owner)})


def overview(owner: User) -> dict[str, object]:
    """What of a person's things is going on."""
    runs = runs_of(owner)
    return {
        "running": list(runs.filter(state__in=OPEN).order_by("-created_at")[:20]),
        "recent": list(runs.exclude(state__in=OPEN)[:RECENT]),
        "workspaces": workspaces_shown(owner),
    }


def first_steps(owner: User) -> list[dict[str, object]]:
    """What a newcomer does, in order, and what of it is done; empty once all is done."""
    done = [
        ssh_keys_of(owner).exists(),
        owner.workspaces.exists(),
        scripts_of(owner).exists(),
        runs_of(owner).exists(),
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
