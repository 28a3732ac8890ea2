"""The audit trail: who did what to which thing, when, from where.

States change by conditional UPDATEs, which no ``save`` sees; so services say themselves what was done. The request's
address comes from auditlog's middleware.
"""

from __future__ import annotations

from typing import Any

from auditlog.models import LogEntry
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Model


def audit(what: str, on: Model, *, by: AbstractBaseUser | None, **details: Any) -> None:
    """Note that ``by`` (nobody: Orca itself) did ``what`` (``workspace.stop``) to ``on``. Never pass a secret."""
    LogEntry.objects.log_create(
        on,
        force_log=True,
        action=LogEntry.Action.UPDATE,
        actor=by,
        changes={},
        additional_data={"what": what, **details},
    )
