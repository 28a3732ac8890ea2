"""The REST API: calls that are asked again when the network breaks and are still done once, and errors in words."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from httpx_sse import EventSource

from . import __version__
from .errors import CliError, Exit
from .profiles import Profile, is_local

ATTEMPTS = 5
# Seconds before the second attempt; twice as long before each further one.
FIRST_WAIT = 0.3
# A server that asks for more patience than this is not waited for.
LONGEST_WAIT = 30.0
_PATIENCE = httpx.Timeout(60, connect=10)
# A followed run says at least every few seconds that it is still there.
_STREAM_PATIENCE = httpx.Timeout(30, connect=10)
_EXITS = {401: Exit.LOGIN, 403: Exit.LOGIN, 404: Exit.NOT_FOUND, 409: Exit.CONFLICT}
_BUSY = {502, 503, 504}


class Unreachable(CliError):
    """Orca does not answer."""

    def __init__(self, message: str, *, hint: str = "", code: str = "unreachable") -> None:
        super().__init__(message, hint=hint, code=code, exit_code=Exit.UNREACHABLE)


class Api:
    """What one person may do, by HTTP. Every method raises ``CliError``."""

    def __init__(self, profile: Profile, *, note: Callable[[str], None] = lambda text: None) -> None:
        self.profile, self._note = profile, note
        headers = {"User-Agent": f"orca-cli/{__version__}", "Accept": "application/json"}
        if profile.token:
            headers["Authorization"] = f"Bearer {profile.token}"
        self.http = httpx.Client(
            base_url=f"{profile.url}/api/v1/",
            headers=headers,
            timeout=_PATIENCE,
            trust_env=not is_local(profile.url),  # no proxy stands between a machine and itself
        )

    def get(self, path: str, /, **params: Any) -> Any:
        """An answer's JSON."""
        return self.send("GET", path, params=params or None).json()

    def find(self, path: str, /, **params: Any) -> Iterator[Any]:
        """Every entry of a list, page after page."""
        page = self.get(path, **params)
        while True:
            yield from page["results"]
            if not page.get("next"):
                return
            # The portal may be known to itself by another address than to us; only what is asked counts.
            page = self.send("GET", path, params=httpx.URL(page["next"]).params).json()

    def post(self, path: str, body: Mapping[str, Any] | None = None, **given: Any) -> Any:
        """Something that changes something, done once however often the network breaks."""
        return self.send("POST", path, **({"json": dict(body or {})} | given)).json()

    def delete(self, path: str, /, **params: Any) -> None:
        """Take something away."""
        self.send("DELETE", path, params=params or None)

    def send(self, method: str, path: str, *, files: Callable[[], Any] | None = None, **given: Any) -> httpx.Response:
        """One call. ``files`` makes the parts of an upload afresh for every attempt.

        What did not arrive is sent again with the same ``Idempotency-Key``, so that it is done once.
        """
        headers = {"Idempotency-Key": uuid.uuid4().hex} if method == "POST" else {}
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                parts = {"files": files()} if files else {}
                answer = self.http.request(method, path, headers=headers, **given, **parts)
            except httpx.TransportError as error:
                if last:
                    raise self._unreachable(error) from error
                self._wait(attempt)
                continue
            except (httpx.InvalidURL, httpx.HTTPError) as error:
                raise self._unreachable(error) from error
            wait = None if last else _again_after(answer, attempt)
            if wait is None:
                return self.accepted(answer)
            if wait > 2:
                self._note(f"Orca asks to wait {wait:.0f} s.")
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def events(self, path: str) -> Iterator[EventSource]:
        """A stream of server-sent events. Raises ``Unreachable`` also when it breaks."""
        asked = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        try:
            with self.http.stream("GET", path, headers=asked, timeout=_STREAM_PATIENCE) as answer:
                if not answer.is_success:
                    answer.read()
                    self.accepted(answer)
                yield EventSource(answer)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def accepted(self, answer: httpx.Response) -> httpx.Response:
        """The answer, if it is a good one. Raises what it says is wrong."""
        if answer.is_success:
            if (
                answer.status_code == 204
                or _is_json(answer)
                or "event-stream" in answer.headers.get("content-type", "")
            ):
                return answer
            raise CliError(
                f"What answers at {self.profile.url} is not Orca's API.",
                hint="Check the address: “orca whoami”, or ORCA_URL.",
                code="not_orca",
            )
        if answer.is_redirect:
            raise CliError(
                f"{self.profile.url} has moved to {answer.headers.get('location', 'another address')}.",
                hint="Log in there: orca login <address>",
                code="moved",
            )
        raise self._problem(answer)

    def _problem(self, answer: httpx.Response) -> CliError:
        status = answer.status_code
        told = answer.json() if _is_json(answer) else None
        if not isinstance(told, dict) or "message" not in told:
            where = f"{answer.request.method} {answer.request.url.path}"
            if status == 404:
                return CliError(
                    f"{self.profile.url} does not know {where}.",
                    hint="It may be an older Orca than this command line, or not Orca.",
                    code="no_such_route",
                    exit_code=Exit.NOT_FOUND,
                )
            return Unreachable(f"Orca failed: {where} answered {status}.", hint="Try again in a moment.", code="fault")
        message, hint, code = str(told["message"]), str(told.get("hint") or ""), str(told.get("code") or "error")
        if status == 401 and code == "not_authenticated":
            known = "does not accept your token any more" if self.profile.token else "does not know you yet"
            message, hint = f"Orca at {self.profile.url} {known}.", f"Log in: {self._login()}"
        fields = told.get("fields")
        exit_code = Exit.UNREACHABLE if status >= 500 else _EXITS.get(status, Exit.REFUSED)
        return CliError(
            message, hint=hint, code=code, fields=fields if isinstance(fields, dict) else {}, exit_code=exit_code
        )

    def _login(self) -> str:
        """The command that helps."""
        named = "" if self.profile.name == "default" else f" --profile {self.profile.name}"
        return f"orca login {self.profile.url}{named}"

    def _unreachable(self, error: Exception) -> Unreachable:
        url = self.profile.url
        if "CERTIFICATE" in str(error).upper():
            return Unreachable(
                f"The certificate of {url} is not trusted: {error}", hint="SSL_CERT_FILE names a file of further ones."
            )
        hint = "Check the address, the network, and whether Orca runs."
        reason = str(error) or type(error).__name__
        return Unreachable(f"Orca does not answer at {url} ({reason}).", hint=hint)

    def _wait(self, attempt: int) -> None:
        time.sleep(_pause(attempt) * random.uniform(0.8, 1.2))  # noqa: S311 - no secret


def _pause(attempt: int) -> float:
    seconds: float = FIRST_WAIT * 2 ** (attempt - 1)
    return seconds


def _again_after(answer: httpx.Response, attempt: int) -> float | None:
    """Seconds after which to ask again; nothing where the answer is final."""
    asked = str(answer.headers.get("retry-after", ""))
    if asked.isdigit() and answer.status_code in {429, *_BUSY}:
        return float(asked) if float(asked) <= LONGEST_WAIT else None
    if answer.status_code in _BUSY and not _is_json(answer):  # a proxy before Orca, which is starting
        return _pause(attempt)
    return None


def _is_json(answer: httpx.Response) -> bool:
    return str(answer.headers.get("content-type", "")).partition(";")[0].strip().endswith("json")
