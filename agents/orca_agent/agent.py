"""The agent as a whole: how it starts, follows what is wanted, and leaves."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Callable, Final, Mapping, Optional, Set, TypeVar

from agents.orca_agent import recovery, release
from agents.orca_agent.account import Account
from agents.orca_agent.cloud.access import Cloud
from agents.orca_agent.cloud.client import backoff
from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.fields import Malformed
from agents.orca_agent.instance import Instance
from agents.orca_agent.journal import Journal
from agents.orca_agent.layout import Layout
from agents.orca_agent.orders import Desired, Release
from agents.orca_agent.parts import Parts
from agents.orca_agent.settings import CONTROL_KEY, Place, Settings
from agents.orca_agent.steps import kernel
from agents.orca_agent.steps.container import Containers
from agents.orca_agent.steps.engine import socket_path

log = logging.getLogger(__name__)

T = TypeVar("T")

USER: Final = "analyst"
STOP_GRACE: Final = 10.0
LONGEST_START_PAUSE: Final = 2.0
BUSY_FOR_UPDATE: Final = 600.0


class Stopped(Exception):
    """The agent was told to stop before it had started."""


class Agent:
    """Runs in the calling thread until `stop` is called, by a signal's handler or another thread."""

    def __init__(self, layout: Layout, environment: Mapping[str, str], *, user: str = USER) -> None:
        self._layout = layout
        self._environment = environment
        self._user = user
        self._woken = threading.Condition()
        self._stopping = False
        self._update: Optional[Release] = None
        self._refused: Set[str] = set()
        self._version = release.running_version()

    def stop(self) -> None:
        with self._woken:
            self._stopping = True
            self._woken.notify_all()

    def run(self) -> Optional[Path]:
        """Until stopped: None; or until another release is to take over: its folder."""
        layout = self._layout
        layout.create()
        place = Place.read(layout.settings)
        account = Account.find(self._user, layout.home)
        account.ensure_home()
        kernel.become_subreaper()
        kernel.permit_priority()
        kernel.take_priority()
        journal = Journal(layout.journal)
        containers = Containers(lambda: socket_path(self._environment, layout.root), layout)
        containers.clean_up()
        leftovers = recovery.end_leftovers(journal, layout)
        cloud = Cloud.of_environment(place.region, place.bucket, self._environment)
        bucket = cloud.bucket()
        try:
            instance = self._until(lambda: Instance.find(cloud.metadata, self._environment))
            settings = self._until(lambda: Settings.parse(bucket.get(CONTROL_KEY, attempts=1).body, place))
        except Stopped:
            return None
        parts = Parts(
            layout=layout,
            account=account,
            cloud=cloud,
            instance=instance,
            settings=settings,
            journal=journal,
            environment=self._environment,
            containers=containers,
        )
        recovery.return_messages(leftovers, journal, parts.tasks, parts.ended, parts.reporter.emit)
        parts.start(self._version, lambda desired: self._apply(parts, desired))
        if self._version != release.DEVELOPMENT:
            release.remove_others(layout.releases, self._version)
        return self._follow(parts)

    def _until(self, attempt: Callable[[], T]) -> T:
        """Again and again: role, bucket and object appear while the instance is already there."""
        failures = 0
        while True:
            try:
                return attempt()
            except (CloudError, Malformed) as error:
                failures += 1
                if failures in {1, 30} or failures % 300 == 0:
                    log.info("not ready yet: %s", error)
            with self._woken:
                if self._woken.wait_for(lambda: self._stopping, backoff(failures, LONGEST_START_PAUSE)):
                    raise Stopped

    def _apply(self, parts: Parts, desired: Desired) -> None:
        """Make it so; called in a thread of its own, and again if it raises."""
        parts.apply(desired)
        wanted = desired.agent
        if wanted is None or self._version in (release.DEVELOPMENT, wanted.sha256):
            return
        if wanted.sha256 not in self._refused:
            with self._woken:
                self._update = wanted
                self._woken.notify_all()

    def _follow(self, parts: Parts) -> Optional[Path]:
        while True:
            with self._woken:
                self._woken.wait_for(lambda: self._stopping or self._update is not None)
                stopping, wanted = self._stopping, self._update
                self._update = None
            if stopping or wanted is None:
                parts.leave(STOP_GRACE, at_once=True)
                return None
            try:
                folder = release.fetch(wanted, self._layout.releases, parts.bucket)
            except release.ReleaseError as error:
                log.error("the agent stays as it is: %s", error)
                self._refused.add(wanted.sha256)
                continue
            if self._wait_for_quiet(parts):
                parts.leave(0.0, at_once=False)
                return folder

    def _wait_for_quiet(self, parts: Parts) -> bool:
        """Until no step is in hand and none can come; False when the agent is stopped meanwhile."""
        until = time.monotonic() + BUSY_FOR_UPDATE
        while not self._stopping:
            if time.monotonic() > until or parts.work.wait_idle(1.0):
                parts.work.stop_accepting()
                if parts.work.wait_idle(1.0):
                    return True
                if time.monotonic() < until:
                    parts.work.resume_accepting()
        return False
