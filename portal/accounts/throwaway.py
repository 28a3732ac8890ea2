"""Addresses that are made to be thrown away."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from disposable_email_domains import blocklist
from django.conf import settings


def is_throwaway(email: str) -> bool:
    """Whether the address is of a domain, or below one, that hands out addresses to throw away."""
    domain = email.rpartition("@")[2].lower().rstrip(".")
    labels = domain.split(".")
    parents = {".".join(labels[at:]) for at in range(len(labels) - 1)}
    known = frozenset() if settings.MAIL_THROWAWAY else blocklist
    return not parents.isdisjoint(known) or not parents.isdisjoint(_listed(settings.MAIL_BLOCKLIST))


@lru_cache(maxsize=1)
def _listed(path: str) -> frozenset[str]:
    """The domains in the operator's file, one in a line; ``#`` begins a comment. Read once."""
    if not path:
        return frozenset()
    lines = (line.partition("#")[0].strip().lower() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line)
