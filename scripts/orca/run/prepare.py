"""``python -m scripts.orca.run.prepare``: database, static files, first administrator, Orca's part of the cloud.

Runs in a process of its own with the portal's environment, one for all of it because loading Django costs more
than the work. Prints a line of JSON when the database is ready, ``{"administrator": address or null}``: the address
is that of an administrator who was made just now, with the password in ``ORCA_FIRST_PASSWORD``. Ends when the cloud
is ready, too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

import django
from django.conf import settings
from django.core.management import CommandError, call_command

from scripts.orca.run.ready import listens

ADMINISTRATOR = "admin@orca.local"
_CLOUD_WITHIN = 300
# What packages bring for pages that Orca does not have.
_STATIC_UNUSED = ["redoc", "rest_framework"]


def main() -> None:
    reader = argparse.ArgumentParser(prog="python -m scripts.orca.run.prepare")
    reader.add_argument("--database", action="store_true", help="migrate, collect static files, make an administrator")
    reader.add_argument("--cloud-port", type=int, default=0, help="wait for the embedded cloud on this port")
    given = reader.parse_args()
    django.setup()
    made = _database_prepare() if given.database else None
    print(json.dumps({"administrator": made}), flush=True)
    if given.cloud_port:
        _cloud_await(given.cloud_port)
    try:
        call_command("platform_ensure", stdout=sys.stderr)
    except CommandError as error:
        sys.exit(str(error))


def _database_prepare() -> str | None:
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=_STATIC_UNUSED)
    return _administrator_ensure(os.environ.get("ORCA_FIRST_PASSWORD", ""))


def _administrator_ensure(password: str) -> str | None:
    from portal.accounts.models import User  # only after django.setup()

    if not password or User.objects.filter(is_superuser=True).exists():
        return None
    return User.objects.create_superuser(ADMINISTRATOR, password).email


def _cloud_await(port: int) -> None:
    deadline = time.monotonic() + _CLOUD_WITHIN
    while not listens(port):
        if time.monotonic() > deadline:
            raise SystemExit(f"The embedded cloud does not answer on port {port}.")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
