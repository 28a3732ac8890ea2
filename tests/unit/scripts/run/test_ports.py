"""A port that somebody holds is named together with who holds it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from scripts.orca.console import ScriptError
from scripts.orca.run.ports import is_free, listener, port_require, ssh_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_taken_port_is_refused_with_its_holder_and_the_way_out(taken: int) -> None:
    with pytest.raises(ScriptError) as refused:
        port_require("127.0.0.1", taken, "--cloud-port")
    assert f"Port {taken} on 127.0.0.1 is taken" in refused.value.message
    assert f"(process {os.getpid()})" in refused.value.message
    assert f"scripts/run --cloud-port {taken + 1}" in refused.value.hint


def test_a_port_that_was_let_go_is_free(taken: int) -> None:
    assert not is_free("127.0.0.1", taken)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    assert is_free("127.0.0.1", port)
    assert listener(port) == ""
    port_require("127.0.0.1", port, "--port")


def test_instances_get_the_usual_port_only_where_it_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.orca.run.ports.is_free", lambda host, port: False)
    assert ssh_port() == 2222
    monkeypatch.setattr("scripts.orca.run.ports.is_free", lambda host, port: True)
    assert ssh_port() == 22
