"""``scripts/test``: the portal's tests on MariaDB, then every test on SQLite; with arguments, just pytest.

What pytest says about the whole suite comes last.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys

from scripts.orca.console import ScriptError, complain, say
from scripts.orca.mariadb import mariadb
from scripts.orca.paths import PYTHON, ROOT

_ON_MARIADB = "tests/unit/portal"
# One more than the processors of a small machine: much of the time is spent waiting, for Terraform above all.
_SIDE_BY_SIDE = ("-n", "3", "--dist", "loadgroup", "-p", "scripts.orca.side_by_side")


def environment() -> dict[str, str]:
    """This process's environment without anything that leads to a real account, an Orca that runs, or its key."""
    foreign = ("AWS_", "ORCA_REDIS_URL", "ORCA_BROKER_URL", "DATABASE_URL", "DJANGO_SETTINGS_MODULE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    for name in ("AWS_CA_BUNDLE",):
        if name in os.environ:
            kept[name] = os.environ[name]
    return kept | {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "ORCA_ENV_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }


def pytest(*arguments: str, **variables: str) -> int:
    """Runs pytest and returns its exit code; Ctrl-C is pytest's to handle."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        command = [str(PYTHON), "-m", "pytest", *arguments]
        started = subprocess.Popen(command, cwd=ROOT, env=environment() | variables, stdin=subprocess.DEVNULL)
        return started.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def main(arguments: list[str]) -> int:
    if arguments:
        return pytest(*arguments)
    try:
        with mariadb() as address:
            say("\nThe portal's tests on MariaDB")
            first = pytest("-q", *_SIDE_BY_SIDE, _ON_MARIADB, DATABASE_URL=address)
    except ScriptError as error:
        complain(error)
        return 1
    except KeyboardInterrupt:
        return 130
    if first > 1:  # pytest itself failed, or somebody interrupted it
        return first
    say("\nAll tests" + ("" if first == 0 else " (tests FAILED on MariaDB, see above)"))
    return pytest("-q", *_SIDE_BY_SIDE) or first


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
