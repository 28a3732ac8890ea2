"""What things cost, and what was used."""

from __future__ import annotations
