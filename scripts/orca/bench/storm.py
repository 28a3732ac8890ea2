"""Sends runs while processes are killed, and counts what is lost or applied twice.

First the calm: a tenth of the runs with nobody killed, whose rate is the peer. Then the storm: all runs, while a random
process is killed (SIGKILL) every few seconds: relay, worker, beat, web, redis, the local cloud (and with it the
instance) or the agent on the instance; never the database. A run takes half a second, so that kills meet it in the
middle. When the storm is over, what is still open has a minute and a half to end.

What *ended*, *lost* and *applied twice* mean stands in ``storm_verdict``, what *recovery* means in ``storm_victims``.
A recovery that is not over at the end counts as that minute and a half.

Processes come back no sooner than the machine starts them, and a busy machine takes its time. So in the storm, too, a
floor is measured every ten seconds: an interpreter that only imports what the local cloud cannot start without.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from scripts.orca.bench.figures import Report
from scripts.orca.bench.installation import Lab, Orca, lab_built, orca_running
from scripts.orca.bench.storm_clients import Clients, Order
from scripts.orca.bench.storm_verdict import SCRIPT, Verdict, verdict
from scripts.orca.bench.storm_victims import EVERYONE, Kill, Killer, Victims
from scripts.orca.console import say, step

BOUND: Final = 90.0
RUN_SECONDS: Final = 0.5
HELD: Final = 12
_LEAST_CALM: Final = 40
_TELL_EVERY: Final = 10.0
_SHOWN: Final = 20
_FLOOR: Final = "moto.ec2.models"


@dataclass(frozen=True)
class Outcome:
    """What happened: ``seconds`` of each run from asking to its end as seen, ``rate`` in runs a second."""

    verdict: Verdict
    kills: list[Kill]
    seconds: list[float]
    rate: float
    refused: Counter[str]
    bare_starts: list[float] = field(default_factory=list)


def calm(lab: Lab, *, runs: int, run_seconds: float = RUN_SECONDS) -> Outcome:
    """Send runs and leave everybody alive."""
    ledger = f"calm-{secrets.token_hex(4)}"
    clients = Clients(lab, Order(lab.script(SCRIPT), (ledger, str(run_seconds)), runs))
    clients.start()
    return _finished(lab, clients, ledger, [])


def storm(
    orca: Orca,
    lab: Lab,
    *,
    runs: int,
    every: float,
    seed: int,
    run_seconds: float = RUN_SECONDS,
    rounds: int = 0,
) -> Outcome:
    """Send runs and kill; ``rounds``: each process so many times, 0: by chance as long as there are runs to send."""
    ledger = f"storm-{secrets.token_hex(4)}"
    order = Order(lab.script(SCRIPT), (ledger, str(run_seconds)), runs)
    killer = Killer(Victims(orca), every=every, chance=random.Random(seed), rounds=rounds)  # noqa: S311 (no secret)
    clients = Clients(lab, order, held=HELD, on_end=killer.seen_end)
    clients.start()
    try:
        with _progress(clients, killer) as bare_starts:
            killer.storm(lambda: clients.nearly_done)
            clients.release()
            found = _finished(lab, clients, ledger, killer.kills)
        _await_back(killer)
        return replace(found, bare_starts=bare_starts)
    finally:
        killer.close()


@contextmanager
def _progress(clients: Clients, killer: Killer) -> Iterator[list[float]]:
    """Says now and then how far it is; the seconds that the floor took each time."""
    over = threading.Event()
    bare_starts: list[float] = []

    def tell() -> None:
        began = time.monotonic()
        while not over.wait(_TELL_EVERY):
            ended = sum(bool(each.ended) for each in clients.sent)
            say(f"  {time.monotonic() - began:4.0f} s: {ended} runs have ended, {len(killer.kills)} kills")
            bare_starts.append(_bare_start())

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield bare_starts
    finally:
        over.set()
        teller.join()


def _bare_start() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {_FLOOR}"], check=True)
    return time.monotonic() - began


def _finished(lab: Lab, clients: Clients, ledger: str, kills: list[Kill]) -> Outcome:
    try:
        clients.wait_ended(BOUND)
    finally:
        clients.close()
    sent = clients.sent
    ended = [each for each in sent if each.ended]
    took = max((each.ended for each in ended), default=time.monotonic()) - sent[0].asked
    return Outcome(
        verdict=verdict(lab, sent, ledger),
        kills=kills,
        seconds=[each.ended - each.asked for each in ended],
        rate=len(ended) / took,
        refused=clients.refused,
    )


def _await_back(killer: Killer) -> None:
    """What no run needs may take longer than the last run."""
    deadline = time.monotonic() + BOUND
    while not killer.all_back and time.monotonic() < deadline:
        time.sleep(0.2)


def measure(arguments: list[str]) -> Report:
    """The whole benchmark."""
    reader = argparse.ArgumentParser(prog="scripts/bench/storm", description=(__doc__ or "").splitlines()[0])
    reader.add_argument("--runs", type=int, default=1_000, help="(default: %(default)s)")
    reader.add_argument("--every", type=float, default=2.0, help="seconds between two kills (default: %(default)s)")
    reader.add_argument("--seed", type=int, default=secrets.randbelow(10_000), help="of who is killed when")
    given = reader.parse_args(arguments)
    report = Report("storm")
    with tempfile.TemporaryDirectory(prefix="orca-storm-") as folder, orca_running(Path(folder)) as orca:
        with step("A workspace"):
            lab = lab_built(orca)
        say("The calm")
        before = calm(lab, runs=max(_LEAST_CALM, given.runs // 10))
        say(f"The storm: {given.runs} runs, a kill every {given.every:g} s, seed {given.seed}")
        during = storm(orca, lab, runs=given.runs, every=given.every, seed=given.seed)
        if _answers_5xx(during):
            say(f"  Somebody was answered 5xx: the logs are kept in {_logs_kept(orca)}")
    _report(report, before, during)
    return report


def _answers_5xx(during: Outcome) -> int:
    return sum(count for code, count in during.refused.items() if code.startswith("5"))


def _logs_kept(orca: Orca) -> Path:
    kept = Path(tempfile.mkdtemp(prefix="orca-storm-log-"))
    shutil.copytree(orca.home / "log", kept, dirs_exist_ok=True)
    return kept


def _report(report: Report, before: Outcome, during: Outcome) -> None:
    found = during.verdict
    for line in (before.verdict.strange + found.strange)[:_SHOWN]:
        say(f"  {line}")
    say(f"  asked again: {dict(during.refused) or 'never'}; twice: {dict(+found.twice) or 'nothing'}")
    recoveries = [(kill.name, BOUND if kill.recovery is None else kill.recovery) for kill in during.kills]
    recovery = report.add("recovery_s", [seconds for _, seconds in recoveries], "s")
    for name in EVERYONE:
        if of_it := [seconds for killed, seconds in recoveries if killed == name]:
            report.add(f"recovery_{name}_s", of_it, "s")
    for name in EVERYONE:
        report.add(f"kills_{name}", [sum(kill.name == name for kill in during.kills)], "kills")
    for name, count in (
        ("ended", found.ended),
        ("lost", found.lost),
        ("failed", found.failed),
        ("reruns", found.reruns),
        ("short_logs", found.short_logs),
    ):
        report.add(name, [count], "runs")
    report.add("applied_twice", [found.applied_twice], "effects")
    report.add("answers_5xx", [_answers_5xx(during)], "answers")
    report.add("calm_run_s", before.seconds, "s")
    report.add("storm_run_s", during.seconds, "s")
    report.add("calm_rate", [before.rate], "runs/s")
    report.add("storm_rate", [during.rate], "runs/s")
    if during.bare_starts:
        floor = report.add("bare_start_s", during.bare_starts, "s")
        report.ratio("recovery_p95_to_bare_start", recovery.p95 / floor.p95)
    report.ratio("storm_throughput_to_calm", during.rate / before.rate)
