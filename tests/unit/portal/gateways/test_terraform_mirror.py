"""Setting Terraform up on a machine, with a program in Terraform's place."""

from __future__ import annotations

import json
import os
import stat
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from portal.gateways.terraform_errors import TerraformError
from portal.gateways.terraform_mirror import Chosen, config_text, mirror_set_up, program_find
from portal.gateways.terraform_mirror_search import CONSTRAINT, mirrors_search, packages_in

REPOSITORY = Path(__file__).parents[4]
PLATFORM = "linux_amd64"
HOME_OF_AWS = "registry.terraform.io/hashicorp/aws"


class Machine:
    """A machine with nothing on it but what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.log = folder, folder / "out", folder / "log"
        (folder / "bin").mkdir()
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "XDG_DATA_HOME": str(folder / "xdg"),
            "XDG_DATA_DIRS": str(folder / "share"),
        }
        self.terraform()

    def terraform(self, version: str = "1.11.4", init: str = "") -> None:
        """Install a Terraform whose ``init`` runs the code ``init``."""
        program = self.folder / "bin" / "terraform"
        program.write_text(
            f"#!{sys.executable}\nimport json, os, pathlib, sys\n"
            f"config = os.environ['TF_CLI_CONFIG_FILE']\n"
            f"with open({str(self.log)!r}, 'a') as log: print(sys.argv[1], config, file=log)\n"
            f"if sys.argv[1] == 'version':\n"
            f"    print(json.dumps({{'terraform_version': {version!r}, 'platform': {PLATFORM!r}}})); sys.exit()\n"
            f"text = pathlib.Path(config).read_text()\n" + textwrap.dedent(init)
        )
        program.chmod(0o755)

    def unpacked(self, mirror: str, version: str = "5.100.0", platform: str = PLATFORM) -> Path:
        folder = self.folder / mirror / HOME_OF_AWS / version / platform
        folder.mkdir(parents=True)
        binary = folder / f"terraform-provider-aws_v{version}_x5"
        binary.write_text("provider")
        binary.chmod(0o755)
        return self.folder / mirror

    def packed(self, mirror: str, version: str = "5.100.0") -> Path:
        folder = self.folder / mirror / HOME_OF_AWS
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / f"terraform-provider-aws_{version}_{PLATFORM}.zip", "w") as archive:
            archive.writestr(f"terraform-provider-aws_v{version}_x5", "provider")
        return self.folder / mirror

    def set_up(self, **environment: str) -> Chosen:
        given = {**self.environment, **environment}
        return mirror_set_up(self.out, program="terraform", environment=given, prefixes=(str(self.folder / "prefix"),))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Machine(tmp_path)


def test_a_named_mirror_is_taken(machine: Machine) -> None:
    mirror = machine.unpacked("named")
    machine.unpacked("xdg/terraform/plugins")
    chosen = machine.set_up(ORCA_TF_MIRROR=str(mirror))
    assert (chosen.mirror, chosen.version) == (mirror, "5.100.0")
    assert (machine.out / "terraform.rc").read_text() == config_text(mirror)
    assert "ORCA_TF_MIRROR" in str(chosen)
    assert "\n" not in str(chosen)


def test_a_named_mirror_that_holds_nothing_is_refused(machine: Machine) -> None:
    machine.unpacked("xdg/terraform/plugins")
    with pytest.raises(TerraformError, match="ORCA_TF_MIRROR names /nowhere"):
        machine.set_up(ORCA_TF_MIRROR="/nowhere")


@pytest.mark.parametrize("place", ["xdg/terraform/plugins", "share/terraform/plugins", "home/.terraform.d/plugins"])
def test_terraforms_own_folders_are_looked_into(machine: Machine, place: str) -> None:
    assert machine.unpacked(place) == machine.set_up().mirror


def test_the_usual_prefixes_are_searched(machine: Machine) -> None:
    mirror = machine.unpacked("prefix/somewhere/deep/mirror")
    assert machine.set_up().mirror == mirror


def test_the_search_has_bounds(machine: Machine) -> None:
    machine.unpacked("prefix/1/2/3/4/5/6")
    assert list(mirrors_search((str(machine.folder / "prefix"),))) == []


def test_the_newest_usable_version_is_taken(machine: Machine) -> None:
    for version in ("5.9.0", "5.61.0", "5.100.0", "6.1.0"):
        mirror = machine.unpacked("prefix/m", version)
    machine.unpacked("prefix/m", "5.101.0", platform="darwin_arm64")
    assert [package.version for package in packages_in(mirror, PLATFORM)] == ["5.100.0", "5.61.0"]


def test_a_packed_mirror_is_unpacked_once(machine: Machine) -> None:
    machine.packed("prefix/m")
    chosen = machine.set_up()
    assert chosen.mirror == machine.out / "providers"
    binary = machine.out / "providers" / HOME_OF_AWS / "5.100.0" / PLATFORM / "terraform-provider-aws_v5.100.0_x5"
    assert binary.stat().st_mode & stat.S_IXUSR
    made = binary.stat().st_mtime_ns
    assert machine.set_up().mirror == chosen.mirror
    assert binary.stat().st_mtime_ns == made
    assert {path.name for path in (machine.out / "providers").iterdir()} == {"registry.terraform.io"}


def test_a_mirror_that_terraform_refuses_is_passed_over(machine: Machine) -> None:
    broken, good = machine.unpacked("prefix/broken"), machine.unpacked("prefix/good")
    machine.terraform(init=f"if {str(broken)!r} in text: print('checksum mismatch', file=sys.stderr); sys.exit(1)")
    assert machine.set_up().mirror == good
    assert str(good) in (machine.out / "terraform.rc").read_text()


_FETCHES = f"""
folder = pathlib.Path(os.environ["TF_DATA_DIR"]) / "providers" / "{HOME_OF_AWS}" / "5.99.0" / "{PLATFORM}"
folder.mkdir(parents=True)
binary = folder / "terraform-provider-aws_v5.99.0_x5"
binary.write_text("provider")
binary.chmod(0o755)
"""


def test_the_registry_is_asked_last(machine: Machine) -> None:
    machine.terraform(init=_FETCHES)
    chosen = machine.set_up()
    assert (chosen.version, chosen.mirror) == ("5.99.0", machine.out / "providers")
    assert "registry" in chosen.source
    assert machine.set_up().source == "set up before"


def test_a_configuration_that_is_not_there_is_no_hindrance(machine: Machine) -> None:
    machine.terraform(init=_FETCHES)
    machine.set_up(TF_CLI_CONFIG_FILE="/nowhere/.terraformrc")
    assert "/nowhere" not in machine.log.read_text()


def test_a_configuration_that_is_there_is_used_to_fetch(machine: Machine) -> None:
    machine.terraform(init=_FETCHES)
    config = machine.folder / "theirs.rc"
    config.write_text("")
    machine.set_up(TF_CLI_CONFIG_FILE=str(config))
    assert f"init {config}" in machine.log.read_text()


def test_an_operators_mirror_stays_where_it_is(machine: Machine) -> None:
    """Terraform links into a mirror that the operator's own configuration names."""
    theirs = machine.unpacked("theirs", "5.99.0") / HOME_OF_AWS / "5.99.0" / PLATFORM
    machine.terraform(
        init=f"""
        folder = pathlib.Path(os.environ["TF_DATA_DIR"]) / "providers" / "{HOME_OF_AWS}" / "5.99.0"
        folder.mkdir(parents=True)
        (folder / "{PLATFORM}").symlink_to({str(theirs)!r})
        """
    )
    assert machine.set_up().version == "5.99.0"
    assert theirs.is_dir()


