"""What the environment says, read once, refused loudly when it cannot be used.

Every variable that Orca reads is named in this file, with its type and its default; ``docs/settings.md`` says the same
in prose. A value in the file that ``ORCA_ENV_FILE`` names (default ``var/orca.env``) counts where the process's own
environment is silent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from portal.core import money

BASE_DIR = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("ORCA_HOME", BASE_DIR / "var")).resolve()

_env = environ.Env()
_file = Path(os.environ.get("ORCA_ENV_FILE", HOME / "orca.env"))
if _file.is_file():
    environ.Env.read_env(_file)


def _read(reader: Callable[..., Any], name: str, expected: str, default: Any) -> Any:
    try:
        return reader(name) if default is environ.Env.NOTSET else reader(name, default=default)
    except (ValueError, ImproperlyConfigured) as error:
        given = os.environ.get(name)
        said = "is not set" if given is None else f"is {given!r}"
        raise ImproperlyConfigured(f"{name} {said}: it must be {expected}.") from error


def text(name: str, default: Any = environ.Env.NOTSET) -> str:
    """A string; without a default it must be set."""
    return str(_read(_env.str, name, "a text", default))


def number(name: str, default: int, *, least: int = 0, most: int = 2**31) -> int:
    """A whole number between ``least`` and ``most``."""
    expected = f"a whole number from {least} to {most}"
    value = int(_read(_env.int, name, expected, default))
    if not least <= value <= most:
        raise ImproperlyConfigured(f"{name} is {value}: it must be {expected}.")
    return value


def decimal(name: str, default: str, *, least: int = 0, most: int = 2**31) -> Decimal:
    """A number, perhaps with a fraction, between ``least`` and ``most``."""
    value, expected = text(name, default), f"a number from {least} to {most}"
    try:
        found = Decimal(value)
    except InvalidOperation as error:
        raise ImproperlyConfigured(f"{name} is {value!r}: it must be {expected}.") from error
    if not found.is_finite() or not least <= found <= most:
        raise ImproperlyConfigured(f"{name} is {value!r}: it must be {expected}.")
    return found


def switch(name: str, default: bool) -> bool:
    """A yes or no. Anything but the usual spellings is refused rather than taken for a no."""
    given = os.environ.get(name)
    if given is not None and given.lower() not in {"1", "0", "true", "false", "yes", "no", "on", "off"}:
        raise ImproperlyConfigured(f"{name} is {given!r}: it must be true or false.")
    return bool(_read(_env.bool, name, "true or false", default))


def words(name: str, default: list[str]) -> list[str]:
    """A comma-separated list."""
    return list(_read(_env.list, name, "a comma-separated list", default))


def rate(name: str, default: str) -> str:
    """So many in a second, minute, hour or day: ``30/min``."""
    value = text(name, default)
    if not re.fullmatch(r"[1-9][0-9]*/(s|sec|second|m|min|minute|h|hour|d|day)", value):
        raise ImproperlyConfigured(f"{name} is {value!r}: it must be a number and a time, such as 30/min.")
    return value


def dollars(name: str, default: str = "") -> int | None:
    """An amount of money, ``12.50``, in nano-dollars; None where there is none."""
    given = text(name, default).strip()
    if not given:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", given):
        raise ImproperlyConfigured(f"{name} is {given!r}: it must be an amount of dollars, such as 12.50.")
    return money.nano_of(given)


def database(name: str, default: str) -> dict[str, Any]:
    """A database address as Django's settings want it: ``sqlite:///path`` or ``mysql://user:password@host/name``."""
    found: dict[str, Any] = _read(_env.db_url, name, "a database address (mysql://user:secret@host/orca)", default)
    engine = found["ENGINE"]
    if engine.endswith("sqlite3"):
        found["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
        }
        found["CONN_MAX_AGE"] = 60  # to open one costs as much as ten queries: SQLite reads the whole schema anew
    elif engine.endswith("mysql"):
        found["OPTIONS"] = {
            "charset": "utf8mb4",
            "isolation_level": "read committed",
            "init_command": "SET sql_mode='STRICT_TRANS_TABLES'",
        }
        found["CONN_MAX_AGE"] = 60
        found["CONN_HEALTH_CHECKS"] = True
        found["TEST"] = {"CHARSET": "utf8mb4"}
    else:
        raise ImproperlyConfigured(f"{name} names {engine}: Orca runs on SQLite and MySQL (MariaDB).")
    return found
