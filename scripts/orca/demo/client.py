"""A person's browser and their program, as far as a demo needs them."""

from __future__ import annotations

import html
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx

from scripts.orca.console import ScriptError

_PATIENCE = httpx.Timeout(30)
_CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_ERRORS = re.compile(r'class="[^"]*(?:errorlist|invalid-feedback|alert-danger)[^"]*"[^>]*>(.*?)</', re.DOTALL)


class Browser:
    """Cookies, forms and the token that protects them."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, follow_redirects=True, timeout=_PATIENCE, trust_env=False)

    def get(self, path: str) -> httpx.Response:
        """A page; raises ``ScriptError`` when it is not there."""
        return _accepted(self.http.get(path))

    def submit(self, path: str, fields: dict[str, str]) -> httpx.Response:
        """Fills in the form on the page at ``path`` and sends it."""
        token = _CSRF.search(self.get(path).text)
        if token is None:
            raise ScriptError(f"The page {path} has no form.")
        answer = self.http.post(
            path,
            data={**fields, "csrfmiddlewaretoken": token[1]},
            headers={"Referer": str(self.http.base_url.join(path))},
        )
        wrong = [html.unescape(re.sub(r"<[^>]+>", " ", found)).strip() for found in _ERRORS.findall(answer.text)]
        if wrong and answer.url.path == path:
            raise ScriptError(f"The form at {path} was refused: {' '.join(wrong)}")
        return _accepted(answer)


class Api:
    """Orca's REST API with a token."""

    def __init__(self, url: str, token: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=f"{url}/api/v1/", headers=headers, timeout=_PATIENCE, trust_env=False)

    def get(self, address: str, **query: str) -> Any:
        """The answer's JSON; raises ``ScriptError`` with the API's own words."""
        return _accepted(self.http.get(address, params=query)).json()

    def post(self, path: str, body: dict[str, Any] | None = None, **parts: Any) -> Any:
        """The same for something new; asked twice by accident, it is still made once."""
        once = {"Idempotency-Key": uuid.uuid4().hex}
        return _accepted(self.http.post(path, json=body, headers=once, **parts)).json()

    def wait(self, path: str, is_done: Callable[[Any], bool], *, within: float, every: float = 0.25) -> Any:
        """Asks until the answer is what one waits for; raises ``ScriptError`` with the last one after ``within`` s."""
        deadline = time.monotonic() + within
        while not is_done(found := self.get(path)):
            if time.monotonic() > deadline:
                raise ScriptError(f"{path} is not there after {within:.0f} s; the last answer: {found}")
            time.sleep(every)
        return found


def _accepted(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    asked = f"{answer.request.method} {answer.request.url.path}"
    try:
        problem = answer.json()
        message, hint = str(problem["message"]), str(problem.get("hint", ""))
        fields = "; ".join(f"{name}: {said}" for name, said in problem.get("fields", {}).items())
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ScriptError(f"{asked} answered {answer.status_code}", detail=answer.text[:2000]) from None
    raise ScriptError(f"{asked} answered {answer.status_code}: {message} {fields}".strip(), hint)
