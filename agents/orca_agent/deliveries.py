"""Messages in hand, and the tasks that came with them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Final, List, Optional

from agents.orca_agent.cloud.queue import Message
from agents.orca_agent.elsewhere import TAKEN_AT
from agents.orca_agent.journal import Record, StepKey
from agents.orca_agent.orders import AnyTask, Task
from agents.orca_agent.pace import kind_of
from agents.orca_agent.steps.control import StepControl
from agents.orca_agent.steps.preparation import Ahead
from agents.orca_agent.steps.surroundings import Surroundings

log = logging.getLogger(__name__)

LAST_TO_GO_BACK: Final = 3
"""Of a step that is a new attempt each time: the portal gives it up after ten."""


@dataclass(eq=False)
class Delivery:
    """A message in hand. ``left`` counts its tasks that have not ended, ``untold`` are those that ended unsaid.

    ``bounded``: one of its tasks may be begun once only, and is a new attempt each time that it was given back.
    """

    message: Message
    record: Record
    bounded: bool
    since: float
    renew_at: float
    left: int = 0
    untold: List[StepKey] = field(default_factory=list)

    @property
    def may_go_back(self) -> bool:
        """Whether others may have it who would begin it sooner; not when it was given back too often."""
        if self.record.acknowledged or self.left < len(self.record.steps) or self.message.receives >= TAKEN_AT:
            return False
        return not self.bounded or all(key.attempt <= LAST_TO_GO_BACK for key in self.record.steps)


@dataclass(eq=False)
class Job:
    """A task of a delivery, waiting or running."""

    task: AnyTask
    delivery: Delivery
    control: StepControl
    running: bool = False
    began: float = 0.0
    ahead: Optional[Ahead] = None
    may_prepare: bool = True

    @property
    def key(self) -> StepKey:
        return StepKey(self.task.run, self.task.step, self.task.attempt)

    @property
    def kind(self) -> str:
        """Of which steps it is, for their pace; "" of a task that cannot be read."""
        return kind_of(self.task) if isinstance(self.task, Task) else ""

    def prepare(self, around: Surroundings) -> None:
        """Begin to fetch what it needs, where it waits for more than its script and will be run."""
        if not self.may_prepare:
            return
        self.may_prepare = False
        if not isinstance(self.task, Task) or not Ahead.is_worth_it(self.task):
            return
        if self.key in around.ended or (self.task.once and self.delivery.message.receives > 1):
            return
        try:
            self.ahead = Ahead(around, self.task, self.control)
        except (OSError, RuntimeError) as error:
            log.info("step %s is not prepared ahead: %s", self.task.step, error)

    def drop(self) -> None:
        """Leave what was prepared, because it does not run here, or has ended."""
        if self.ahead is not None:
            self.ahead.leave()
