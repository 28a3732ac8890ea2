"""Server-sent events: what an open page is told, in which order, and when it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.http import StreamingHttpResponse
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from portal.accounts.models import User
from portal.accounts.services import api_token_add
from portal.core import live as notices
from portal.core import streams
from portal.core.serving import Handler
from portal.pipelines.models import Run, Step
from portal.web import live
from portal.workspaces.models import Workspace

from .conftest import RunMaker, log_grown, terraform_run_made

# Looks happen in threads of their own, which see what was committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "BLIND_TICK", 0.02)
    monkeypatch.setattr(streams, "PAUSE", 0.01)


class Stream:
    """A page's EventSource."""

    def __init__(self, response: StreamingHttpResponse) -> None:
        self.chunks = response.__aiter__()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing: what is left of the stream goes with the response."""

    async def event(self, kind: str) -> Any:
        """The data of the next event of a kind, whatever comes before."""
        async with asyncio.timeout(10):
            async for chunk in self.chunks:
                fields = dict(
                    line.split(": ", 1) for line in _text(chunk).strip().splitlines() if not line.startswith(":")
                )
                if fields.get("event") == kind:
                    self.id = fields.get("id")
                    return json.loads(fields["data"])
        raise AssertionError(f"the stream ended without {kind}")

    async def rest(self) -> str:
        """All that still comes, until the server ends it."""
        async with asyncio.timeout(10):
            return "".join([_text(chunk) async for chunk in self.chunks])


def _text(chunk: Any) -> str:
    return chunk.decode() if isinstance(chunk, bytes) else str(chunk)


@pytest.fixture
async def client(owner: User) -> AsyncClient:
    found = AsyncClient()
    await found.aforce_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return found


async def opened(client: AsyncClient, name: str, *arguments: str, query: str = "", **headers: str) -> Stream:
    response: Any = await client.get(reverse(name, args=arguments) + query, headers=headers)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-store"
    return Stream(response)


async def test_a_log_grows_in_the_page_and_the_end_is_told(client: AsyncClient, run_made: RunMaker) -> None:
    run = await sync_to_async(run_made)("running", lines=[["out", "one"]])
    step = await Step.objects.aget(run=run)
    async with await opened(client, "run_live", run.pk) as stream:
        assert (await stream.event("lines"))["lines"] == [[1, "out", "one", 1.0]]
        await sync_to_async(log_grown)(step, [["err", "two"], ["out", "three"]], first=2)
        news = await stream.event("lines")
        assert news == {"execution": 1, "lines": [[2, "err", "two", 1.0], [3, "out", "three", 1.0]]}
        assert stream.id == "1.3"
        ended = {"state": "succeeded", "finished_at": timezone.now()}
        await Step.objects.filter(pk=step.pk).aupdate(**ended, exit_code=0)
        await Run.objects.filter(pk=run.pk).aupdate(**ended)
        parts = await stream.event("swap")
        while "Succeeded" not in parts.get("run-head", ""):
            parts = await stream.event("swap")
        assert "Run again" in parts["run-head"]
        assert "event: end" in await stream.rest()


async def test_a_reconnect_goes_on_where_the_last_one_stopped(client: AsyncClient, run_made: RunMaker) -> None:
    run = await sync_to_async(run_made)("running", lines=[["out", f"line {n}"] for n in range(1, 6)])
    async with await opened(client, "run_live", run.pk, query="?after=1.3") as stream:
        assert [line[0] for line in (await stream.event("lines"))["lines"]] == [4, 5]


async def test_lines_that_come_after_the_news_of_the_end_are_not_lost(client: AsyncClient, run_made: RunMaker) -> None:
    run = await sync_to_async(run_made)("succeeded", lines=[["out", "one"]])
    step = await Step.objects.aget(run=run)
    await Step.objects.filter(pk=step.pk).aupdate(log_lines=2)
    async with await opened(client, "run_live", run.pk) as stream:
        await stream.event("lines")
        await sync_to_async(log_grown)(step, [["out", "late"]], first=2)
        assert (await stream.event("lines"))["lines"] == [[2, "out", "late", 1.0]]
        assert "event: end" in await stream.rest()


async def test_what_is_begun_again_begins_its_log_anew(client: AsyncClient, run_made: RunMaker) -> None:
    run = await sync_to_async(run_made)("running", lines=[["out", "first try"]])
    step = await Step.objects.aget(run=run)
    async with await opened(client, "run_live", run.pk) as stream:
        await stream.event("lines")
        await Step.objects.filter(pk=step.pk).aupdate(executions=2)
        await step.log_chunks.acreate(execution=2, first=1, count=1, lines=[["out", 1.0, "second try"]])
        assert await stream.event("lines") == {"execution": 2, "lines": [[1, "out", "second try", 1.0]]}


async def test_a_program_follows_a_run_to_its_end(owner: User, run_made: RunMaker) -> None:
    run = await sync_to_async(run_made)("running")
    _, token = await sync_to_async(api_token_add)(owner=owner, name="program")
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    async with await opened(AsyncClient(), "api_run_events", run.pk, **headers) as stream:
        assert (await stream.event("run"))["state"] == "running"
        ended = {"state": "failed", "finished_at": timezone.now()}
        await Step.objects.filter(run=run).aupdate(**ended, exit_code=3)
        await Run.objects.filter(pk=run.pk).aupdate(**ended)
        told = await stream.event("run")
        while told["state"] != "failed":
            told = await stream.event("run")
        assert told["steps"][0]["exit_code"] == 3
        assert "event: end" in await stream.rest()


async def test_a_program_that_asks_for_a_stream_is_refused_in_words(owner: User, run_made: RunMaker) -> None:
    run = await sync_to_async(run_made)("running")
    address = reverse("api_run_events", args=[run.pk])
    answer = await AsyncClient().get(address, headers={"Accept": "text/event-stream"})
    assert answer.status_code == 401
    assert json.loads(answer.content)["code"] == "not_authenticated"


async def test_a_part_is_sent_when_it_has_changed_and_only_then(client: AsyncClient, workspace: Workspace) -> None:
    async with await opened(client, "workspace_live", workspace.pk) as stream:
        first = await stream.event("swap")
        parts = ("head", "progress", "connect", "instances", "schedules", "secrets_panel", "runs", "history")
        assert set(first) == {f"ws-{part}" for part in parts}
        await Workspace.objects.filter(pk=workspace.pk).aupdate(state="degraded")
        assert set(await stream.event("swap")) == {"ws-head"}


def test_the_passing_of_time_is_no_news() -> None:
    texts = iter(
        ['<time data-ago title="x">1 second ago</time>', '<time data-ago title="x">2 seconds ago</time>', "<b>!</b>"]
    )
    watch = live.Fragments("x", draw=lambda: {"part": next(texts)})
    assert [len(watch.news()) for _ in range(3)] == [1, 0, 1]


async def test_a_reconnect_after_a_new_attempt_begins_at_its_beginning(client: AsyncClient, run_made: RunMaker) -> None:
    run = await sync_to_async(run_made)("running", lines=[["out", "first try"]])
    step = await Step.objects.aget(run=run)
    await Step.objects.filter(pk=step.pk).aupdate(executions=2)
    await step.log_chunks.acreate(execution=2, first=1, count=1, lines=[["out", 1.0, "second try"]])
    for seen, expected in (("1.1", True), ("nonsense", True), ("2.0", True), ("2.1", False)):
        async with await opened(client, "run_live", run.pk, query=f"?after={seen}") as stream:
            first = await anext(stream.chunks)
            assert (b"second try" in first) == expected, seen


async def test_a_build_is_followed_to_its_end(client: AsyncClient, workspace: Workspace) -> None:
    run = await sync_to_async(terraform_run_made)(workspace, "applying", resources_done=0)
    async with await opened(client, "terraform_run_live", run.pk) as stream:
        assert "0 of 2" in " ".join((await stream.event("swap"))["tf-state"].split()).replace("<strong>", "")
        await run.lines.acreate(
            number=1,
            at=timezone.now(),
            level="info",
            kind="apply_start",
            address="module.x.aws_instance.this",
            text="…",
        )
        assert "the machine" in (await stream.event("swap"))["tf-state"]
        run.state, run.finished_at = "succeeded", timezone.now()
        await run.asave()
        assert "event: end" in await stream.rest()


@pytest.mark.parametrize("name", ["dashboard_live", "workspace_list_live"])
async def test_the_overviews_move_too(client: AsyncClient, workspace: Workspace, name: str) -> None:
    async with await opened(client, name) as stream:
        assert "Ready" in (await stream.event("swap"))["workspaces"]
        await Workspace.objects.filter(pk=workspace.pk).aupdate(state="stopped")
        assert "Stopped" in (await stream.event("swap"))["workspaces"]


async def test_a_long_stream_ends_so_that_a_fresh_one_begins(
    client: AsyncClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LONGEST", 0.1)
    async with await opened(client, "workspace_live", workspace.pk) as stream:
        assert "event: end" not in await stream.rest()


async def test_silence_is_broken_by_a_sign_of_life(
    client: AsyncClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: str) -> AsyncIterator[None]:
        await asyncio.sleep(60)
        yield None

    monkeypatch.setattr(notices, "changes", nothing)
    monkeypatch.setattr(notices, "TICK", 0.02)
    async with await opened(client, "workspace_live", workspace.pk) as stream:
        await stream.event("swap")
        assert await anext(stream.chunks) == streams.KEEP_ALIVE


async def test_closing_the_page_leaves_no_listener_behind(client: AsyncClient, workspace: Workspace) -> None:
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": reverse("workspace_live", args=[workspace.pk]),
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"cookie", cookies.encode())],
    }
    communicator: Any = ApplicationCommunicator
    page = communicator(Handler(), scope)
    await page.send_input({"type": "http.request"})
    assert (await page.receive_output(5))["status"] == 200
    assert b"event: swap" in (await page.receive_output(5))["body"]
    assert _listeners() == 1
    await page.send_input({"type": "http.disconnect"})
    await page.wait(5)
    assert _listeners() == 0


def _listeners() -> int:
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    return sum(getattr(coroutine, "__name__", "") == streams._listen.__name__ for coroutine in coroutines)


async def test_strangers_and_outsiders_hear_nothing(outsider: User, workspace: Workspace, run_made: RunMaker) -> None:
    run = await sync_to_async(run_made)("running")
    terraform_run = await sync_to_async(terraform_run_made)(workspace, "applying")
    asked = [("workspace_live", workspace.pk), ("run_live", run.pk), ("terraform_run_live", terraform_run.pk)]
    stranger, other = AsyncClient(), AsyncClient()
    await other.aforce_login(outsider, backend="django.contrib.auth.backends.ModelBackend")
    for name, pk in asked:
        assert (await stranger.get(reverse(name, args=[pk]))).status_code == 302
        assert (await other.get(reverse(name, args=[pk]))).status_code == 404
