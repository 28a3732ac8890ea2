"""What people really upload: files of other systems, odd names, odd encodings, and outputs to match."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fixtures.agent import AgentProcess, Events, MotoCloud

    Shared = tuple[MotoCloud, Events, AgentProcess]

pytest_plugins = ["tests.fixtures.agent"]

COLD = pytest.mark.parametrize("cold", ["", "1"], ids=["warm", "cold"])
NAMES = [
    "my data; rm -rf $HOME & echo",
    "snow ☃ 🐳",
    "a'b\"c`d",
    "$(touch oops)",
    "-c",
    "--help",
    "-",
    " leading",
    "*",
    "%41%s{x}",
    "größe",
]


@COLD
@pytest.mark.parametrize("name", NAMES)
def test_a_script_of_any_name_is_run_as_it_is(shared_agent: Shared, name: str, cold: str) -> None:
    cloud, events, _ = shared_agent
    entrypoint = f"{name}.py"
    script = cloud.script({entrypoint: "import os, sys; print(sys.argv[1:], os.listdir())"}, entrypoint=entrypoint)
    task = cloud.run(script, arguments=(name, ""), environment={"ORCA_COLD_START": cold})
    assert events.finished(task).state == "succeeded", events.lines(task)
    (said,) = events.text(task)
    assert said.startswith(repr([name, ""]))
    assert "oops" not in said.replace("$(touch oops)", "")


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_script_too(shared_agent: Shared, name: str) -> None:
    cloud, events, _ = shared_agent
    entrypoint = f"{name}.sh"
    script = cloud.script({entrypoint: 'printf "<%s>" "$@"; ls oops'}, entrypoint=entrypoint, runtime="shell")
    task = cloud.run(script, arguments=(name, "b c"))
    assert events.finished(task).exit_code == 2
    assert events.text(task) == [f"<{name}><b c>"]


@COLD
@pytest.mark.parametrize(
    "source",
    [
        b"\xef\xbb\xbfprint('gr\xc3\xb6\xc3\x9fe')\r\nif True:\r\n    print('two')\r\n",
        b"# -*- coding: latin-1 -*-\nprint('gr\xf6\xdfe')\nprint('two')\n",
        b"#!/usr/bin/env python2\rprint('gr\xc3\xb6\xc3\x9fe')\rprint('two')\r",
        b"\x0cprint('gr\xc3\xb6\xc3\x9fe')\nprint('two')",
    ],
    ids=["Windows, with a mark", "latin-1, said so", "old Mac", "no line end"],
)
def test_python_of_any_system_runs(shared_agent: Shared, source: bytes, cold: str) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(cloud.script({"main.py": source}), environment={"ORCA_COLD_START": cold})
    assert events.finished(task).state == "succeeded", events.lines(task)
    assert events.text(task) == ["größe", "two"]


@COLD
@pytest.mark.parametrize(
    ("source", "told"),
    [(b"print('gr\xf6\xdfe')\n", "SyntaxError: "), (b"\xff\xfep\0r\0i\0n\0t\0", ""), (b"\x7fELF\2\1\1\0\0\0", "")],
    ids=["latin-1", "UTF-16", "binary"],
)
def test_python_that_is_no_text_fails_and_says_why(shared_agent: Shared, source: bytes, told: str, cold: str) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(cloud.script({"main.py": source}), environment={"ORCA_COLD_START": cold})
    finished = events.finished(task)
    assert (finished.state, finished.reason, finished.exit_code) == ("failed", "exit_code", 1)
    said = events.text(task, "err")
    assert "Error: " in said[-1]
    assert said[-1].startswith(told)


@pytest.mark.parametrize("content", [b"", b"\r\n", b"#!/bin/bash\r\n", b"#!/no/such/shell\n:\n", b"#!\n:\n"])
def test_a_shell_script_that_does_nothing_succeeds(shared_agent: Shared, content: bytes) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(cloud.script({"go.sh": content}, entrypoint="go.sh", runtime="shell"))
    finished = events.finished(task)
    assert (finished.state, finished.log.lines) == ("succeeded", 0), events.lines(task)


@pytest.mark.parametrize(
    "requirements",
    [b"this is !!! no requirement\n", b"\xff\xfe" + "!!!\r\n".encode("utf-16-le"), b"\0\1\2", b"-r missing.txt\n"],
    ids=["nonsense", "UTF-16", "binary", "missing"],
)
def test_requirements_that_make_no_sense_fail_and_others_are_served(shared_agent: Shared, requirements: bytes) -> None:
    cloud, events, _ = shared_agent
    files: dict[str, str | bytes] = {"main.py": "print('never')", "requirements.txt": requirements}
    task = cloud.run(cloud.script(files, requirements="requirements.txt"))
    finished = events.finished(task, 60)
    assert (finished.state, finished.reason) == ("failed", "requirements_failed")
    assert finished.message.startswith("The requirements could not be installed (pip ended with 1).\nERROR: ")
    assert events.text(task) == []
    assert events.finished(cloud.run("print(1)")).state == "succeeded"


def test_empty_requirements_are_no_trouble(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    files = {"main.py": "print('runs')", "requirements.txt": "\ufeff# nothing yet\r\n\r\n"}
    task = cloud.run(cloud.script(files, requirements="requirements.txt"))
    assert events.finished(task, 60).state == "succeeded"
    assert events.text(task) == ["runs"]


def test_outputs_keep_their_names(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    names = [f"{name}.csv" for name in NAMES] + [
        "a\\b.csv",
        "a b#?&+=:@~.csv",
        ".hidden",
        "..two",
        "x" * 255,
        "trailing ",
    ]
    task = cloud.run(f"for name in {names!r}: open('output/' + name, 'w').write(name)")
    finished = events.finished(task)
    assert finished.state == "succeeded", events.lines(task)
    assert sorted(output.path for output in finished.outputs) == sorted(names)
    for name in names:
        assert cloud.get(f"runs/{task.run}/{task.step}/1/output/{name}").decode() == name


def test_outputs_whose_names_look_alike_are_all_kept(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(r"for number in range(3): open(b'output/a\n%c' % (0xfd + number), 'w').write(str(number))")
    finished = events.finished(task)
    assert finished.state == "succeeded"
    paths = [output.path for output in finished.outputs]
    assert len(set(paths)) == 3
    assert sorted(cloud.get(f"runs/{task.run}/{task.step}/1/output/{path}") for path in paths) == [b"0", b"1", b"2"]


def test_a_line_of_ten_megabytes_holds_up_nobody(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("import sys; sys.stdout.write('x' * 10_000_000)")
    other = cloud.run("print('meanwhile')")
    assert events.finished(other).state == "succeeded"
    finished = events.finished(task)
    assert finished.state == "succeeded"
    assert sum(len(line) for line in events.text(task)) == 10_000_000


def test_what_moves_a_terminals_cursor_is_only_text(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(r"print('\x1b[2J\x1b[31mred\x1b[0m \x07\x08 a\u2028b\x85c\x0bd\x1ce')")
    assert events.finished(task).state == "succeeded"
    assert events.text(task) == ["\x1b[2J\x1b[31mred\x1b[0m \x07\x08 a\u2028b\x85c\x0bd\x1ce"]
