"""The accounts of the local cloud, and the few names that every part of it agrees on."""

from __future__ import annotations

PLATFORM_ACCOUNT = "100000000001"
SECOND_ACCOUNT = "200000000002"

#: AWS profile name of each account, as written to ``DATA/credentials``.
ACCOUNTS = {"platform": PLATFORM_ACCOUNT, "second": SECOND_ACCOUNT}

PARTITION = "aws"
DEFAULT_REGION = "eu-central-1"
ADMINISTRATOR = "administrator"
