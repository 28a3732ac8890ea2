"""What things cost (`metering`) and what may be spent (`budgets`). Every amount of money is in nano-dollars."""

from portal.usage.models.budgets import Budget, Reservation
from portal.usage.models.metering import Grant, Kind, Margin, Price, Span, UsageDay, UsageRecord

__all__ = ["Budget", "Grant", "Kind", "Margin", "Price", "Reservation", "Span", "UsageDay", "UsageRecord"]
