"""``manage.py relay``: hear what instances report, and apply it. Any number may run side by side."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from portal.pipelines.relay import Relay

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Long-poll the events queue and apply what instances report."

    def handle(self, *args: Any, **options: Any) -> None:
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        Relay(stopping).run()
