"""The desired state is applied when it has changed, and until it could be."""

from __future__ import annotations

import pytest

from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.desired import DesiredState
from agents.orca_agent.fields import Malformed
from agents.orca_agent.orders import Desired, desired_body
from agents.orca_agent.settings import DESIRED_KEY
from tests.unit.agents.orca_agent.doubles import MemoryBucket


class Followed:
    def __init__(self) -> None:
        self.bucket = MemoryBucket()
        self.applied: list[int] = []
        self.fail = False
        self.state = DesiredState(self.bucket, self.apply)

    def apply(self, desired: Desired) -> None:
        if self.fail:
            raise OSError("disk full")
        self.applied.append(desired.generation)

    def want(self, generation: int) -> None:
        self.bucket.objects[DESIRED_KEY] = desired_body(Desired(generation))


@pytest.fixture
def followed() -> Followed:
    return Followed()


def test_nothing_is_wanted_yet(followed: Followed) -> None:
    followed.state.poll()
    assert followed.applied == []


def test_each_state_is_applied_once(followed: Followed) -> None:
    for generation in (1, 1, 2, 2):
        followed.want(generation)
        followed.state.poll()
    assert followed.applied == [1, 2]


def test_what_could_not_be_applied_is_tried_again(followed: Followed) -> None:
    followed.want(1)
    followed.fail = True
    with pytest.raises(OSError, match="disk full"):
        followed.state.poll()
    followed.fail = False
    followed.state.poll()
    assert followed.applied == [1]


def test_a_broken_state_changes_nothing(followed: Followed) -> None:
    followed.want(1)
    followed.state.poll()
    followed.bucket.objects[DESIRED_KEY] = b"{"
    with pytest.raises(Malformed):
        followed.state.poll()
    followed.bucket.fail.add(DESIRED_KEY)
    with pytest.raises(CloudError):
        followed.state.poll()
    assert followed.applied == [1]
