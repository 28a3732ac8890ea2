"""The modules by themselves: format, validity, their own tests, and what every one of them has to have."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.terraform.scene import TERRAFORM, cli_config, program

pytestmark = pytest.mark.terraform

MODULES = sorted(path.parent for path in TERRAFORM.glob("*/*/main.tf"))
NAMES = [str(path.relative_to(TERRAFORM)) for path in MODULES]


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that Terraform may write into."""
    copy = tmp_path_factory.mktemp("terraform") / "tree"
    shutil.copytree(TERRAFORM, copy, ignore=shutil.ignore_patterns(".terraform*"))
    return copy


@pytest.fixture(params=NAMES)
def module(request: pytest.FixtureRequest) -> str:
    """Each module in turn."""
    return str(request.param)


def _terraform(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    given = {
        "PATH": os.environ["PATH"],
        "TF_CLI_CONFIG_FILE": str(cli_config()),
        "TF_DATA_DIR": str(folder.parents[1] / "data"),
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
        "GOGC": "400",
    }
    return subprocess.run(
        [program(), *command], cwd=folder, env=given, capture_output=True, text=True, check=False, timeout=300
    )


def test_there_are_modules() -> None:
    assert {"modules/storage", "modules/queue", "modules/identity", "modules/compute", "envs/workspace"} <= set(NAMES)


def test_format() -> None:
    done = _terraform(TERRAFORM, "fmt", "-check", "-diff", "-recursive")
    assert done.returncode == 0, done.stdout + done.stderr


def test_module_is_valid_and_passes_its_tests(tree: Path, module: str) -> None:
    folder = tree / module
    done = _terraform(folder, "init", "-backend=false", "-input=false", "-no-color")
    assert done.returncode == 0, done.stderr
    done = _terraform(folder, "validate", "-json")
    found = json.loads(done.stdout)
    assert found["valid"] and not found["warning_count"], done.stdout
    done = _terraform(folder, "test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout


def test_module_has_its_files(module: str) -> None:
    names = {path.name for path in (TERRAFORM / module).iterdir()}
    assert {"main.tf", "variables.tf", "outputs.tf", "versions.tf", "README.md", "tests"} <= names
    assert list((TERRAFORM / module / "tests").glob("*.tftest.hcl"))


def _blocks(module: str, kind: str) -> dict[str, str]:
    text = "\n".join(path.read_text() for path in (TERRAFORM / module).glob("*.tf"))
    return dict(re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', text, re.MULTILINE | re.DOTALL))


def test_variables_and_outputs_are_described(module: str) -> None:
    variables, outputs = _blocks(module, "variable"), _blocks(module, "output")
    assert variables
    for name, body in (variables | outputs).items():
        assert re.search(r'^  description = ".{15,}"$', body, re.MULTILINE), name
    for name, body in variables.items():
        assert re.search(r"^  type +=", body, re.MULTILINE), name


def test_the_readme_names_every_variable_and_output(module: str) -> None:
    text = (TERRAFORM / module / "README.md").read_text()
    names = {*_blocks(module, "variable"), *_blocks(module, "output")}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_secrets_are_marked(module: str) -> None:
    for name, body in _blocks(module, "variable").items():
        if name in {"signing_key", "agent_settings", "provisioner_external_id"}:
            assert "sensitive   = true" in body, name
