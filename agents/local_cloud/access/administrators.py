"""The first administrator of each account, and the files that tell Orca their keys."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from agents.local_cloud.access.callers import iam
from agents.local_cloud.accounts import ACCOUNTS, ADMINISTRATOR

_ALLOW_ALL = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


def ensure_administrators(data: Path, region: str) -> bool:
    """Make what is missing: an administrator with one access key in every account, and the two files (0600).

    True if an account has changed.
    """
    changed = False
    keys: dict[str, dict[str, str]] = {}
    for account_id in ACCOUNTS.values():
        backend = iam(account_id)
        if ADMINISTRATOR not in backend.users:
            backend.create_user(region, ADMINISTRATOR, "/", [])
            backend.put_user_policy(ADMINISTRATOR, "administrator", _ALLOW_ALL)
            changed = True
        user = backend.users[ADMINISTRATOR]
        if not user.access_keys:
            made = backend.create_access_key(ADMINISTRATOR, "AKIA")
            # moto's random numbers are for tests; this key opens everything.
            made.secret_access_key = secrets.token_urlsafe(30)
            changed = True
        key = user.access_keys[0]
        keys[account_id] = {
            "access_key_id": key.access_key_id,
            "secret_access_key": key.secret_access_key,
        }
    write_private(data / "credentials.json", json.dumps({"accounts": keys, "region": region}, indent=2) + "\n")
    profiles = [
        f"[{profile}]\naws_access_key_id = {keys[account]['access_key_id']}\n"
        f"aws_secret_access_key = {keys[account]['secret_access_key']}\nregion = {region}\n"
        for profile, account in ACCOUNTS.items()
    ]
    write_private(data / "credentials", "\n".join(profiles))
    return changed


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` in one step by a file that only its owner can read."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)
