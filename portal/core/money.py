"""Nano-dollars as people read them."""

from __future__ import annotations

from decimal import Decimal

NANO = 1_000_000_000


def shown(nano: int) -> str:
    """``$1.50``; as many digits as it takes to be something where it is less than a cent."""
    amount = Decimal(nano) / NANO
    if amount == 0 or abs(amount) >= Decimal("0.01"):
        return f"${amount:,.2f}" if amount >= 0 else f"-${-amount:,.2f}"
    return f"${amount:.6f}".rstrip("0")
