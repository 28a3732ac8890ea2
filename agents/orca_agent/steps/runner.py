"""The life of one step: prepare, run, store what it leaves, say how it ended."""

from __future__ import annotations

import logging
import os
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Callable, ContextManager, Final, List, Mapping, Optional, Sequence, Tuple

from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.events import (
    FAILED,
    SUCCEEDED,
    LogSummary,
    Reason,
    StepFinished,
    StepStarted,
)
from agents.orca_agent.ids import new_id
from agents.orca_agent.orders import Container, Task
from agents.orca_agent.steps import command, container, environments, outputs
from agents.orca_agent.steps.container_image import Site
from agents.orca_agent.steps.control import GRACE, HANDED_BACK, StepControl
from agents.orca_agent.steps.failure import StepFailed, StepStopped
from agents.orca_agent.steps.log import StepLogger
from agents.orca_agent.steps.preparation import DISK_RESERVE_MB, Ahead, Preparation
from agents.orca_agent.steps.process import Ending, Order, StepProcess, start
from agents.orca_agent.steps.pump import Sink, Tail, pump
from agents.orca_agent.steps.result import report, result_prefix
from agents.orca_agent.steps.secret_values import write_files
from agents.orca_agent.steps.surroundings import Surroundings
from agents.orca_agent.steps.transfer import MB
from agents.orca_agent.steps.verdict import STOPPED, Verdict, judge, may_be_shutdown

log = logging.getLogger(__name__)

SPARE_PROCESSES: Final = 128
BUILD_SECONDS: Final = 1_800.0
WARDEN_LATE: Final = 60.0
SMALL_LOG: Final = 16 * 1024

Started = Callable[[int, int, int], object]
"""Told of a warden's process id and start time, and of the session of what it started."""

Starter = Callable[[Order], StepProcess]


def run_step(
    around: Surroundings, task: Task, control: StepControl, started: Started, ahead: Optional[Ahead] = None
) -> Optional[StepFinished]:
    """Run a task to its end and report it. None: it was stopped because it is handed back, and nothing is said.

    ``ahead`` has begun to prepare it.
    """
    preparation = ahead.take() if ahead is not None else Preparation(around.layout, task)
    folder = preparation.folder
    try:
        with (folder / "log.txt").open("w+b") as file:
            (folder / "log.txt").chmod(0o600)
            return _StepRun(around, task, control, preparation, file).run(started)
    finally:
        if ahead is not None:
            ahead.leave()
        preparation.remove()
        if task.secret_names:
            shutil.rmtree(around.layout.secrets / folder.name, ignore_errors=True)


