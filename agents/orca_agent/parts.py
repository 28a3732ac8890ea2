"""What a running agent is made of, and how its parts are started and stopped together."""

from __future__ import annotations

import logging
import time
from typing import Callable, Final, Mapping

from agents.orca_agent import authorized_keys
from agents.orca_agent.account import Account
from agents.orca_agent.cloud.access import Cloud
from agents.orca_agent.desired import DesiredState
from agents.orca_agent.ended import Ended
from agents.orca_agent.events import InstanceStopping
from agents.orca_agent.ids import new_id
from agents.orca_agent.instance import Instance
from agents.orca_agent.intake import Intake
from agents.orca_agent.journal import Journal
from agents.orca_agent.keeper import Keeper
from agents.orca_agent.layout import Layout
from agents.orca_agent.lease import Lease
from agents.orca_agent.orders import Desired
from agents.orca_agent.protocol import sign_payload
from agents.orca_agent.reporter import Reporter
from agents.orca_agent.settings import Settings, passed_on
from agents.orca_agent.spool import Spool
from agents.orca_agent.steps.bundle import BundleStore
from agents.orca_agent.steps.command import base_environment
from agents.orca_agent.steps.container import Containers
from agents.orca_agent.steps.container_registry import Registry
from agents.orca_agent.steps.environments import EnvironmentStore
from agents.orca_agent.steps.secret_values import SecretValues
from agents.orca_agent.steps.surroundings import Surroundings
from agents.orca_agent.steps.warm_server import WarmServer
from agents.orca_agent.work import Work

log = logging.getLogger(__name__)

LAST_WORDS: Final = 5.0
KILL_TIME: Final = 15.0


class Parts:
    """All threads of the agent but the first."""

    def __init__(
        self,
        *,
        layout: Layout,
        account: Account,
        cloud: Cloud,
        instance: Instance,
        settings: Settings,
        journal: Journal,
        environment: Mapping[str, str],
        containers: Containers,
    ) -> None:
        self._layout = layout
        self._account = account
        self._instance = instance
        self._settings = settings
        self.bucket = cloud.bucket()
        self.tasks = cloud.queue(settings.tasks_queue, cloud.transport)
        events = cloud.queue(settings.events_queue_url, cloud.transport)
        self.reporter = Reporter(
            Spool(layout.journal),
            sign=lambda texts: sign_payload(
                settings.workspace, instance.id, texts, settings.signing_key, sent_at=time.time()
            ),
            send=events.send,
            heartbeat=lambda: instance.heartbeat(layout, settings.slots, self.work.running(), containers.state()),
        )
        self.warm = WarmServer(account, base_environment(account, {}))
        environments = EnvironmentStore(layout.environments, account)
        environments.remove_unfinished()
        if settings.registry:
            tokens = cloud.registry()
            containers.registry = Registry(settings.registry, tokens.get, tokens.forget)
        self.ended = Ended(layout.journal)
        around = Surroundings(
            layout=layout,
            account=account,
            bucket=self.bucket,
            bucket_name=settings.bucket,
            links=cloud.links(),
            secrets=SecretValues(cloud.secrets(settings.workspace)),
            bundles=BundleStore(layout.bundles, self.bucket),
            environments=environments,
            containers=containers,
            warm=self.warm,
            emit=self.reporter.emit,
            ended=self.ended,
            boot_id=instance.boot_id,
            slots=settings.slots,
            passed_on=passed_on(environment),
        )
        self.work = Work(
            around,
            self.tasks,
            journal,
            workspace=settings.workspace,
            instance=instance.id,
            changed=self.reporter.beat,
        )
        polled = cloud.queue(settings.tasks_queue, cloud.polling)
        self.intake = Intake(polled, self.work, cloud.polling.abort)
        self.lease = Lease(lambda: self.work.idle)
        self.keeper = Keeper(self.work, layout, self.warm, look=self.lease.look)

    def start(self, version: str, apply: Callable[[Desired], object]) -> None:
        self.reporter.emit(self._instance.registered(self._layout, self._settings.slots, version))
        self.intake.start()
        self.reporter.start()
        self.desired = DesiredState(self.bucket, apply)
        self.desired.start()
        self.keeper.start()
        self.warm.open()

    def apply(self, desired: Desired) -> None:
        """Bring keys, cancellations and draining in line. Raises ``OSError``."""
        self.lease.renew(desired.generation, desired.lease)
        self.work.cancel(frozenset(desired.cancelled))
        if desired.draining or self._instance.id in desired.leaving:
            self.work.stop_accepting()
        else:
            self.work.resume_accepting()
        authorized_keys.write(self._layout.home, desired.authorized_keys, self._account)

    def leave(self, grace: float, *, at_once: bool) -> None:
        """Give back what has not started, let the rest end within ``grace`` seconds, send the last events.

        ``at_once`` does not wait for the end of a long poll.
        """
        self.work.leaving.set()
        self.desired.close()
        returned = self.work.stop_accepting()
        self.intake.close(at_once=at_once)
        self._say_stopping(returned)
        if not self.work.wait_idle(grace):
            self._say_stopping(self.work.hand_back_running(0.0))
            self.work.wait_idle(KILL_TIME)
        self.keeper.close()
        if not self.reporter.close(LAST_WORDS):
            log.warning("some events wait for the next start")
        self.warm.close()

    def _say_stopping(self, returned: list[str]) -> None:
        now = time.time()
        self.reporter.emit(InstanceStopping(new_id(now), now, self._instance.boot_id, tuple(returned)))
