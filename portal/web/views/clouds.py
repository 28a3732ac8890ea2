"""Pages of cloud accounts: link one of one's own, check it, exchange its ExternalId, unlink it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.accounts.current import current_user
from portal.clouds import links, selectors
from portal.clouds.models import CloudAccount
from portal.clouds.template import (
    module_archive,
    module_variables,
    orca_account_id,
    role_name_of,
    stack_link,
    template_body,
)
from portal.core.errors import CloudFault, Conflict, Invalid, LimitReached
from portal.web.forms import CloudCheckForm, CloudForm, UnlinkForm, tell

State = CloudAccount.State


@login_required
@require_GET
def cloud_list(request: HttpRequest) -> HttpResponse:
    """A person's cloud accounts."""
    return render(request, "web/clouds/list.html", {"accounts": selectors.accounts_of(current_user(request))})


@login_required
@require_http_methods(["GET", "POST"])
def cloud_new(request: HttpRequest) -> HttpResponse:
    """Begin to link one: only its name is asked for."""
    form = CloudForm(request.POST or None)
    status = 200
    if request.method == "POST" and form.is_valid():
        try:
            made = links.link_start(owner=current_user(request), **form.cleaned_data)
        except (Invalid, Conflict, LimitReached) as error:
            tell(form, error)
            status = error.status
        else:
            return redirect("cloud", account_id=made.pk)
    return render(request, "web/clouds/new.html", {"form": form}, status=status)


def _own(request: HttpRequest, account_id: str) -> CloudAccount:
    return selectors.account_get(owner=current_user(request), account_id=account_id)


@login_required
@require_GET
def cloud(request: HttpRequest, account_id: str) -> HttpResponse:
    """One cloud account: how to make the role, what the last check found, what lives there."""
    return _page(request, _own(request, account_id))


def _page(
    request: HttpRequest, account: CloudAccount, *, form: CloudCheckForm | None = None, status: int = 200
) -> HttpResponse:
    shown: dict[str, Any] = {
        "cloud": account,
        "form": form or CloudCheckForm(initial={"role": account.role_arn}),
        "living": selectors.living_in(account),
        "looked_at": [finding for finding in account.checks if finding["state"] != "skipped"],
        "skipped": [finding for finding in account.checks if finding["state"] == "skipped"],
    }
    if account.state != State.UNLINKED:
        shown |= _setup(account)
    response = render(request, "web/clouds/page.html", shown, status=status)
    response.headers["Cache-Control"] = "no-store"
    return response


def _setup(account: CloudAccount) -> dict[str, Any]:
    """What to take to one's account; without it, why, while Orca's own cloud does not answer."""
    try:
        return {
            "orca_account_id": orca_account_id(),
            "role_name": role_name_of(account),
            "stack_link": stack_link(account),
            "variables": module_variables(account),
        }
    except CloudFault as fault:
        return {"setup_fault": fault}


@login_required
@require_GET
def cloud_template(request: HttpRequest, account_id: str) -> HttpResponse:
    """The CloudFormation template, as a file."""
    _own(request, account_id)
    named = {"Content-Disposition": 'attachment; filename="orca-link.template.json"'}
    return HttpResponse(template_body(orca_account_id()), content_type="application/json", headers=named)


@login_required
@require_GET
def cloud_module(request: HttpRequest, account_id: str) -> HttpResponse:
    """The Terraform module with the link's variables, as a zip."""
    named = {"Content-Disposition": 'attachment; filename="orca-link.zip"', "Cache-Control": "no-store"}
    content = module_archive(_own(request, account_id))
    return HttpResponse(content, content_type="application/zip", headers=named)


@login_required
@require_POST
def cloud_check(request: HttpRequest, account_id: str) -> HttpResponse:
    """Examine the role, and say what is wrong."""
    account, form = _own(request, account_id), CloudCheckForm(request.POST)
    status = 422
    if form.is_valid():
        before = account.state
        try:
            links.link_check(account=account, by=current_user(request), role=form.cleaned_data["role"])
        except (Invalid, Conflict, CloudFault) as error:
            tell(form, error)
            status = error.status
        else:
            if account.state == State.LINKED:
                first = before == State.PENDING
                messages.success(
                    request, "Linked: you can build here now." if first else "Everything is as it should be."
                )
            else:
                messages.error(request, "Not everything is as it should be; see what the check found.")
            return redirect("cloud", account_id=account.pk)
    return _page(request, account, form=form, status=status)


@login_required
@require_POST
def cloud_rotate(request: HttpRequest, account_id: str) -> HttpResponse:
    """Make the next ExternalId."""
    links.rotation_start(account=_own(request, account_id), by=current_user(request))
    return redirect("cloud", account_id=account_id)


@login_required
@require_POST
def cloud_rotate_finish(request: HttpRequest, account_id: str) -> HttpResponse:
    """Try both, and switch if the new one works."""
    found = links.rotation_finish(account=_own(request, account_id), by=current_user(request))
    old = "still works" if found["old"] else "does not work any more"
    if found["switched"]:
        rest = " Take it out of the role's trust policy now." if found["old"] else ""
        messages.success(request, f"The new ExternalId works and is used from now on. The old one {old}.{rest}")
    else:
        messages.warning(request, f"The new ExternalId does not work yet; the old one {old}. Nothing was changed.")
    return redirect("cloud", account_id=account_id)


@login_required
@require_POST
def cloud_rotate_cancel(request: HttpRequest, account_id: str) -> HttpResponse:
    """Take the next ExternalId back."""
    links.rotation_cancel(account=_own(request, account_id), by=current_user(request))
    messages.success(request, "The ExternalId stays as it is.")
    return redirect("cloud", account_id=account_id)


@login_required
@require_POST
def cloud_unlink(request: HttpRequest, account_id: str) -> HttpResponse:
    """Unlink; with workspaces in it only if the account's name was typed."""
    form = UnlinkForm(request.POST)
    if not form.is_valid():
        raise Invalid("This cannot be read.", fields={name: str(errors[0]) for name, errors in form.errors.items()})
    account = _own(request, account_id)
    links.link_end(account=account, by=current_user(request), **form.cleaned_data)
    messages.success(
        request, f"{account.name} is unlinked. Remove the role in your account too; Orca does not need it."
    )
    return redirect("cloud_list")
