"""The environment of a test run, set before Django reads its settings: a home of its own, and no cloud at hand."""

from __future__ import annotations

import os
import tempfile

HOME = tempfile.mkdtemp(prefix="orca-tests-")

os.environ.update(
    ORCA_HOME=HOME,
    ORCA_ENV_FILE="/nonexistent",
    SECRET_KEY="only-for-tests-" + "x" * 40,
    AWS_DEFAULT_REGION="eu-central-1",
    AWS_EC2_METADATA_DISABLED="true",
    EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend",
    ORCA_BROKER_URL="memory://",
)
for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_SESSION_TOKEN", "ORCA_REDIS_URL"):
    os.environ.pop(name, None)
# This machine's engine is not for tests: those that need one start it (`tests.fixtures.engine`).
os.environ["ORCA_DOCKER_HOST"] = "unix:///nonexistent/docker.sock"
os.environ.setdefault("DATABASE_URL", f"sqlite:///{HOME}/orca.sqlite3")
