"""What people and programs are told when something is refused, missing or broken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from portal.core.errors import LimitReached, NotFound
from portal.web.middleware import ContentSecurityPolicyMiddleware, OrcaErrorMiddleware
from portal.workspaces.models import Workspace

from .conftest import assert_no_inline

pytestmark = pytest.mark.django_db


def refused(browser: Client, workspace: Workspace, **headers: str) -> Any:
    """A button that the workspace's state does not allow."""
    return browser.post(reverse("workspace_start", args=[workspace.pk]), headers=headers)


def test_htmx_gets_a_message_that_floats_in(browser: Client, workspace: Workspace) -> None:
    response = refused(browser, workspace, **{"HX-Request": "true"})
    assert response.status_code == 409
    said = json.loads(response.headers["HX-Trigger"])["toast"]
    assert said["level"] == "error"
    assert "cannot be started" in said["message"]


def test_a_form_gets_its_page_back_with_the_message(browser: Client, workspace: Workspace) -> None:
    response = refused(browser, workspace, Referer="http://testserver/runs/?page=2")
    assert response.headers["Location"] == "/runs/?page=2"
    assert b"cannot be started" in browser.get("/runs/").content


@pytest.mark.parametrize("referer", ["", "https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_nobody_is_sent_elsewhere(browser: Client, workspace: Workspace, referer: str) -> None:
    response = refused(browser, workspace, Referer=referer)
    assert response.status_code == 409
    assert "cannot be started" in response.content.decode()
    assert_no_inline(response.content.decode())


@pytest.mark.parametrize("error", [NotFound("It is not there."), LimitReached("That is too much.")])
def test_what_is_missing_or_too_much_has_a_page_of_its_own(rf: RequestFactory, error: Any) -> None:
    request = rf.post("/x/", headers={"Referer": "http://testserver/"})
    request.user = type("Anonymous", (), {"is_authenticated": False})()
    response = OrcaErrorMiddleware(lambda _: HttpResponse()).process_exception(request, error)
    assert response is not None
    assert response.status_code == error.status
    assert error.message in response.content.decode()


def test_what_is_not_ours_is_left_to_django(rf: RequestFactory) -> None:
    assert OrcaErrorMiddleware(lambda _: HttpResponse()).process_exception(rf.get("/"), ValueError()) is None


def test_an_address_that_does_not_exist(browser: Client) -> None:
    response = browser.get("/nothing/here/")
    assert response.status_code == 404
    assert "There is nothing here." in response.content.decode()
    assert Client().get("/nothing/here/").status_code == 404
    assert Client().get("/api/v1/nothing/").json()["code"] == "not_found"


@pytest.mark.parametrize(("address", "kind"), [("/account/", "text/html"), ("/api/v1/me/", "application/json")])
def test_a_fault_of_ours_tells_nothing_of_the_inside(
    browser: Client, monkeypatch: pytest.MonkeyPatch, address: str, kind: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr("portal.web.views.account.ssh_keys_of", broken)
    monkeypatch.setattr("portal.accounts.api.MeSerializer.to_representation", broken)
    browser.raise_request_exception = False
    response = browser.get(address)
    assert response.status_code == 500
    assert response.headers["Content-Type"].startswith(kind)
    assert "the inside" not in response.content.decode()


def test_a_form_without_its_token_is_explained(owner: Any) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    response = strict.post(reverse("account_name"), {"name": "Ada"})
    assert response.status_code == 403
    assert "no longer valid" in response.content.decode()


def test_the_policy_allows_nothing_inline_but_the_styles_of_the_api_page() -> None:
    def respond(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    middleware = ContentSecurityPolicyMiddleware(respond)
    for path, inline_styles in (("/", False), ("/api/docs/", True), ("/admin/", False)):
        policy = middleware(RequestFactory().get(path)).headers["Content-Security-Policy"]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["script-src"] == "'self'"
        assert rules["default-src"] == "'self'"
        assert rules["frame-ancestors"] == "'none'"
        assert ("unsafe-inline" in rules["style-src"]) == inline_styles


def test_the_api_page_runs_under_the_policy(db: None) -> None:
    html = Client().get(reverse("docs")).content.decode()
    assert "<script" in html
    assert "<script>" not in html


def test_health(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Client().get("/healthz").json() == {"status": "ok", "database": "ok"}

    def unreachable() -> None:
        raise OperationalError("no connection")

    monkeypatch.setattr("portal.web.views.health.connection.cursor", unreachable)
    response = Client().get("/healthz")
    assert (response.status_code, response.json()["status"]) == (503, "unavailable")
