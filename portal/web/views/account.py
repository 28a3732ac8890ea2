"""One's own page: name, keys, tokens, and the ways to what allauth does."""

from __future__ import annotations

from typing import Any

from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from portal.accounts import services
from portal.accounts.current import current_user
from portal.accounts.models import User
from portal.accounts.selectors import api_tokens_of, ssh_keys_of
from portal.accounts.ssh import public_key_read
from portal.core.errors import Conflict, Invalid, LimitReached
from portal.web.forms import NameForm, SshKeyForm, TokenForm, tell

_REFUSALS = (Invalid, Conflict, LimitReached)


@login_required
@require_GET
def account(request: HttpRequest) -> HttpResponse:
    """The page."""
    return _page(request, current_user(request))


def _page(request: HttpRequest, user: User, *, status: int = 200, **more: Any) -> HttpResponse:
    shown: dict[str, Any] = {
        "name_form": NameForm(initial={"name": user.name}),
        "key_form": SshKeyForm(),
        "token_form": TokenForm(),
        "keys": ssh_keys_of(user),
        "tokens": api_tokens_of(user),
        "mfa": is_mfa_enabled(user),
    }
    response = render(request, "web/account/page.html", shown | more, status=status)
    response.headers["Cache-Control"] = "no-store"
    return response


@login_required
@require_POST
def account_name(request: HttpRequest) -> HttpResponse:
    """Change what one is called."""
    user, form = current_user(request), NameForm(request.POST)
    if form.is_valid():
        services.user_update(user=user, name=form.cleaned_data["name"])
        messages.success(request, "Saved.")
        return redirect("account")
    return _page(request, user, status=422, name_form=form)


@login_required
@require_POST
def ssh_key_add(request: HttpRequest) -> HttpResponse:
    """Add a key."""
    user, form = current_user(request), SshKeyForm(request.POST)
    status = 422
    if form.is_valid():
        given = form.cleaned_data
        try:
            key = services.ssh_key_add(owner=user, name=given["key_name"], public_key=given["public_key"])
        except _REFUSALS as error:
            status = error.status
            if error.code == "private_key":  # what was pasted by mistake does not go back to the page
                form = SshKeyForm({"key_name": given["key_name"]})
                form.errors.clear()
                form.add_error(None, f"{error.message} {error.hint}")
            else:
                tell(form, error)
        else:
            messages.success(request, f"{key.name} opens your machines now.")
            advice = public_key_read(key.public_key).advice
            if advice:
                messages.warning(request, advice)
            return redirect(reverse("account") + "#ssh-keys")
    return _page(request, user, status=status, key_form=form)


@login_required
@require_POST
def ssh_key_remove(request: HttpRequest, key_id: str) -> HttpResponse:
    """Remove a key."""
    services.ssh_key_remove(owner=current_user(request), key_id=key_id)
    messages.success(request, "The key is removed. Your machines refuse it within seconds.")
    return redirect(reverse("account") + "#ssh-keys")


@login_required
@require_POST
def token_add(request: HttpRequest) -> HttpResponse:
    """Make a token, and show it this once."""
    user, form = current_user(request), TokenForm(request.POST)
    status = 422
    if form.is_valid():
        given = form.cleaned_data
        try:
            token, text = services.api_token_add(owner=user, name=given["token_name"], days=given["days"])
        except _REFUSALS as error:
            status = error.status
            tell(form, error)
        else:
            return _page(request, user, new_token=token, new_token_text=text)
    return _page(request, user, status=status, token_form=form)


@login_required
@require_POST
def token_remove(request: HttpRequest, token_id: str) -> HttpResponse:
    """Revoke a token."""
    services.api_token_remove(owner=current_user(request), token_id=token_id)
    messages.success(request, "The token is revoked.")
    return redirect(reverse("account") + "#tokens")
