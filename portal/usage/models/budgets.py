"""What may be spent, and what is set aside for what runs."""

from __future__ import annotations
