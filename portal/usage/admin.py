"""Django's admin over prices, usage and grants."""

from __future__ import annotations
