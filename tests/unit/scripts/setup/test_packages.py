"""What is missing is installed, or named together with the command that installs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.orca.console import ScriptError
from scripts.orca.setup import packages
from scripts.orca.setup.packages import Package, packages_ensure

# Stands in for apt-get: writes down how it was called, and "installs" by making files.
_APT = """#!/bin/sh
echo "$@" >>{folder}/calls
case "$*" in *fails*) echo "E: Unable to locate package"; exit 100;; *install*) touch {folder}/installed;; esac
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an apt-get of its own; this user may install."""
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text(_APT.format(folder=tmp_path))
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(apt.parent), prepend=":")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "deb_InRelease").touch()
    monkeypatch.setattr(packages, "_LISTS", lists)
    monkeypatch.setattr(packages, "_POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(packages, "_root_prefix", list)
    return tmp_path


def _package(machine: Path, name: str = "tool", *, optional: bool = False) -> Package:
    return Package(name, (machine / "installed").exists, "nothing works", optional=optional)


def _calls(machine: Path) -> list[str]:
    path = machine / "calls"
    return path.read_text().splitlines() if path.is_file() else []


def test_nothing_is_called_when_everything_is_there(machine: Path) -> None:
    (machine / "installed").touch()
    packages_ensure((_package(machine),))
    assert _calls(machine) == []


def test_what_is_missing_is_installed_without_starting_its_services(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = machine / "bin" / "apt-get"
    apt.write_text(apt.read_text() + f"cat {machine}/policy-rc.d >>{machine}/policy-seen\n")
    packages_ensure((_package(machine),))
    (call,) = _calls(machine)
    assert call.endswith("install --no-install-recommends tool")
    assert "exit 101" in (machine / "policy-seen").read_text()
    assert not (machine / "policy-rc.d").exists()


def test_a_policy_that_is_there_already_stays(machine: Path) -> None:
    (machine / "policy-rc.d").write_text("#!/bin/sh\nexit 0\n")
    packages_ensure((_package(machine),))
    assert (machine / "policy-rc.d").read_text() == "#!/bin/sh\nexit 0\n"


def test_the_lists_are_fetched_first_where_there_are_none(machine: Path) -> None:
    (machine / "lists" / "deb_InRelease").unlink()
    packages_ensure((_package(machine),))
    assert [call.split()[-1] for call in _calls(machine)] == ["update", "tool"]


def test_lists_that_are_no_longer_true_are_fetched_again_once(machine: Path) -> None:
    with pytest.raises(ScriptError) as refused:
        packages_ensure((_package(machine, "fails"),))
    assert [call.split()[-1] for call in _calls(machine)] == ["fails", "update", "fails"]
    assert "Unable to locate package" in refused.value.detail
    assert refused.value.hint == "Install with: sudo apt-get install fails"


def test_who_may_not_install_is_told_the_command(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_root_prefix", lambda: None)
    with pytest.raises(ScriptError) as refused:
        packages_ensure((_package(machine), _package(machine, "other")))
    assert refused.value.message == "Missing on this machine: tool (nothing works); other (nothing works)."
    assert refused.value.hint == "Install with: sudo apt-get install tool other"
    assert _calls(machine) == []


def test_orca_goes_on_without_what_it_can_do_without(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "_root_prefix", lambda: None)
    packages_ensure((_package(machine, optional=True),))
    assert "Without tool nothing works. To have it: sudo apt-get install tool" in capsys.readouterr().out
