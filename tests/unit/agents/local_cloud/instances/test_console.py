"""A console keeps the newest of what was said, however much there was, while somebody goes on writing."""

from __future__ import annotations

import os
from pathlib import Path

from agents.local_cloud.instances.console import KEPT_BYTES, SHOWN_BYTES, Console


def test_lines_of_the_cloud_and_of_the_instance_stand_in_order(tmp_path: Path) -> None:
    console = Console(tmp_path / "deep" / "console.log")
    assert console.newest() == ""
    console.say("booting")
    descriptor = console.open()
    os.write(descriptor, b"hello\n")
    os.close(descriptor)
    console.say("down")
    lines = console.newest().splitlines()
    assert [line.rpartition("] ")[2] for line in lines] == ["booting", "hello", "down"]


def test_a_long_console_is_cut_and_its_writer_goes_on(tmp_path: Path) -> None:
    console = Console(tmp_path / "console.log")
    descriptor = console.open()
    for number in range(KEPT_BYTES // 16 + 10):
        os.write(descriptor, b"%015d\n" % number)
    console.cut()
    assert (tmp_path / "console.log").stat().st_size <= KEPT_BYTES // 2
    os.write(descriptor, b"the newest\n")
    os.close(descriptor)
    shown = console.newest()
    assert shown.endswith("the newest\n")
    assert len(shown) <= SHOWN_BYTES
    assert "\0" not in shown
