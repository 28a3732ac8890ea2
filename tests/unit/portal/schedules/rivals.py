"""A process that fires what is due, with others beside it: ``python -m tests.unit.portal.schedules.rivals database``.

It says ``ready``, begins with the line that it is then given, and says how many slots it fired. As ``beat`` it is a
beat without a broker: each tick fires what is due.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any


def main(mode: str, seconds: float) -> int:
    import django

    django.setup()
    from django.db import OperationalError

    from portal.celery import app
    from portal.schedules import firing
    from portal.schedules.beat import Scheduler

    if mode == "beat":
        app.send_task = lambda *args, **given: None  # type: ignore[method-assign,assignment]
        scheduler: Any = Scheduler(app=app)
    print("ready", flush=True)
    sys.stdin.readline()
    fired, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if mode == "beat":
                if scheduler.tenure.held() and scheduler._ask() < 1.0:
                    fired += firing.schedules_fire()
            else:
                fired += firing.schedules_fire()
        except OperationalError as error:
            print(f"busy: {error}", file=sys.stderr)
        time.sleep(0.05)
    print(fired, flush=True)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
