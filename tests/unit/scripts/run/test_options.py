"""The command line of `scripts/run`."""

from __future__ import annotations

import pytest

from scripts.orca.run.options import parse


def test_nothing_given_is_the_embedded_cloud_on_the_loopback() -> None:
    found = parse([])
    assert (found.host, found.port, found.cloud, found.cloud_port) == ("127.0.0.1", 8000, "local", 5566)
    assert found.demo is None


def test_demo_without_a_name_is_the_newcomer() -> None:
    assert parse(["--demo", "--exit"]).demo == "newcomer"


def test_the_environment_counts_until_an_option_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCA_PORT", "9001")
    assert parse([]).port == 9001
    assert parse(["--port", "9002"]).port == 9002


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "0"], "'0' is no port"),
        (["--cloud-port", "seventy"], "'seventy' is no port"),
        (["--exit"], "--exit goes with --demo"),
        (["--cloud", "azure"], "invalid choice"),
        (["--demo", "everything"], "invalid choice"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse(arguments)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_a_cloud_that_the_environment_misspells_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCA_CLOUD", "azure")
    with pytest.raises(SystemExit):
        parse([])
