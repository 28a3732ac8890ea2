"""A link, and a role in somebody's account as AWS would show it, on paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from portal.accounts.models import User
from portal.clouds import links
from portal.clouds.models import CloudAccount
from portal.core.errors import CloudFault
from portal.gateways import aws_linked
from portal.gateways.aws import Account

NUMBER = "222222222222"


@dataclass
class Role:
    """What the role in the account does: whom it lets in, and what it is not allowed."""

    lets_in: set[str] = field(default_factory=set)
    open_to_all: bool = False
    without: set[str] = field(default_factory=set)
    may_ask: bool = True
    boundary: bool = True
    network: bool = True
    answers: bool = True
    admitted: list[set[str]] = field(default_factory=list)

    def assume(self, role_arn: str, external_id: str | None) -> bool:
        if not self.answers:
            raise CloudFault("The cloud did not answer.", code="cloud_unreachable", retryable=True)
        return self.open_to_all or external_id in self.lets_in

    def strangers(self, role_arn: str) -> tuple[bool, bool]:
        return self.open_to_all, self.open_to_all

    def denied(
        self, account: Account, actions: Sequence[str], resources: Sequence[str], context: Mapping[str, str]
    ) -> list[aws_linked.Denied]:
        if not self.may_ask:
            raise CloudFault("Not allowed.", code="cloud_denied")
        return [aws_linked.Denied(action, resources[0]) for action in actions if action in self.without]


@pytest.fixture
def role(monkeypatch: pytest.MonkeyPatch, cloud_account: CloudAccount) -> Iterator[Role]:
    """The role that a link finds in the account; lets nobody in until a test says so."""
    found = Role()
    monkeypatch.setattr(aws_linked, "role_lets_in", found.assume)
    monkeypatch.setattr(aws_linked, "role_lets_strangers_in", found.strangers)
    monkeypatch.setattr(aws_linked, "whoami", lambda account: account.number)
    monkeypatch.setattr(aws_linked, "denied", found.denied)
    monkeypatch.setattr(aws_linked, "boundary_is_there", lambda account: found.boundary)
    monkeypatch.setattr(aws_linked, "has_default_network", lambda account: found.network)
    monkeypatch.setattr(aws_linked, "instances_admit", lambda numbers: found.admitted.append(set(numbers)))
    yield found


@pytest.fixture
def begun(owner: User, role: Role) -> CloudAccount:
    """A link whose role is still to be made."""
    return links.link_start(owner=owner, name="Mine")


@pytest.fixture
def linked(begun: CloudAccount, role: Role, owner: User) -> CloudAccount:
    """A link that works."""
    role.lets_in.add(begun.external_id)
    return links.link_check(account=begun, by=owner, role=NUMBER)
