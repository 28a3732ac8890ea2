"""Nano-dollars, and how people write and read them."""

from __future__ import annotations

from decimal import Decimal

NANO = 1_000_000_000
_CENT = Decimal("0.01")


def nano_of(dollars: str | Decimal) -> int:
    """``1.50`` in nano-dollars; what is smaller than one is rounded. Raises ``decimal.InvalidOperation``."""
    return int((Decimal(dollars) * NANO).to_integral_value())


def shown(nano: int) -> str:
    """``$1.50``; of less than ten cents what says something: ``$0.015``, ``$0.00042``."""
    amount = abs(Decimal(nano) / NANO)
    places = 2
    if nano and amount < _CENT * 10:
        amount = round(amount, 1 - amount.adjusted())
        places = max(2, -amount.normalize().as_tuple().exponent)  # type: ignore[operator]  # it is a number
    return f"{'-' if nano < 0 else ''}${amount:,.{places}f}"
