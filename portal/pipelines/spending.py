"""Runs that may cost only so much: what becomes of them when the next step could cost more than is left.

`dispatch` hands nothing out any more then. What is out already comes to its end, and counts; when nothing is, the run
ends, and keeps what has come of it.

An attempt whose instance dies is paid, and the queue would give its message to the next instance without asking. So no
agent begins such a message again: it says so (``StepReturned``), what was begun is counted, and the step goes back into
the backlog, from which `dispatch` hands it out only where another attempt fits into what is left.
"""

from __future__ import annotations

from django.db.models import F
from django.utils import timezone

from portal.core.money import shown
from portal.core.states import move
from portal.pipelines.models import OPEN, TRANSITIONS, Run, State, Step

REACHED = "budget_reached"
# As often as the queue gives a message to agents before it puts it aside.
MOST_RETURNS = 10


def is_bounded(run: Run) -> bool:
    """Whether what a run may cost is kept to step by step."""
    return run.cost_limit is not None and run.at_once is not None


def is_spent(run: Run) -> bool:
    """Whether the run's limit has no room for one more step."""
    return is_bounded(run) and run.cost_spent + run.cost_of_step > (run.cost_limit or 0)


def spent_end(run: Run) -> int:
    """Cancel the steps that can never begin, once none is out; how many."""
    left = Step.objects.filter(run=run, state__in=[State.QUEUED, State.WAITING])
    if Step.objects.filter(run=run, state__in=OPEN, released_at__isnull=False).exists():
        return 0
    message = (
        f"The budget is reached: {shown(run.cost_spent)} of {shown(run.cost_limit or 0)} is spent, and one more "
        f"could cost {shown(run.cost_of_step)}."
    )
    return move(
        left.filter(released_at=None),
        TRANSITIONS,
        State.CANCELLED,
        finished_at=timezone.now(),
        retry_at=None,
        reason=REACHED,
        message=message,
    )


def spent_runs() -> list[str]:
    """Open runs that have no room for one more step, for a sweep to end."""
    bounded = Run.objects.filter(at_once__isnull=False, cost_limit__isnull=False, state__in=OPEN)
    return list(bounded.filter(cost_limit__lt=F("cost_spent") + F("cost_of_step")).values_list("pk", flat=True)[:500])
