"""What things cost (`metering`) and what may be spent (`budgets`). Every amount of money is in nano-dollars."""

from portal.usage.models import budgets, metering

__all__ = ["budgets", "metering"]
