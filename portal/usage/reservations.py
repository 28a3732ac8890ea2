"""What is set aside for a run when it is accepted, and given back when it has ended: racing runs cannot overspend."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django.db import transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.core.errors import LimitReached
from portal.core.states import moved
from portal.pipelines.models import FINAL, Run, Step
from portal.usage import ledger, money
from portal.usage.bounds import most_of
from portal.usage.models import Budget, Reservation

MOST_AT_ONCE = 500


def run_accept(*, run: Run, steps: Sequence[Step]) -> None:
    """Set aside what a run that is being made may cost at most. Raises ``LimitReached``."""
    if ledger.is_bounded(run.owner):
        reserve(run=run, most=run.cost_limit if run.cost_limit is not None else most_of(run, steps))


def reserve(*, run: Run, most: int) -> Reservation | None:
    """Set aside ``most`` of its owner's budget for a run; a later call changes how much.

    None where no hard budget holds. Raises ``LimitReached`` (``budget_reached``) where so much is not left.
    """
    if not ledger.is_bounded(run.owner):
        return None
    with ledger.locked(run.owner) as budget:
        hard = ledger.hard_of(run.owner, budget)
        if hard is None:
            return None
        found = Reservation.objects.filter(run=run).first()
        more = most - found.amount if found else most
        if not _fits(budget, hard, more):
            ledger.refresh(budget)  # what has ended meanwhile may have cost less than was set aside
            if not _fits(budget, hard, more):
                raise _refusal(budget, hard, most)
        if found is None:
            found = Reservation(run=run, budget=budget, amount=0)
        before = found.outstanding
        found.amount = most
        found.save()
        budget.reserved += found.outstanding - before
        budget.save(update_fields=["reserved"])
        if run.cost_limit is None:  # from now on its costs are added up on the run, and its end settles it
            Run.objects.filter(pk=run.pk).update(cost_limit=most)
            run.cost_limit = most
    return found


def _fits(budget: Budget, hard: int, more: int) -> bool:
    if more > 0 and budget.reached_at is not None:
        return False
    return more <= 0 or budget.spent + budget.reserved + budget.held + more <= hard


def _refusal(budget: Budget, hard: int, most: int) -> LimitReached:
    left = max(0, hard - budget.spent - budget.reserved - budget.held)
    return LimitReached(
        f"Of your budget of {money.shown(hard)} for this month {money.shown(left)} is left, and this may cost up to "
        f"{money.shown(most)}.",
        code="budget_reached",
        hint=f"{money.shown(budget.spent)} is spent, {money.shown(budget.reserved)} is set aside for what runs and "
        f"{money.shown(budget.held)} for what is stored. Give the run lower limits, wait for others to end, or ask an "
        "operator for a higher budget.",
    )


def settle_on_commit(*, run: Run) -> None:
    """Settle a run's reservation once its end is committed: no lock is held that somebody else may wait for."""
    transaction.on_commit(partial(_settle_quietly, run.pk), robust=True)


def _settle_quietly(run_id: str) -> None:
    settle(run_id=run_id)


def settle(*, run_id: str) -> bool:
    """Give back what a run that has ended did not use; False where there is nothing to settle (any more)."""
    found = Reservation.objects.select_related("budget__owner").filter(run=run_id, state=Reservation.State.OPEN).first()
    if found is None:
        return False
    with ledger.locked(found.budget.owner) as budget:
        found.refresh_from_db()
        before, cost = found.outstanding, ledger.costs_of([run_id]).get(run_id, 0)
        if not moved(found, Reservation.TRANSITIONS, Reservation.State.SETTLED, settled_at=timezone.now()):
            return False
        budget.reserved = max(0, budget.reserved - before)
        budget.spent += cost - found.used
        budget.save(update_fields=["reserved", "spent"])
        Reservation.objects.filter(pk=found.pk).update(used=cost)
    return True


def reservations_sweep() -> int:
    """Settle what whoever ended a run did not come to; how many."""
    ended = Reservation.objects.filter(state=Reservation.State.OPEN, run__state__in=FINAL)
    return sum(settle(run_id=run_id) for run_id in list(ended.values_list("run", flat=True)[:MOST_AT_ONCE]))


def budget_require(*, owner: User) -> None:
    """Raises ``LimitReached`` where a person may not spend anything more: nothing of theirs is started then."""
    if not ledger.is_bounded(owner):
        return
    standing = ledger.standing_of(owner)
    if standing.is_reached:
        raise LimitReached(
            f"Your budget of {money.shown(standing.hard or 0)} for this month is used up.",
            code="budget_reached",
            hint="It begins anew with the next month; an operator can raise it before.",
        )
