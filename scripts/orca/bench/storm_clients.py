"""Clients that send runs through the API as real ones do: with idempotency keys, asking again until they are answered.

All of them together keep only so many runs open, and one observer sees, through the API too, when each has ended.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import httpx

from scripts.orca.bench.installation import FINAL, Lab
from scripts.orca.console import ScriptError

ASK_AGAIN_AFTER: Final = 0.2
LOOK_EVERY: Final = 0.2
ANSWER_WITHIN: Final = 15.0
_PAGE: Final = 50
_ASKED_ONE_BY_ONE: Final = 3


@dataclass(eq=False)
class Sent:
    """A run that a client wants; ``asked`` and ``ended`` by the monotonic clock, ``seen`` as it was at first."""

    name: str
    asked: float
    id: str = ""
    ended: float = 0.0
    seen: dict[str, Any] | None = None


@dataclass(frozen=True)
class Order:
    """What to send: ``runs`` of ``script`` by ``clients``, at most ``window`` of them open at a time."""

    script: str
    arguments: tuple[str, ...]
    runs: int
    clients: int = 4
    window: int = 16


class Clients:
    """Sends an order. The last ``held`` runs wait until `release`, so that something begins after the last kill."""

    def __init__(self, lab: Lab, order: Order, *, held: int = 0, on_end: Callable[[float], object] = lambda _: None):
        self.sent: list[Sent] = []
        self.refused: Counter[str] = Counter()
        self._lab = lab
        self._order = order
        self._free = order.runs - held
        self._on_end = on_end
        self._prefix = f"storm {secrets.token_hex(4)}"
        self._changed = threading.Condition()
        self._stopping = False
        self._trouble: BaseException | None = None
        work = [self._send] * order.clients + [self._observe]
        self._threads = [threading.Thread(target=self._guarded, args=(each,), daemon=True) for each in work]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def nearly_done(self) -> bool:
        """Whether only those runs are left that are held back."""
        with self._changed:
            return self._trouble is not None or len(self.sent) >= self._free

    def release(self) -> None:
        """Send the rest."""
        with self._changed:
            self._free = self._order.runs
            self._changed.notify_all()

    def wait_ended(self, bound: float) -> None:
        """Until every run has been sent and has ended; ``bound`` seconds at most after the last was accepted."""
        deadline = None
        while deadline is None or time.monotonic() < deadline:
            with self._changed:
                if self._trouble is not None:
                    raise self._trouble
                accepted = sum(bool(each.id) for each in self.sent) == self._order.runs
                if accepted and not self._open():
                    return
                if accepted and deadline is None:
                    deadline = time.monotonic() + bound
                self._changed.wait(1.0)

    def close(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _guarded(self, work: Callable[[httpx.Client], None]) -> None:
        try:
            given = self._lab.person.api
            with httpx.Client(
                base_url=given.base_url, headers=given.headers, timeout=ANSWER_WITHIN, trust_env=False
            ) as api:
                work(api)
        except BaseException as error:
            with self._changed:
                self._trouble = error
                self._changed.notify_all()

    def _open(self) -> list[Sent]:
        return [each for each in self.sent if not each.ended]

    # --- sending

    def _send(self, api: httpx.Client) -> None:
        while (sent := self._next()) is not None:
            while not self._stopping and not self._accepted(api, sent):
                time.sleep(ASK_AGAIN_AFTER)

    def _next(self) -> Sent | None:
        """The next run to send, as soon as there is room for it."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._stopping
                    or len(self.sent) >= self._order.runs
                    or (len(self.sent) < self._free and len(self._open()) < self._order.window)
                )
            )
            if self._stopping or len(self.sent) >= self._order.runs:
                return None
            sent = Sent(f"{self._prefix} {len(self.sent) + 1}", time.monotonic())
            self.sent.append(sent)
            return sent

    def _accepted(self, api: httpx.Client, sent: Sent) -> bool:
        """Ask once. False: nobody knows whether it was heard, or it was told to come again."""
        wanted = {
            "workspace": self._lab.workspace,
            "script": self._order.script,
            "name": sent.name,
            "arguments": list(self._order.arguments),
        }
        try:
            answer = api.post("runs/", json=wanted, headers={"Idempotency-Key": sent.name})
        except httpx.TransportError as error:
            self.refused[type(error).__name__] += 1
            return False
        if answer.status_code == httpx.codes.CREATED:
            sent.id = str(answer.json()["id"])
            return True
        if not answer.is_server_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            raise ScriptError(f"A run was answered {answer.status_code}.", detail=answer.text)
        self.refused[str(answer.status_code)] += 1
        return False

    # --- seeing

    def _observe(self, api: httpx.Client) -> None:
        while not self._stopping:
            began = time.monotonic()
            with contextlib.suppress(httpx.TransportError):  # the next look may find the portal back
                self._look(api)
            time.sleep(max(0.02, began + LOOK_EVERY - time.monotonic()))

    def _look(self, api: httpx.Client) -> None:
        with self._changed:
            waiting = {each.id: each for each in self._open() if each.id}
        if not waiting:
            return
        shown = {run["id"]: run for run in _read(api, "runs/", page_size=_PAGE).get("results", [])}
        for run_id in [run_id for run_id in waiting if run_id not in shown][:_ASKED_ONE_BY_ONE]:
            shown[run_id] = _read(api, f"runs/{run_id}/")
        for run_id, sent in waiting.items():
            run = shown.get(run_id, {})
            if run.get("state") in FINAL:
                self._ended(sent, run)

    def _ended(self, sent: Sent, run: dict[str, Any]) -> None:
        with self._changed:
            sent.seen = run
            sent.ended = time.monotonic()
            self._changed.notify_all()
        if run["started_at"]:
            self._on_end(datetime.fromisoformat(run["started_at"]).timestamp())


def _read(api: httpx.Client, path: str, **params: Any) -> dict[str, Any]:
    answer = api.get(path, params=params)
    found: dict[str, Any] = answer.json() if answer.is_success else {}
    return found
