"""Django's admin over prices, usage, grants and budgets."""

from __future__ import annotations

from portal.usage import budget_admin, metering_admin

__all__ = ["budget_admin", "metering_admin"]
