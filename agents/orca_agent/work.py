"""The steps in hand: messages come in, their tasks run as slots are free, and the messages go when all is told."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from dataclasses import replace
from itertools import islice
from typing import Callable, Deque, Dict, Final, FrozenSet, List, Tuple

from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.cloud.queue import Message, Queue
from agents.orca_agent.deliveries import Delivery, Job
from agents.orca_agent.elsewhere import HeadStart, seconds_elsewhere
from agents.orca_agent.events import FAILED, LOST, Reason, RunningStep, StepReturned
from agents.orca_agent.fields import ProtocolError
from agents.orca_agent.ids import new_id
from agents.orca_agent.journal import Guard, Journal, Record, StepKey, this_machine
from agents.orca_agent.orders import AnyTask, InvalidTask, Task, parse_tasks
from agents.orca_agent.steps.control import HANDED_BACK, StepControl
from agents.orca_agent.steps.result import finish_unstarted
from agents.orca_agent.steps.runner import run_step
from agents.orca_agent.steps.surroundings import Surroundings
from agents.orca_agent.steps.verdict import STOPPED, Verdict

log = logging.getLogger(__name__)

ACKNOWLEDGE_AFTER: Final = 11 * 3600.0
"""SQS hides a message for 12 hours at most."""
VISIBILITY: Final = 60
RENEW_EVERY: Final = 20.0
FIRST_VISIBILITY: Final = 20
"""Short, because what a broken-off poll has caught comes back only then; most steps end before it matters."""
FIRST_RENEWAL: Final = 5.0

LEFT_BEHIND: Final = Verdict(LOST, Reason.AGENT_FAILED, "The agent stopped while it ran.")


class Work:
    """Any thread may call; each step runs in a thread of its own. ``changed`` is called at starts and ends."""

    def __init__(
        self,
        around: Surroundings,
        queue: Queue,
        journal: Journal,
        *,
        workspace: str,
        instance: str,
        changed: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._around = around
        self._queue = queue
        self._journal = journal
        self._workspace = workspace
        self._instance = instance
        self.leaving = threading.Event()
        self.head_start = HeadStart(clock)
        self._tell = changed
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: Deque[Job] = deque()
        self._jobs: Dict[StepKey, Job] = {}
        self._deliveries: List[Delivery] = []
        self._cancelled: FrozenSet[str] = frozenset()
        self._running = 0
        self._machine = this_machine()
        self._accepting = True
        self._closed = False

    # --- what others ask

    def running(self) -> Tuple[RunningStep, ...]:
        """The steps that are held, running or waiting for a slot of their own."""
        with self._changed:
            return tuple(RunningStep(key.step, key.attempt) for key in self._jobs)

    @property
    def idle(self) -> bool:
        with self._changed:
            return not self._jobs

    def free_slots(self, timeout: float) -> int:
        """How many more tasks may come; waits for the first. 0: none within ``timeout``, or none any more."""
        until = time.monotonic() + timeout
        with self._changed:
            while not self._closed and not (self._accepting and self._free() > 0):
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, self._until_ahead()))
            return max(0, self._free()) if self._accepting else 0

    def longest_wait(self, longest: int) -> int:
        """For how many seconds to ask for messages, ``longest`` at most: no longer than there is a slot for them."""
        with self._changed:
            if self._around.slots > self._running:
                return longest
            left = max((closes for opens, closes in self._windows() if opens <= 0), default=1.0)
            return min(longest, max(1, round(left)))

    def close(self) -> None:
        """Nobody needs to wait for a free slot any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs, timeout)

    def _free(self) -> int:
        """Steps may also wait here for a slot that will be free soon, and behind short ones as many as run."""
        unused = self._around.slots - self._running
        return unused * (2 if self._around.pace.short else 1) + self._open_windows() - len(self._waiting)

    def _open_windows(self) -> int:
        """How many running steps are likely to be over soon."""
        return sum(opens <= 0 for opens, _ in self._windows())

    def _windows(self) -> List[Tuple[float, float]]:
        steps = ((job.kind, job.began) for job in self._jobs.values() if job.running)
        return self._around.pace.windows(steps, self._clock())

    def _until_ahead(self) -> float:
        """Seconds until there may be room for one more, if nothing changes."""
        return min((opens for opens, _ in self._windows() if opens > 0), default=math.inf)

    # --- messages

    def accept(self, message: Message) -> None:
        """Take a message that was received; one that others should rather have goes back for a while."""
        try:
            tasks = parse_tasks(message.body, self._workspace)
        except ProtocolError as error:
            # It stays hidden for a while: given back at once, it would come again before all others.
            log.error("message %s is refused: %s", message.id, error)
            return
        with self._changed:
            accepting = self._accepting
            known = [job.delivery for job in self._jobs.values() if job.delivery.message.id == message.id]
            if known:  # it came again while we hold it: from now on the new receipt counts
                known[0].message = message
                known[0].record = replace(known[0].record, receipt=message.receipt)
                return
        if not accepting:
            self._give_back(message.receipt)
        elif pause := seconds_elsewhere(tasks, self._instance, message.receives, unwanted=self._cancelled):
            log.info("message %s is left to other instances for %d s", message.id, pause)
            self._give_back(message.receipt, pause)
            self.head_start.note(pause)
        else:
            self._take(message, tasks)

    def _take(self, message: Message, tasks: Tuple[AnyTask, ...]) -> None:
        keys = tuple(StepKey(task.run, task.step, task.attempt) for task in tasks)
        record = Record(message.id, message.receipt, self._machine, keys)
        now = self._clock()
        bounded = any(isinstance(task, Task) and task.once for task in tasks)
        delivery = Delivery(message, record, bounded, since=now, renew_at=now + FIRST_RENEWAL)
        self._journal.write(delivery.record)
        with self._changed:
            jobs = [Job(task, delivery, StepControl(self.leaving)) for task in tasks]
            jobs = [job for job in jobs if job.key not in self._jobs]
            self._jobs.update((job.key, job) for job in jobs)
            self._waiting += jobs
            delivery.left = len(jobs)
            if jobs:
                self._deliveries.append(delivery)
            self._start_what_fits()
        if not jobs:  # another message holds all of it already
            self._release(delivery)
        self._tell()

    def _start_what_fits(self) -> None:
        while self._waiting and self._running < self._around.slots:
            job = self._waiting.popleft()
            job.running, job.began = True, self._clock()
            self._running += 1
            threading.Thread(target=self._run, args=(job,), name=f"step {job.task.step}", daemon=True).start()
        for job in islice(self._waiting, self._around.slots):
            job.prepare(self._around)

    def _run(self, job: Job) -> None:
        try:
            told = self._run_or_tell(job)
        except Exception:
            log.exception("step %s", job.task.step)
            told = self._tell_failure(job)
        self._end(job, told=told)

    def _run_or_tell(self, job: Job) -> bool:
        """Whether the end has been told; not that of a step that is handed back."""
        if job.control.reason == HANDED_BACK:
            return False
        if job.key in self._around.ended:  # the message came once more
            return True
        if isinstance(job.task, InvalidTask):
            return self._tell_end(job, Verdict(FAILED, Reason.TASK_INVALID, job.task.problem))
        with self._changed:
            cancelled = job.task.step in self._cancelled
        if cancelled or job.control.reason == Reason.CANCELLED:
            return self._tell_end(job, STOPPED[Reason.CANCELLED])
        if job.task.once and job.delivery.message.receives > 1:
            now = time.time()
            self._around.emit(StepReturned(new_id(now), now, job.key.run, job.key.step, job.key.attempt))
            return True

        def started(pid: int, start: int, session: int) -> None:
            self._journal.guard(job.delivery.record, job.task.step, Guard(pid, start, session))

        finished = run_step(self._around, job.task, job.control, started, job.ahead)
        if finished is not None and not job.control.reason:
            self._around.pace.ended(job.kind, self._clock() - job.began)
        return finished is not None

    def _tell_failure(self, job: Job) -> bool:
        """What cannot even be told happens again: the message goes back, and the slot is free."""
        try:
            return self._tell_end(job, Verdict(FAILED, Reason.AGENT_FAILED, "The agent met an error of its own."))
        except Exception:
            log.exception("the end of step %s", job.task.step)
            return False

    def _tell_end(self, job: Job, verdict: Verdict) -> bool:
        finish_unstarted(self._around.ended, self._around.emit, job.key, verdict)
        return True

    def _end(self, job: Job, *, told: bool) -> None:
        delivery = job.delivery
        job.drop()
        with self._changed:
            self._running -= 1
            self._jobs.pop(job.key, None)
            delivery.left -= 1
            if not told:
                delivery.untold.append(job.key)
            done = delivery.left == 0
            if done:
                self._deliveries.remove(delivery)
            self._start_what_fits()
            self._changed.notify_all()
        self._tell()
        if done:
            self._release(delivery)

    def _release(self, delivery: Delivery) -> None:
        """The message of a delivery whose tasks have all ended, or were all stopped, leaves our hands."""
        if delivery.record.acknowledged:
            for key in delivery.untold:
                finish_unstarted(self._around.ended, self._around.emit, key, LEFT_BEHIND)
        elif delivery.untold:
            self._journal.remove(delivery.message.id)  # first: it may come back to us at once, with a new record
            self._give_back(delivery.message.receipt)
            return
        else:
            try:
                self._queue.delete(delivery.message.receipt)
            except CloudError as error:
                log.warning("message %s could not be deleted: %s", delivery.message.id, error)
        self._journal.remove(delivery.message.id)

    def _give_back(self, receipt: str, seconds: int = 0) -> None:
        try:
            self._queue.set_visibility(receipt, seconds)
        except CloudError as error:
            log.warning("a message could not be given back: %s", error)

    # --- what is wanted of us

    def cancel(self, steps: FrozenSet[str]) -> None:
        """These steps are not wanted any more, now or when they come."""
        with self._changed:
            fresh = steps - self._cancelled
            self._cancelled = steps
            jobs = [job for job in self._jobs.values() if job.task.step in fresh]
            early = [job for job in jobs if not job.running]
            for job in early:
                self._waiting.remove(job)
                job.running = True
                self._running += 1  # `_end` takes it off again
        for job in jobs:
            job.control.stop(Reason.CANCELLED)
        for job in early:
            self._run(job)

    def stop_accepting(self) -> List[str]:
        """Take no more, and give back what has not started; returns the ids of those steps."""
        with self._changed:
            self._accepting = False
            whole = [delivery for delivery in self._deliveries if not self._any_running(delivery)]
            jobs = self._withdraw(whole)
            self._changed.notify_all()
        self._leave_to_others(whole, jobs)
        return [job.task.step for job in jobs]

    def _withdraw(self, deliveries: List[Delivery]) -> List[Job]:
        """The waiting jobs of deliveries of which none runs: they are not ours any more."""
        jobs = [job for job in self._jobs.values() if job.delivery in deliveries]
        for job in jobs:
            self._waiting.remove(job)
            del self._jobs[job.key]
        self._deliveries = [delivery for delivery in self._deliveries if delivery not in deliveries]
        return jobs

    def _leave_to_others(self, deliveries: List[Delivery], jobs: List[Job]) -> None:
        """Give back the messages of what was withdrawn."""
        for job in jobs:
            job.drop()
        for delivery in deliveries:
            delivery.untold = list(delivery.record.steps)
            self._release(delivery)

    def resume_accepting(self) -> None:
        with self._changed:
            self._accepting = True
            self._changed.notify_all()

    def _any_running(self, delivery: Delivery) -> bool:
        return any(job.running for job in self._jobs.values() if job.delivery is delivery)

    def hand_back_running(self, grace: float) -> List[str]:
        """Stop what runs and give its messages back; returns the ids of those steps. Wait with `wait_idle`."""
        with self._changed:
            jobs = list(self._jobs.values())
            self._waiting.clear()
        for job in jobs:
            job.control.stop(HANDED_BACK, grace)
            if not job.running:
                self._end_waiting(job)
        return [job.task.step for job in jobs]

    def _end_waiting(self, job: Job) -> None:
        with self._changed:
            self._running += 1
        self._end(job, told=False)

    def drop_prepared(self, seconds: float) -> bool:
        """Remove what has come for steps that wait, for at most so long; whether there was any. It comes again."""
        with self._changed:
            prepared = [job.ahead for job in self._waiting if job.ahead is not None]
            for job in self._waiting:
                job.ahead = None
        for ahead in prepared:
            ahead.leave()
        until = self._clock() + seconds
        for ahead in prepared:
            ahead.wait_gone(max(0.0, until - self._clock()))
        return bool(prepared)

    def stop_largest(self, sizes: Callable[[str, int], int], reason: str) -> None:
        """End the running step for which ``sizes`` is greatest, at once; none while one is ending for it.

        ``sizes`` is given a step's id and the process id of its warden, 0 where it has none.
        """
        with self._changed:
            jobs = [job for job in self._jobs.values() if job.running]
        if jobs and not any(job.control.reason == reason for job in jobs):
            largest = max(jobs, key=lambda job: sizes(job.task.step, job.control.warden))
            log.warning("step %s is stopped: %s", largest.task.step, reason)
            largest.control.stop(reason, 0.0)

    # --- leases

    def give_back_overdue(self) -> None:
        """What waits behind steps that take longer than was thought goes to others, the latest first.

        For each step that is likely to be over soon one message may wait.
        """
        with self._changed:
            if not self._accepting or self._running < self._around.slots:
                return
            waiting = [delivery for delivery in self._deliveries if not self._any_running(delivery)]
            late = [delivery for delivery in waiting[self._open_windows() :] if delivery.may_go_back]
            jobs = self._withdraw(late)
        if late:
            log.info("%d messages are left to others: steps take longer than was thought", len(late))
            threading.Thread(target=self._leave_to_others, args=(late, jobs), name="give back", daemon=True).start()
            self._tell()

    def renew(self) -> None:
        """Keep the messages in hand hidden; acknowledge those that no queue can hide any longer."""
        now = self._clock()
        with self._changed:
            due = [d for d in self._deliveries if d.renew_at <= now and not d.record.acknowledged]
        for delivery in due:
            try:
                if now - delivery.since > ACKNOWLEDGE_AFTER:
                    delivery.record = self._journal.acknowledge(delivery.record)
                    self._queue.delete(delivery.message.receipt)
                else:
                    self._queue.set_visibility(delivery.message.receipt, VISIBILITY)
                delivery.renew_at = now + RENEW_EVERY
            except CloudError as error:
                log.warning("message %s could not be held: %s", delivery.message.id, error)
