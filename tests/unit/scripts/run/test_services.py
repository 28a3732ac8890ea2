"""The processes and supervisor's configuration of them."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

import pytest

from scripts.orca.run import services
from scripts.orca.run.services import Service, supervisor_configuration, terraform_count


@pytest.mark.parametrize(("free_gib", "workers"), [(0.5, 1), (3.1, 2), (5, 3), (64, 4)])
def test_terraform_runs_side_by_side_are_bounded_by_memory(
    free_gib: float, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 99 kB\nMemAvailable:   {int(free_gib * 1024**2)} kB\n")
    monkeypatch.setattr(services, "_MEMINFO", meminfo)
    assert terraform_count() == workers


def test_whatever_is_in_a_path_reaches_the_command(tmp_path: Path) -> None:
    odd = ("/opt/100% of it/python", "-c", "print('a b')")
    text = supervisor_configuration([Service("odd", odd), Service("next", ("true",))], tmp_path)
    read = configparser.ConfigParser(interpolation=None)
    read.read_string(text)
    # Supervisor expands %% to % before it splits.
    command = shlex.split(read["program:odd"]["command"].replace("%%", "%"))
    assert command[-3:] == list(odd)


def test_services_stop_in_the_reverse_order_and_always_come_back(tmp_path: Path) -> None:
    read = configparser.ConfigParser(interpolation=None)
    read.read_string(supervisor_configuration([Service("first", ("a",)), Service("second", ("b",), 33)], tmp_path))
    assert int(read["program:first"]["priority"]) < int(read["program:second"]["priority"])
    assert read["program:second"]["stopwaitsecs"] == "33"
    assert {read[f"program:{name}"]["autorestart"] for name in ("first", "second")} == {"true"}
