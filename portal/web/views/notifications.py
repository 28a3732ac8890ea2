"""Pages of notifications."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.accounts.current import current_user
from portal.core.errors import Invalid, LimitReached, OrcaError
from portal.core.streams import stream
from portal.notices import selectors, sending, services
from portal.notices.models import Notice, Subscription
from portal.web.forms import tell
from portal.web.live import Fragments
from portal.web.notice_forms import NotificationForm

SHOWN = 100


@login_required
@require_GET
def notification_list(request: HttpRequest) -> HttpResponse:
    """Where a person hears of runs."""
    found = selectors.subscriptions_listed(current_user(request))
    return render(request, "web/notifications/list.html", {"subscriptions": found})


@login_required
@require_http_methods(["GET", "POST"])
def notification_new(request: HttpRequest) -> HttpResponse:
    """The form for a new one; a webhook's secret is shown this once."""
    owner = current_user(request)
    form = NotificationForm(request.POST or None, owner=owner)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                made = services.subscription_create(owner=owner, **form.given())
            except (Invalid, LimitReached) as error:
                status = _told(form, error)
            else:
                if made.channel == Subscription.Channel.WEBHOOK:
                    return _page(request, made, secret=services.secret_of(owner=owner, subscription_id=made.pk))
                messages.success(request, "From now on you are told. Send a test to see that it arrives.")
                return redirect("notification", notification_id=made.pk)
    return render(request, "web/notifications/form.html", {"form": form}, status=status)


@login_required
@require_http_methods(["GET", "POST"])
def notification_edit(request: HttpRequest, notification_id: str) -> HttpResponse:
    """The same for one that is there."""
    owner, found = current_user(request), _own(request, notification_id)
    form = NotificationForm(request.POST or None, owner=owner, subscription=found)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                services.subscription_update(subscription=found, by=owner, **form.given())
            except Invalid as error:
                status = _told(form, error)
            else:
                messages.success(request, "Saved.")
                return redirect("notification", notification_id=found.pk)
    return render(request, "web/notifications/form.html", {"form": form, "subscription": found}, status=status)


def _told(form: NotificationForm, error: OrcaError) -> int:
    error.fields = form.place(error.fields)
    tell(form, error)
    return error.status


@login_required
@require_GET
def notification(request: HttpRequest, notification_id: str) -> HttpResponse:
    """One with what was sent."""
    return _page(request, _own(request, notification_id))


@login_required
@require_GET
async def notification_live(request: HttpRequest, notification_id: str) -> StreamingHttpResponse:
    """Its moving part: what is being sent."""
    found = await sync_to_async(_own)(request, notification_id)
    token = get_token(request)

    def draw() -> dict[str, str]:
        shown = _shown(found) | {"csrf_value": token}
        return {"deliveries": render_to_string("web/notifications/deliveries.html", shown, request)}

    return stream(Fragments(f"notification:{found.pk}", draw=draw))


@login_required
@require_POST
def notification_test(request: HttpRequest, notification_id: str) -> HttpResponse:
    """Send a test and say how it went."""
    made = services.trial_create(subscription=_own(request, notification_id), by=current_user(request))
    tried = sending.notice_send(notice_id=made.pk)
    if tried.state == Notice.State.SENT:
        taken = "The receiver took the test" if tried.status else "The mail server took the test"
        messages.success(request, f"{taken}{f' and answered {tried.status}' if tried.status else ''}.")
    else:
        messages.error(request, f"The test did not arrive. {tried.error}")
    return redirect("notification", notification_id=notification_id)


@login_required
@require_POST
def notification_secret(request: HttpRequest, notification_id: str) -> HttpResponse:
    """A fresh secret, shown this once."""
    found = _own(request, notification_id)
    secret = services.secret_rotate(subscription=found, by=current_user(request))
    return _page(request, found, secret=secret, rotated=True)


@login_required
@require_POST
def notification_switch(request: HttpRequest, notification_id: str) -> HttpResponse:
    """Off, or on again."""
    wanted = request.POST.get("enabled") == "yes"
    found = _own(request, notification_id)
    services.subscription_update(subscription=found, by=current_user(request), enabled=wanted)
    messages.success(request, "It is on." if wanted else "It is off: nothing is sent there.")
    return redirect("notification", notification_id=notification_id)


@login_required
@require_POST
def notification_delete(request: HttpRequest, notification_id: str) -> HttpResponse:
    """Take it away."""
    services.subscription_delete(subscription=_own(request, notification_id), by=current_user(request))
    messages.success(request, "The notification is gone.")
    return redirect("notification_list")


@login_required
@require_POST
def delivery_again(request: HttpRequest, notification_id: str, delivery_id: str) -> HttpResponse:
    """Send a notice once more."""
    notice = selectors.notice_get(subscription=_own(request, notification_id), notice_id=delivery_id)
    services.notice_again(notice=notice, by=current_user(request))
    messages.success(request, "It is being sent again.")
    return redirect("notification", notification_id=notification_id)


def _own(request: HttpRequest, notification_id: str) -> Subscription:
    return selectors.subscription_get(owner=current_user(request), subscription_id=notification_id)


def _shown(subscription: Subscription) -> dict[str, object]:
    return {"subscription": subscription, "notices": selectors.notices_of(subscription)[:SHOWN], "most": SHOWN}


def _page(request: HttpRequest, subscription: Subscription, **more: object) -> HttpResponse:
    chosen = selectors.chosen_names(subscription)
    shown = _shown(subscription) | {"chosen": chosen, "csrf_value": get_token(request)}
    response = render(request, "web/notifications/page.html", shown | more)
    response.headers["Cache-Control"] = "no-store"
    return response
