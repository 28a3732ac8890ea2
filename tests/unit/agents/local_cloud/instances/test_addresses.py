"""Addresses are for life, differ, and are given on when an instance has gone."""

from __future__ import annotations

from pathlib import Path

from agents.local_cloud.instances.addresses import Addresses


def test_an_instance_keeps_its_place_over_a_restart(tmp_path: Path) -> None:
    first = Addresses(tmp_path)
    places = [first.place(f"i-{number}") for number in range(300)]
    assert len({place.address for place in places}) == len({place.user_id for place in places}) == 300
    assert all(place.address.startswith("127.") for place in places)
    again = Addresses(tmp_path)
    assert [again.place(f"i-{number}") for number in range(300)] == places


def test_a_place_is_free_again_after_termination(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path)
    one, two = addresses.place("i-1"), addresses.place("i-2")
    addresses.release("i-1")
    assert addresses.place("i-3") == one
    assert addresses.place("i-2") == two


def test_two_clouds_on_one_machine_do_not_meet(tmp_path: Path) -> None:
    octets = {Addresses(tmp_path / str(number)).place("i-1").address.split(".")[1] for number in range(20)}
    assert len(octets) > 10
    assert all(16 <= int(octet) < 240 for octet in octets)
