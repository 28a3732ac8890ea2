"""What people and operators do with budgets."""

from __future__ import annotations

from typing import Final

from django.db import transaction

from portal.accounts.models import User
from portal.core.audit import audit
from portal.core.errors import Invalid
from portal.usage import ledger, money
from portal.usage.models import Budget


class Unchanged:
    """Says of an amount that it stays as it is; None is an amount: what the settings say."""


UNCHANGED: Final = Unchanged()
Amount = int | None | Unchanged


@transaction.atomic
def budget_update(*, user: User, by: User, soft: Amount = UNCHANGED, hard: Amount = UNCHANGED) -> Budget:
    """Change what somebody may spend in a month. Raises ``Invalid``.

    One's own soft amount is anybody's to choose; the hard one can only be lowered, but for operators. A budget that is
    raised lets run again what it had stopped.
    """
    with ledger.locked(user) as budget:
        before = ledger.hard_of(user, budget)
        if not isinstance(hard, Unchanged):
            _hard_check(by, before, hard)
            budget.hard = hard
        if not isinstance(soft, Unchanged):
            budget.soft = soft
        now = ledger.hard_of(user, budget)
        if budget.soft is not None and now is not None and budget.soft > now:
            raise Invalid("The soft amount is above the hard one.", fields={"soft": f"at most {money.shown(now)}"})
        ledger.refresh(budget)
        if now is None or (before is not None and now > before):
            budget.reached_at = None
        if budget.warned and not _is_told(user, budget):
            budget.warned = None
        budget.save()
        user.budgeted = budget.hard is not None or budget.soft is not None
        User.objects.filter(pk=user.pk).update(budgeted=user.budgeted)
        audit("budget.update", budget, by=by, soft=money.written(budget.soft), hard=money.written(budget.hard))
    return budget


def _hard_check(by: User, before: int | None, hard: int | None) -> None:
    if by.is_staff:
        return
    if hard is None or (before is not None and hard > before):
        limit = "" if before is None else f" It is {money.shown(before)}."
        raise Invalid(
            f"Only an operator can raise a hard budget.{limit}", fields={"hard": "lower than it is, or as it is"}
        )


def _is_told(user: User, budget: Budget) -> bool:
    """Whether the warning that was sent still holds for the amounts as they are."""
    soft = ledger.soft_of(user, budget)
    return soft is not None and budget.spent >= soft