def test_neither_mirror_nor_registry(machine: Machine) -> None:
    machine.terraform(init="print('Error: could not connect to the registry', file=sys.stderr); sys.exit(1)")
    with pytest.raises(TerraformError) as caught:
        machine.set_up()
    assert caught.value.code == "terraform_no_provider"
    assert "ORCA_TF_MIRROR" in caught.value.hint
    assert "could not connect to the registry" in caught.value.detail
    assert not (machine.out / "terraform.rc").exists()


def test_an_old_terraform_is_refused(machine: Machine) -> None:
    machine.terraform(version="1.9.8")
    with pytest.raises(TerraformError, match=r"is Terraform 1\.9\.8; Orca needs 1\.10 or newer"):
        program_find("terraform", machine.environment)


def test_a_prerelease_counts_as_its_version(machine: Machine) -> None:
    machine.terraform(version="1.12.0-beta1")
    assert program_find("terraform", machine.environment).version == "1.12.0-beta1"


def test_no_terraform_at_all(machine: Machine) -> None:
    with pytest.raises(TerraformError, match="no program 'no-such-terraform'"):
        program_find("no-such-terraform", machine.environment)


def test_a_path_with_quotes_stays_one_string() -> None:
    path = '/a "b"/c'
    assert f"path    = {json.dumps(path)}" in config_text(Path(path))


def test_every_module_asks_for_what_is_looked_for() -> None:
    files = sorted((REPOSITORY / "terraform").rglob("versions.tf"))
    assert files
    assert [file for file in files if f'version = "{CONSTRAINT}"' not in file.read_text()] == []
