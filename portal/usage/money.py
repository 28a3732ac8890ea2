"""Nano-dollars as people read and write them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from portal.core.errors import Invalid
from portal.core.money import NANO, shown

__all__ = ["MOST", "NANO", "read", "shown", "written"]
MOST = 1_000_000_000 * NANO


def written(nano: int | None) -> str | None:
    """``1.500000000`` without what means nothing: what programs get."""
    if nano is None:
        return None
    text = f"{Decimal(nano) / NANO:.9f}".rstrip("0")
    whole, _, cents = text.partition(".")
    return f"{whole}.{cents:0<2}"


def read(text: str, field: str) -> int:
    """Dollars as a person or a program writes them, in nano-dollars. Raises ``Invalid``."""
    try:
        amount = Decimal(text.strip().removeprefix("$")) * NANO
        if not amount.is_finite() or not 0 <= amount <= MOST or amount != amount.to_integral_value():
            raise InvalidOperation
    except InvalidOperation as error:
        message = "An amount of dollars, such as 12.50."
        raise Invalid("This is no amount of money.", fields={field: message}) from error
    return int(amount)
