"""The program as a whole: what every command has, how it ends, and that it stands alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import agents.orca_cli
from agents.orca_cli.app import app
from tests.unit.agents.orca_cli.conftest import Done, Portal, answer, page, problem, workspace

Orca = Callable[..., Done]
SOURCES = Path(agents.orca_cli.__file__).parent


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    root: Any = group or typer.main.get_command(app)
    for name, found in root.commands.items():
        if hasattr(found, "commands"):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name), found


def test_every_command_speaks_json_takes_a_profile_and_says_what_it_does() -> None:
    found = dict(commands())
    assert len(found) > 35
    for path, command in found.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--profile"} <= options, path
        assert command.help, path
        undescribed = [parameter.name for parameter in command.params if not parameter.help]
        assert not undescribed, path


@pytest.mark.parametrize("path", sorted(path for path, _ in commands()))
def test_with_json_every_command_says_nothing_but_json_even_when_it_fails(orca: Orca, path: tuple[str, ...]) -> None:
    given = {"cp": ["a", "orca://lab/"], "rm": ["orca://lab/a"], "use": ["x"], "validate": [__file__], "apply": []}
    command = dict(commands())[path]
    needed = [p for p in command.params if p.param_type_name == "argument" and p.required]
    arguments = given.get(path[-1], ["x"] * len(needed)) if len(path) == 1 or path[-1] != "rm" else ["x"]
    if path in {("pipeline", "apply"), ("pipeline", "validate")}:
        arguments = [__file__]
    extra = ["--cron", "* * * * *", "--pipeline", "x"] if path == ("schedule", "set") else []
    extra = ["--cron", "* * * * *"] if path == ("schedule", "preview") else extra
    done = orca(*path, *arguments, *extra, "--json")
    if path == ("profile", "ls"):
        assert done.json == []
        return
    assert done.code != 0
    assert done.out == ""
    told = json.loads(done.err.splitlines()[-1])
    assert set(told["error"]) == {"code", "message", "hint", "fields"}


@pytest.mark.usefixtures("logged_in")
def test_a_fault_of_the_program_is_no_traceback(orca: Orca, portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    portal.says("GET", "workspaces/", answer({"results": [{"surprise": 1}], "next": None}))
    done = orca("workspace", "ls")
    assert done.code == 1
    assert "This is a fault of the command line: KeyError" in done.err
    assert "Traceback" not in done.err
    monkeypatch.setenv("ORCA_DEBUG", "1")
    with pytest.raises(KeyError):
        orca("workspace", "ls")


@pytest.mark.usefixtures("logged_in")
def test_names_cannot_paint_the_terminal(orca: Orca, portal: Portal) -> None:
    portal.says("GET", "workspaces/", page(workspace(name="[red]lab[/red]")))
    assert "[red]lab[/red]" in orca("workspace", "ls").out


@pytest.mark.usefixtures("logged_in")
def test_ssh_is_told_whom_to_trust(orca: Orca, portal: Portal, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = {"host": "127.1.2.3", "port": 2222, "user": "analyst", "known_hosts": ["[127.1.2.3]:2222 ssh-ed25519 AAAA"]}
    portal.says("GET", "workspaces/", page(workspace(ssh=ssh)))
    portal.says("GET", "ssh-keys/", page({"id": "k"}))
    became: list[list[str]] = []
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("os.execv", lambda path, told: became.append(told))
    monkeypatch.setattr("subprocess.run", lambda *args, **more: subprocess.CompletedProcess(args, 0))
    orca("workspace", "ssh", "lab", "--", "nproc", "--all")
    [told] = became
    assert told[0] == "ssh"
    assert told[-2:] == ["nproc", "--all"]
    assert "StrictHostKeyChecking=yes" in told
    known = home / "config" / "known_hosts" / workspace()["id"]
    assert f'UserKnownHostsFile="{known}"' in told
    assert known.read_text() == "[127.1.2.3]:2222 ssh-ed25519 AAAA\n"
    block = orca("workspace", "ssh-config").out
    assert block.splitlines()[:2] == ["Host orca-lab", "  HostName 127.1.2.3"]


@pytest.mark.usefixtures("logged_in")
def test_a_stopped_workspace_says_how_to_start_it(orca: Orca, portal: Portal) -> None:
    portal.says("GET", "workspaces/", page(workspace(state="stopped")))
    done = orca("workspace", "ssh")
    assert done.code == 255
    assert "orca workspace start lab" in done.err


@pytest.mark.usefixtures("logged_in")
def test_building_waits_until_it_is_ready_or_says_why_not(orca: Orca, portal: Portal) -> None:
    path = f"workspaces/{workspace()['id']}/"
    terraform = {"state": "applying", "to_add": 2, "to_change": 0, "to_destroy": 0, "resources_done": 1}
    portal.says("POST", "workspaces/", answer(workspace(state="requested", active_run="t"), 202))
    portal.says(
        "GET",
        path,
        answer(workspace(state="applying", active_run="t")),
        answer(workspace(state="ready", active_run="t")),
    )
    portal.says("GET", "terraform-runs/t/", answer(terraform))
    done = orca("workspace", "create", "lab", "--size", "t3.large")
    assert done.code == 0, done.err
    assert "applying, 1 of 2 resources" in done.err
    assert portal.bodies("POST", "workspaces/") == [
        {"name": "lab", "volume_gb": 20, "review": False, "instance_type": "t3.large"}
    ]
    failed = terraform | {"state": "failed", "error_message": "No more t3.large.", "error_hint": "Take another."}
    portal.says("GET", path, answer(workspace(state="failed")))
    portal.says("GET", "terraform-runs/t/", answer(failed))
    done = orca("workspace", "create", "lab")
    assert done.code == 1
    assert "No more t3.large." in done.err
    assert "Take another." in done.err


@pytest.mark.usefixtures("logged_in")
def test_destroying_takes_a_yes_and_data_another(orca: Orca, portal: Portal) -> None:
    path = f"workspaces/{workspace()['id']}/"
    portal.says("GET", "workspaces/", page(workspace()))
    portal.says("GET", path, answer(workspace(state="destroyed")))
    portal.says("GET", "terraform-runs/t/", answer({"state": "succeeded"}))
    portal.says("POST", path + "destroy/", answer({"id": "t"}, 202))
    assert orca("workspace", "destroy", "lab").code == 2
    assert portal.sent("POST", path + "destroy/") == []
    assert orca("workspace", "destroy", "lab", "--yes").code == 0
    assert orca("workspace", "destroy", "lab", "--yes", "--delete-data").code == 0
    assert portal.bodies("POST", path + "destroy/") == [
        {"delete_data": False, "confirm_name": ""},
        {"delete_data": True, "confirm_name": "lab"},
    ]


@pytest.mark.usefixtures("logged_in")
def test_a_refusal_is_one_line_and_a_hint(orca: Orca, portal: Portal) -> None:
    refusal = problem("too_many_workspaces", 429, "You may have 3 workspaces at a time.", "Delete one.")
    portal.says("POST", "workspaces/", refusal)
    done = orca("workspace", "create", "fourth")
    assert (done.code, done.out) == (1, "")
    assert done.err == "orca: You may have 3 workspaces at a time.\n      Delete one.\n"


@pytest.mark.usefixtures("logged_in")
def test_tab_offers_what_is_there_and_never_complains(portal: Portal) -> None:
    from agents.orca_cli import completion

    portal.says("GET", "workspaces/", page(workspace(), workspace(name="large"), workspace(name="other")))
    assert completion.workspace_names("la") == ["lab", "large"]
    assert portal.asked[0].headers["Authorization"] == "Bearer orca_secret"
    assert completion.script_names("") == []  # 404
    portal.says("GET", "scripts/", ConnectionFault)
    assert completion.script_names("") == []


def ConnectionFault(request: Any) -> Any:
    import httpx

    raise httpx.ConnectError("refused")


def test_it_runs_without_the_rest_of_the_repository(tmp_path: Path) -> None:
    """As it is installed: the folder is a package of another name, and there is no ``agents`` and no portal."""
    shutil.copytree(SOURCES, tmp_path / "orca_cli", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.path.insert(0, '.'); from orca_cli.__main__ import main; main()",
            "--help",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "PYTHONSAFEPATH": "1"},
    )
    assert "workspace" in done.stdout
