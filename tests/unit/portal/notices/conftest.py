"""A receiver of webhooks that really listens, and notifications that go there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pytest_django import Settings

from portal.accounts.models import User
from portal.notices import services
from portal.notices.models import Notice, Subscription
from portal.pipelines.models import Pipeline, PipelineVersion, Run
from portal.workspaces.models import Workspace
from tests.unit.portal.web.conftest import account, run_made, version, workspace, workspace_made

__all__ = ["account", "run_made", "version", "workspace", "workspace_made"]


@dataclass(frozen=True)
class Heard:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Receiver:
    """Answers what ``answers`` say, one after the other, the last one for ever."""

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(204, {})])
    heard: list[Heard] = field(default_factory=list)
    hangs: float = 0.0
    trickles: bool = False

    def answer(self, *statuses: int, **headers: str) -> None:
        """What it says from now on."""
        self.answers = [(status, {k.replace("_", "-"): v for k, v in headers.items()}) for status in statuses]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found.heard.append(Heard(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            over.wait(found.hangs)
            if found.trickles:
                for byte in b"HTTP/1.1 200 " + b"x" * 1_000:
                    if over.wait(0.05):
                        return
                    self.wfile.write(bytes([byte]))
                return
            status, headers = found.answers.pop(0) if len(found.answers) > 1 else found.answers[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                return  # the sender lost its patience

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/orca"
    yield found
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _laptop(settings: Settings) -> None:
    """Receivers in tests are on this machine."""
    settings.WEBHOOK_PRIVATE_ADDRESSES = True


SubscriptionMaker = Callable[..., Subscription]


@pytest.fixture
def hook(owner: User, receiver: Receiver) -> SubscriptionMaker:
    """``hook(on=["late"])``: a webhook of Ada's that posts to the receiver."""

    def make(**given: Any) -> Subscription:
        chosen = {"name": "Hook", "address": receiver.url, "on": ["success", "failure"], **given}
        return services.subscription_create(owner=owner, channel="webhook", **chosen)

    return make


@pytest.fixture
def mailed(owner: User) -> SubscriptionMaker:
    """The same as mails to Ada."""

    def make(**given: Any) -> Subscription:
        chosen = {"name": "Mail", "address": owner.email, "on": ["success", "failure"], **given}
        return services.subscription_create(owner=owner, channel="email", **chosen)

    return make


PipelineMaker = Callable[..., Pipeline]


@pytest.fixture
def pipeline_made(owner: User, workspace: Workspace) -> PipelineMaker:
    """``pipeline_made("nightly")``: a pipeline as a row, with a version that has no steps."""

    def make(name: str = "nightly", *, by: User = owner) -> Pipeline:
        made = Pipeline.objects.create(owner=by, name=name, claimed_name=name, workspace=workspace)
        PipelineVersion.objects.create(pipeline=made, number=1, source="", definition={})
        return made

    return make


def notice() -> Notice:
    """The only one that there is."""
    return Notice.objects.select_related("subscription").get()


def due_again() -> None:
    """Let the time until the next try go by."""
    Notice.objects.filter(state="waiting").update(next_try_at=notice().created_at, claimed_until=None)


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


RunMaker = Callable[..., Run]
