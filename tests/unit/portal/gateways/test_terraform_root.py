"""The initialised copy of the modules that all workspaces share."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from portal.gateways.terraform_root import PreparedRoot, data_link, root_prepare

LOCK_FILE = """\
provider "registry.terraform.io/hashicorp/aws" {
  version     = "5.100.0"
  constraints = ">= 5.60.0, < 6.0.0"
  hashes = [
    "h1:abc=",
    "zh:def",
  ]
}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tree = tmp_path / "terraform"
    root = tree / "envs" / "workspace"
    for folder in (root / "tests", root / ".terraform", tree / "modules" / "a" / "templates"):
        folder.mkdir(parents=True)
    (root / "main.tf").write_text("one")
    (root / ".terraform" / "cached.tf").write_text("not a source")
    (root / "tests" / "x.tftest.hcl").write_text("not a source")
    (tree / "modules" / "a" / "main.tf").write_text("two")
    (tree / "modules" / "a" / "templates" / "x.sh.tftpl").write_text("three")
    return root


class Initialise:
    def __init__(self, mirror: Path = Path("/")) -> None:
        self.calls = 0
        self.mirror = mirror

    def __call__(self, directory: Path, data: Path) -> None:
        self.calls += 1
        assert (directory / "main.tf").exists()
        (directory / ".terraform.lock.hcl").write_text(LOCK_FILE)
        package = data / "providers" / "registry.terraform.io" / "hashicorp" / "aws" / "5.100.0" / "linux_amd64"
        package.parent.mkdir(parents=True)
        self.mirror.mkdir(exist_ok=True)
        package.symlink_to(self.mirror)
        (data / "modules").mkdir()
        (data / "modules" / "modules.json").write_text("{}")
        (data / "terraform.tfstate").write_text("the backend")


def _prepare(root: Path, initialise: Initialise, salt: str = "") -> PreparedRoot:
    return root_prepare(root, root.parents[2] / "data", salt=salt, initialise=initialise)


def test_it_is_a_copy_of_the_sources_only(root: Path) -> None:
    prepared = _prepare(root, Initialise())
    tree = prepared.directory.parents[1]
    names = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    assert names == {
        "envs/workspace/main.tf",
        "envs/workspace/.terraform.lock.hcl",
        "modules/a/main.tf",
        "modules/a/templates/x.sh.tftpl",
    }


def test_it_is_made_once(root: Path) -> None:
    initialise = Initialise()
    assert _prepare(root, initialise) == _prepare(root, initialise)
    assert initialise.calls == 1


def test_it_is_made_once_also_by_many_at_a_time(root: Path) -> None:
    initialise = Initialise()
    threads = [threading.Thread(target=_prepare, args=(root, initialise)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert initialise.calls == 1


def test_a_change_makes_another_and_leaves_the_first_alone(root: Path) -> None:
    initialise = Initialise()
    first = _prepare(root, initialise)
    (root.parents[1] / "modules" / "a" / "main.tf").write_text("changed")
    second = _prepare(root, initialise)
    assert first.directory != second.directory
    assert (first.directory.parents[1] / "modules" / "a" / "main.tf").read_text() == "two"
    assert _prepare(root, initialise, salt="another provider").fingerprint != second.fingerprint


def test_a_provider_that_has_gone_is_linked_anew(root: Path, tmp_path: Path) -> None:
    initialise = Initialise(tmp_path / "mirror")
    first = _prepare(root, initialise)
    initialise.mirror.rmdir()
    assert _prepare(root, initialise) == first
    assert initialise.calls == 2
    assert initialise.mirror.exists()


def test_a_failure_leaves_nothing_behind(root: Path) -> None:
    def fail(directory: Path, data: Path) -> None:
        raise RuntimeError("no provider")

    with pytest.raises(RuntimeError, match="no provider"):
        root_prepare(root, root.parents[2] / "data", salt="", initialise=fail)
    assert {path.name for path in (root.parents[2] / "data" / "_roots").iterdir()} == {"lock"}
    assert _prepare(root, Initialise()).directory.exists()


def test_the_version_is_kept_and_the_checksums_are_not(root: Path) -> None:
    text = (_prepare(root, Initialise()).directory / ".terraform.lock.hcl").read_text()
    assert 'version     = "5.100.0"' in text
    assert "hashes" not in text
    assert text.count("}") == 1


def test_a_workspace_has_a_data_folder_of_its_own_but_for_the_providers(root: Path, tmp_path: Path) -> None:
    prepared, data = _prepare(root, Initialise()), tmp_path / "data" / "w1"
    data_link(prepared, data)
    assert (data / "providers").resolve() == prepared.data / "providers"
    assert not (data / "modules").is_symlink()
    assert (data / "terraform.tfstate").read_text() == "the backend"
    assert data.stat().st_mode & 0o077 == 0


def test_a_data_folder_follows_a_new_root(root: Path, tmp_path: Path) -> None:
    data, initialise = tmp_path / "data" / "w1", Initialise()
    data_link(_prepare(root, initialise), data)
    (data / "kept.tfplan").write_text("a plan")
    (root / "main.tf").write_text("changed")
    second = _prepare(root, initialise)
    data_link(second, data)
    assert (data / "providers").resolve() == second.data / "providers"
    assert (data / "kept.tfplan").exists()