class _StepRun:
    def __init__(
        self, around: Surroundings, task: Task, control: StepControl, preparation: Preparation, log_file: BinaryIO
    ) -> None:
        self.around = around
        self.task = task
        self.control = control
        self.preparation = preparation
        self.folder = preparation.folder
        self.script = preparation.script
        self.log_file = log_file
        self.log = StepLogger(task, log_file, around.emit, around.boot_id)
        self.account = around.account
        self.base = command.base_environment(around.account, around.passed_on)
        self.image = ""
        if task.container is not None:
            self.account = container.account_in_containers(around.account)
            self.base = container.BASE
        self.prefix = result_prefix(task.run, task.step, task.attempt)
        self.ending = Ending()
        self.traffic = preparation.traffic

    def run(self, started: Started) -> Optional[StepFinished]:
        task, began = self.task, time.time()
        self.around.emit(StepStarted(new_id(began), began, task.run, task.step, task.attempt, self.around.boot_id))
        verdict = self._verdict(started)
        ended = time.time()
        if may_be_shutdown(verdict) and self.control.agent_leaves():
            self.control.stop(HANDED_BACK)
        if self.control.reason == HANDED_BACK and verdict.state != SUCCEEDED:
            return None
        verdict, stored = self._store_outputs(verdict)
        log_summary = self._store_log()
        self.traffic.claim(self.around.unclaimed)
        finished = StepFinished(
            id=new_id(),
            at=time.time(),
            run=task.run,
            step=task.step,
            attempt=task.attempt,
            state=verdict.state,
            exit_code=verdict.exit_code,
            signal=verdict.signal,
            reason=verdict.reason,
            message=self.log.masker.mask_text(verdict.message),
            started_at=began,
            finished_at=ended,
            peak_memory_mb=self.ending.peak_memory_mb,
            cpu_seconds=self.ending.cpu_seconds,
            log=log_summary,
            outputs=stored.outputs,
            outputs_truncated=stored.over_limit > 0 or not stored.listed_all,
            boot_id=self.around.boot_id,
            bytes_in=self.traffic.came,
            bytes_out=self.traffic.went,
            bytes_fetched=self.traffic.fetched,
            image=self.image,
        )
        return report(self.around.ended, self.around.emit, finished)

    def _verdict(self, started: Started) -> Verdict:
        """How preparing and running went, whatever happened there."""
        try:
            with ExitStack() as held:
                environment = self._environment_of_step()
                argv, starter = self._prepare(held)
                order = self._order(argv, environment, self.task.limits.seconds)
                self.ending = self._execute(order, self.log, ("out", "err"), starter, started)
            return judge(self.ending, self.task.limits, self.control.reason)
        except StepStopped:
            return STOPPED.get(self.control.reason, STOPPED[Reason.CANCELLED])
        except StepFailed as failure:
            return Verdict(FAILED, failure.reason, failure.message)
        except (CloudError, OSError) as error:
            log.warning("step %s: %r", self.task.step, error)
            return Verdict(FAILED, Reason.AGENT_FAILED, f"The agent could not run it: {error}")

    def _environment_of_step(self) -> Mapping[str, str]:
        """Also fetches the secrets, before anything can be written into the log that they must not be in."""
        self.control.check()
        values = self.around.secrets.get(self.task.secret_names)
        environment = command.step_environment(
            self.task, self.base, self.around.bucket_name, self.folder, secrets=values
        )
        if values:
            self.log.hide(values.values())
            files = self.around.layout.secrets / self.folder.name
            write_files(values, files, self.account)
            environment["ORCA_SECRETS"] = str(files)
        return environment

    def _prepare(self, held: ExitStack) -> Tuple[List[str], Starter]:
        """Everything that the program needs; what it is, and what starts it."""
        task, account = self.task, self.account
        self.preparation.have_it(self.around, self.control.check, self.log.say)
        starter: Starter
        if task.container is not None:
            argv, starter = container.arguments(task, self.script), self._container(task.container)
        else:
            argv = command.arguments(task, self.script)
            starter = partial(start, warm=self.around.warm if command.may_start_warm(task, self.script) else None)
        account.own_tree(self.script)
        account.own(self.preparation.temporary)
        self.script.chmod(0o755)
        if task.container is not None:
            return argv, starter
        if account.uid is None and os.geteuid() == 0:
            self.log.say(f"This runs as root, because there is no user {account.name} that it could run as.")
        if task.script.requirements is not None:
            environment = held.enter_context(self._environment(task.script.requirements))
            argv[0] = str(environments.interpreter(environment))
        return argv, starter

    def _container(self, wanted: Container) -> Starter:
        """What starts the program in a container; the image is made where it is not there."""
        if self.task.script.requirements is not None:
            self.log.say("What a step in a container requires comes with its image: requirements are not installed.")

        def check() -> None:
            self.control.check()
            if self.log.due() <= 0:
                self.log.flush()

        site = Site(self.script, self.task.limits.memory_mb, self.log.say, self.log.write, check)
        image = self.around.containers.prepare(wanted, site)
        self.image = image.id
        return partial(self.around.containers.start, image, self.task, self.around.slots)

    def _environment(self, requirements: str) -> ContextManager[Path]:
        path = self.script / requirements
        if not path.is_file():
            raise StepFailed(Reason.REQUIREMENTS_FAILED, f"There is no file {requirements!r} in the bundle.")
        key = environments.environment_key(path.read_bytes(), self.task.script.sha256)

        def run(argv: Sequence[str]) -> Tuple[int, List[str]]:
            tail = Tail(self.log)
            order = self._order(argv, self.base, BUILD_SECONDS)
            ending = self._execute(order, tail, ("orca", "orca"))
            self.control.check()
            verdict = judge(ending, self.task.limits, "")
            told = [verdict.message] if ending.reason or ending.failed else []
            return (1 if ending.exit_code is None else ending.exit_code), tail.lines() + told

        def make(folder: Path) -> None:
            self.log.say(f"Installing {requirements} …")
            self.log.flush()
            began = time.monotonic()
            environments.build(folder, path, run)
            self.log.say(f"Installed in {time.monotonic() - began:.1f} s.")

        return self.around.environments.hold(key, make, self.control.check)

    def _order(self, argv: Sequence[str], environment: Mapping[str, str], seconds: float) -> Order:
        limits = self.task.limits
        free = shutil.disk_usage(self.folder).free // MB
        return Order(
            argv=argv,
            environment=environment,
            folder=self.script,
            account=self.account,
            seconds=seconds,
            memory_mb=limits.memory_mb,
            processes=limits.processes,
            all_processes=limits.processes * self.around.slots + SPARE_PROCESSES,
            file_mb=max(DISK_RESERVE_MB // 8, free - DISK_RESERVE_MB),
            grace=GRACE,
        )

    def _execute(
        self,
        order: Order,
        sink: Sink,
        streams: Tuple[str, str],
        starter: Starter = start,
        started: Optional[Started] = None,
    ) -> Ending:
        process = starter(order)
        try:
            if started is not None and process.pid:
                started(process.pid, process.start, process.session)
            self.control.attach(process)
            return pump(process, sink, seconds=order.seconds + order.grace + WARDEN_LATE, streams=streams)
        finally:
            self.control.detach()
            process.close()

    def _store_outputs(self, verdict: Verdict) -> Tuple[Verdict, outputs.Uploaded]:
        """Also of a step that has failed: what there is may tell why."""
        if not self.script.exists():
            return verdict, outputs.Uploaded()
        limit = self.task.limits.output_mb
        try:
            stored = outputs.upload(
                self.script / "output",
                self.prefix + "output/",
                self.around.bucket,
                self.account,
                limit_mb=limit,
                say=self.log.say,
                count=self.traffic.goes,
            )
        except (CloudError, OSError) as error:
            self.log.say(f"The outputs could not be stored: {error}")
            failed = replace(
                verdict, state=FAILED, reason=Reason.OUTPUT_FAILED, message="Its outputs could not be stored."
            )
            return (failed if verdict.state == SUCCEEDED else verdict), outputs.Uploaded(listed_all=False)
        if stored.over_limit:
            message = f"Its outputs exceed the limit of {limit} MB; {stored.over_limit} files were not stored."
            self.log.say(message)
            if verdict.state == SUCCEEDED:
                verdict = replace(verdict, state=FAILED, reason=Reason.OUTPUT_LIMIT, message=message)
        return verdict, stored

    def _store_log(self) -> LogSummary:
        """In the bucket, or nowhere (key "") where its lines, which the portal has, are the whole of it and few."""
        key = self.prefix + "log.txt"
        summary = self.log.finish(key)
        size = os.fstat(self.log_file.fileno()).st_size
        if size <= SMALL_LOG and self.log.told_all:
            return replace(summary, key="")
        try:
            self.around.bucket.upload(key, self.log_file.fileno(), size, "text/plain; charset=utf-8")
        except CloudError as error:
            log.warning("the log of step %s could not be stored: %s", self.task.step, error)
            return replace(summary, key="")
        self.traffic.goes(size)
        return summary
