"""``manage.py platform_ensure``: make what Orca itself needs in its own cloud account."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal.clouds.services import platform_ensure
from portal.core.errors import OrcaError


class Command(BaseCommand):
    help = "Make Orca's own buckets, events queue and role, publish the agent, and record the account."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            account = platform_ensure(archive=settings.AGENT_ARCHIVE)
        except OrcaError as error:
            raise CommandError(f"{error.message} {error.hint}".strip()) from error
        self.stdout.write(f"Orca's account is ready: {account}")
