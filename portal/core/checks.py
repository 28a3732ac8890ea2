"""What Orca asks of its surroundings, said by ``manage.py check --database default`` and before every migration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections


@register(Tags.database)
def database_takes_all_characters(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """MySQL makes tables in its database's character set, and MariaDB's is latin1 unless one says otherwise."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor != "mysql":
            continue
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@character_set_database")
            charset = cursor.fetchone()[0]
        if charset != "utf8mb4":
            found.append(
                Error(
                    f"The database keeps text as {charset}, which has no place for most of the world's characters.",
                    hint="ALTER DATABASE … CHARACTER SET utf8mb4; then migrate into it afresh.",
                    id="orca.E001",
                )
            )
    return found
