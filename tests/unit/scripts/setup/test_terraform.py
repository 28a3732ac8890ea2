"""A Terraform that is missing, too old or something else is refused with the place to get one."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.orca.console import ScriptError
from scripts.orca.setup import stamps, terraform


@pytest.fixture
def binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stamps, "_FOLDER", tmp_path / "stamps")
    path = tmp_path / "terraform"
    monkeypatch.setenv("ORCA_TERRAFORM", str(path))
    return path


def _says(binary: Path, text: str) -> None:
    binary.write_text(f"#!/bin/sh\necho called >>{binary}.calls\ncat <<'E'\n{text}\nE\n")
    binary.chmod(0o755)


def test_a_new_one_is_taken_and_asked_only_once(binary: Path) -> None:
    _says(binary, '{"terraform_version": "1.10.5"}')
    assert terraform.terraform_ensure() == terraform.terraform_ensure() == str(binary)
    assert Path(f"{binary}.calls").read_text() == "called\n"


def test_another_program_in_its_place_is_asked_again(binary: Path) -> None:
    _says(binary, '{"terraform_version": "1.10.5"}')
    terraform.terraform_ensure()
    _says(binary, '{"terraform_version": "1.9.8", "terraform_outdated": true}')
    with pytest.raises(ScriptError) as refused:
        terraform.terraform_ensure()
    assert refused.value.message == f"Orca needs Terraform 1.10 or newer; {binary} is 1.9."
    assert "https://developer.hashicorp.com/terraform/install" in refused.value.hint


def test_a_missing_one_is_named(binary: Path) -> None:
    with pytest.raises(ScriptError) as refused:
        terraform.terraform_ensure()
    assert "there is no" in refused.value.message
    assert "ORCA_TERRAFORM" in refused.value.hint


def test_warnings_before_the_answer_do_not_matter(binary: Path) -> None:
    _says(binary, 'Warning: unable to open CLI configuration file\n{"terraform_version": "2.0.0-beta1"}')
    assert terraform.terraform_version(str(binary)) == (2, 0)


def test_something_else_of_that_name_is_refused(binary: Path) -> None:
    _says(binary, "hello")
    with pytest.raises(ScriptError, match="does not answer as Terraform does"):
        terraform.terraform_ensure()
