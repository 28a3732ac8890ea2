"""What things cost (`metering`) and what may be spent (`budgets`). Every amount of money is in nano-dollars."""

from portal.usage.models import budgets
from portal.usage.models.metering import Grant, Kind, Margin, Price, Span, UsageDay, UsageRecord

__all__ = ["Grant", "Kind", "Margin", "Price", "Span", "UsageDay", "UsageRecord", "budgets"]
