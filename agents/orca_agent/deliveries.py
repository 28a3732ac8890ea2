"""Messages in hand, and the tasks that came with them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import List, Optional

from agents.orca_agent.cloud.queue import Message
from agents.orca_agent.journal import Record, StepKey
from agents.orca_agent.orders import AnyTask, Task
from agents.orca_agent.steps.control import StepControl
from agents.orca_agent.steps.preparation import Ahead
from agents.orca_agent.steps.surroundings import Surroundings

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Delivery:
    """A message in hand. ``left`` counts its tasks that have not ended, ``untold`` are those that ended unsaid."""

    message: Message
    record: Record
    left: int
    since: float
    renew_at: float
    untold: List[StepKey] = field(default_factory=list)


@dataclass(eq=False)
class Job:
    """A task of a delivery, waiting or running."""

    task: AnyTask
    delivery: Delivery
    control: StepControl
    running: bool = False
    began: float = 0.0
    ahead: Optional[Ahead] = None

    @property
    def key(self) -> StepKey:
        return StepKey(self.task.run, self.task.step, self.task.attempt)

    @property
    def script(self) -> str:
        """The checksum of its script; "" of a task that cannot be read."""
        return self.task.script.sha256 if isinstance(self.task, Task) else ""

    def prepare(self, around: Surroundings) -> None:
        """Begin to fetch what it needs, where it waits for more than its script."""
        if self.ahead is None and isinstance(self.task, Task) and Ahead.is_worth_it(self.task):
            try:
                self.ahead = Ahead(around, self.task, self.control)
            except OSError as error:
                log.info("step %s is not prepared ahead: %s", self.task.step, error)

    def drop(self) -> None:
        """It does not run here, or has ended."""
        if self.ahead is not None:
            self.ahead.drop()
