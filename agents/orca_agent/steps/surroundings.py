"""What all steps of an instance share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Mapping, Optional

from agents.orca_agent.account import Account
from agents.orca_agent.cloud.bucket import Bucket, Links
from agents.orca_agent.ended import Ended
from agents.orca_agent.events import Event
from agents.orca_agent.layout import Layout
from agents.orca_agent.pace import Pace
from agents.orca_agent.steps.bundle import BundleStore
from agents.orca_agent.steps.container import Containers
from agents.orca_agent.steps.environments import EnvironmentStore
from agents.orca_agent.steps.process import WarmStarter
from agents.orca_agent.steps.secret_values import SecretValues
from agents.orca_agent.steps.traffic import Traffic


@dataclass(frozen=True)
class Surroundings:
    """``unclaimed`` is what came from the own bucket for steps that began elsewhere after all.

    It is no data out, so the next step that ends here tells of it, too.
    """

    layout: Layout
    account: Account
    bucket: Bucket
    bucket_name: str
    links: Links
    secrets: SecretValues
    bundles: BundleStore
    environments: EnvironmentStore
    containers: Containers
    warm: Optional[WarmStarter]
    emit: Callable[[Event], object]
    ended: Ended
    boot_id: str
    slots: int
    passed_on: Mapping[str, str]
    pace: Pace = field(default_factory=Pace)
    unclaimed: Traffic = field(default_factory=Traffic)
