"""An instance whose portal has vanished stops itself, unless it has something to do."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from agents.orca_agent.lease import DEFAULT, Lease
from agents.orca_agent.orders import Desired, desired_body, parse_desired


@dataclass
class Scene:
    now: float = 1_000.0
    idle: bool = True
    shutdowns: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lease = Lease(lambda: self.idle, shut_down=lambda: self.shutdowns.append(self.now), clock=lambda: self.now)

    def after(self, seconds: float) -> bool:
        self.now += seconds
        return self.lease.look()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_silence_ends_in_a_shutdown(scene: Scene) -> None:
    scene.lease.renew(1, 60)
    assert not scene.after(59)
    assert scene.after(1)
    assert scene.shutdowns == [1_060.0]


def test_each_new_generation_renews(scene: Scene) -> None:
    for generation in range(1, 5):
        scene.lease.renew(generation, 60)
        assert not scene.after(50)


def test_the_same_generation_read_again_is_no_sign_of_life(scene: Scene) -> None:
    scene.lease.renew(1, 60)
    scene.now += 50
    scene.lease.renew(1, 60)
    assert scene.after(10)


def test_what_runs_is_left_to_run_and_then_has_as_long_again(scene: Scene) -> None:
    scene.lease.renew(1, 60)
    scene.idle = False
    assert not scene.after(1_000)
    scene.idle = True
    assert not scene.after(59)
    assert scene.after(1)


def test_one_that_never_heard_of_it_waits_for_a_day(scene: Scene) -> None:
    assert not scene.after(DEFAULT - 1)
    assert scene.after(1)


def test_a_shutdown_that_fails_is_tried_again(scene: Scene) -> None:
    scene.lease.renew(1, 60)
    assert scene.after(60)
    assert not scene.after(30)
    assert scene.after(30)


def test_the_portal_says_how_long() -> None:
    assert parse_desired(desired_body(Desired(7, lease=3_600))).lease == 3_600
    assert parse_desired(b'{"generation": 7}').lease == 0
