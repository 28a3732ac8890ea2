"""What is executed, with which environment, and whether the warm interpreter may do it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agents.orca_agent.account import Account
from agents.orca_agent.orders import Task
from agents.orca_agent.steps import command
from agents.orca_agent.steps.failure import StepFailed
from tests.unit.agents.orca_agent.doubles import any_script, task_of


def shell(entrypoint: str = "go.sh") -> Task:
    return task_of(replace(any_script(), runtime="shell", entrypoint=entrypoint), arguments=("a b",))


@pytest.mark.parametrize(
    ("first", "interpreter"),
    [
        ("#!/bin/sh", ["/bin/sh"]),
        ("#!/bin/bash -e", ["/bin/bash", "-e"]),
        ("#!/usr/bin/env bash", ["/usr/bin/env", "bash"]),
        ("#!/no/such/shell", None),
        ("#!", None),
        ("#!/bin/sh 'unclosed", None),
        ("echo", None),
        ("", None),
    ],
)
def test_a_shell_script_names_its_interpreter_or_gets_one(
    tmp_path: Path, first: str, interpreter: list[str] | None
) -> None:
    (tmp_path / "go.sh").write_text(f"{first}\necho\n")
    argv = command.arguments(shell(), tmp_path)
    assert argv[-2:] == ["go.sh", "a b"]
    if interpreter is None:
        assert len(argv) == 3
        assert argv[0].endswith("sh")
    else:
        assert argv[:-2] == interpreter


def test_python_runs_by_the_agents_interpreter(tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()
    assert command.arguments(task_of(any_script()), tmp_path) == [sys.executable, "main.py"]


def test_a_missing_entrypoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "main.py").mkdir()
    with pytest.raises(StepFailed, match=r"main\.py"):
        command.arguments(task_of(any_script()), tmp_path)


def test_a_step_cannot_change_who_it_is() -> None:
    account = Account("analyst", None, None, Path("/home/analyst"))
    base = command.base_environment(account, {"AWS_REGION": "r", "PATH": "theirs"})
    task = task_of(any_script(), environment={"ORCA_STEP_ID": "forged", "PATH": "mine", "A": "1"})
    environment = command.step_environment(
        task, base, "bucket", Path("/w"), secrets={"A": "2", "ORCA_INPUTS": "forged"}
    )
    assert environment["ORCA_STEP_ID"] == task.step
    assert (environment["ORCA_OUTPUT"], environment["ORCA_INPUTS"]) == ("/w/script/output", "/w/inputs")
    assert (environment["PATH"], environment["A"], environment["AWS_REGION"]) == ("mine", "2", "r")
    assert base["PATH"] == command.PATH


@pytest.mark.parametrize(
    ("environment", "beside", "warm"),
    [
        ({}, [], True),
        ({"ANY": "1"}, ["helper.py", "data"], True),
        ({"ORCA_COLD_START": "0"}, [], True),
        ({"ORCA_COLD_START": "1"}, [], False),
        ({"PYTHONPATH": "lib"}, [], False),
        ({"LD_PRELOAD": "x.so"}, [], False),
        ({"LC_ALL": "de_DE"}, [], False),
        ({}, ["json.py"], False),
        ({}, ["random"], False),
        ({}, ["ssl.cpython-311.so"], False),
    ],
)
def test_the_warm_interpreter_is_for_what_it_would_not_change(
    tmp_path: Path, environment: Mapping[str, str], beside: list[str], warm: bool
) -> None:
    for name in ("main.py", *beside):
        (tmp_path / name).touch()
    assert command.may_start_warm(task_of(any_script(), environment=environment), tmp_path) is warm


@pytest.mark.parametrize(("name", "warm"), [("API_KEY", True), ("PYTHONPATH", False), ("ORCA_COLD_START", False)])
def test_a_secret_may_change_the_interpreter_too(tmp_path: Path, name: str, warm: bool) -> None:
    (tmp_path / "main.py").touch()
    assert command.may_start_warm(task_of(any_script(), secret_names=(name,)), tmp_path) is warm


def test_shell_and_requirements_are_not_for_the_warm_interpreter(tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()
    with_requirements = task_of(replace(any_script(), requirements="requirements.txt"))
    assert not command.may_start_warm(with_requirements, tmp_path)
    assert not command.may_start_warm(shell("main.py"), tmp_path)
