"""``workspace``: building, looking, stopping, destroying, logging in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import Annotated, Any

import typer
from rich.text import Text

from .. import completion, names, ssh
from ..command import Session, command, confirmed
from ..errors import CliError, Exit
from ..output import ago, duration, size, state

_POLL = 1.0
_CHANGING = {"requested", "planning", "applying", "stopping", "destroying"}
Name = Annotated[
    str,
    typer.Argument(
        help="The workspace; not needed where you have one.",
        autocompletion=completion.workspace_names,
        envvar="ORCA_WORKSPACE",
        show_envvar=False,
        show_default=False,
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]
Review = Annotated[bool, typer.Option("--review", help="Show the plan and wait for a yes before anything is built.")]


def register(app: typer.Typer) -> None:
    """Put the commands in their places."""
    group = typer.Typer(no_args_is_help=True, help="Your piece of cloud.")
    for name, function in (
        ("create", create),
        ("ls", ls),
        ("status", status),
        ("stop", stop),
        ("start", start),
        ("apply", apply),
        ("approve", approve),
        ("destroy", destroy),
        ("ssh-config", ssh_config),
    ):
        command(group, name)(function)
    command(group, "ssh", trouble=255, context_settings={"allow_interspersed_args": False})(ssh_in)
    app.add_typer(group, name="workspace", rich_help_panel="Cloud")


def create(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="What you call it.")],
    instance_type: Annotated[
        str, typer.Option("--size", help="The instance's type, such as t3.small or t3.large.")
    ] = "",
    disk: Annotated[int, typer.Option(help="Disk in GB.")] = 20,
    review: Review = False,
    wait: Wait = True,
) -> None:
    """Build a workspace: a bucket, a queue, roles and an instance of your own."""
    wanted: dict[str, Any] = {"name": name, "volume_gb": disk, "review": review}
    if instance_type:
        wanted["instance_type"] = instance_type
    made = session.api.post("workspaces/", wanted)
    _built(session, made, wait=wait, review=review, at_once=True)


def apply(session: Session, name: Name = "", review: Review = False, wait: Wait = True) -> None:
    """Build what is missing and mend what has drifted; also what was destroyed."""
    found = names.workspace(session.api, name)
    run = session.api.post(f"workspaces/{found['id']}/apply/", {"review": review})
    _built(session, {**found, "active_run": run["id"]}, wait=wait, review=review)


def approve(session: Session, name: Name = "", wait: Wait = True) -> None:
    """Say yes to the plan that waits; exactly that plan is applied."""
    found = names.workspace(session.api, name)
    run = _active_run(session, found)
    if run is None or run["state"] != "planned":
        raise CliError(
            f"No plan of {found['name']} waits for a yes.",
            hint=f"Make one: orca workspace apply {found['name']} --review",
            code="no_plan",
            exit_code=Exit.CONFLICT,
        )
    session.api.post(f"terraform-runs/{run['id']}/approve/")
    _built(session, found, wait=wait, review=False)


def _built(session: Session, workspace: Any, *, wait: bool, review: bool, at_once: bool = False) -> None:
    if wait or review:
        workspace = _until(session, workspace, "ready", review=review, at_once=at_once)
    _show(session, workspace)


def ls(session: Session) -> None:
    """Your workspaces."""
    found = list(session.api.find("workspaces/"))
    rows = [
        (w["name"], state(w["state"]), w["instance_type"], w["ssh"]["host"] if w["ssh"] else "-", ago(w["created_at"]))
        for w in found
    ]
    empty = "You have no workspace yet. Make one: orca workspace create lab"
    session.out.table(found, ["name", "state", "size", "address", "made"], rows, empty=empty)


def status(session: Session, name: Name = "") -> None:
    """How a workspace is."""
    _show(session, names.workspace(session.api, name))


def _show(session: Session, workspace: Any) -> None:
    lines = [Text.assemble((workspace["name"], "bold"), " ", state(workspace["state"]))]
    if workspace["state_reason"]:
        lines.append(Text(f"  {workspace['state_reason']}", style="yellow"))
    if workspace["stop_requested_at"]:
        lines.append(Text("  will stop as soon as Terraform has ended", style="yellow"))
    facts = [("id", workspace["id"]), ("size", f"{workspace['instance_type']}, {workspace['volume_gb']} GB")]
    facts.append(("bucket", workspace["bucket"]))
    for instance in workspace["instances"]:
        free = f"{size(instance['disk_free_mb'] * 1_000_000)} of disk free, load {instance['load']:.2f}"
        busy = f"{len(instance['running'])} of {instance['slots']} slots busy"
        more = f": {busy}, {free}, heard {ago(instance['heartbeat_at'])}" if instance["state"] == "running" else ""
        facts.append(("instance", f"{instance['instance_id']} {instance['state']}{more}"))
    if workspace["ssh"]:
        facts.append(("log in", f"orca workspace ssh {workspace['name']}"))
    lines += [Text(f"  {name:<9} {value}") for name, value in facts]
    session.out.result(workspace, *lines)


def stop(session: Session, name: Name = "", wait: Wait = True) -> None:
    """Stop the instances; disks and data stay, and what was running goes on when they start again."""
    found = names.workspace(session.api, name)
    found = session.api.post(f"workspaces/{found['id']}/stop/")
    _show(session, _until(session, found, "stopped") if wait else found)


def start(session: Session, name: Name = "", wait: Wait = True) -> None:
    """Start the instances again."""
    found = names.workspace(session.api, name)
    found = session.api.post(f"workspaces/{found['id']}/start/")
    _show(session, _until(session, found, "ready") if wait else found)


def destroy(
    session: Session,
    name: Annotated[
        str, typer.Argument(help="The workspace.", autocompletion=completion.workspace_names, show_default=False)
    ],
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Delete the bucket with everything in it, too.")
    ] = False,
    yes: Yes = False,
    wait: Wait = True,
) -> None:
    """Take a workspace down. Its data stays, unless you say otherwise."""
    found = names.workspace(session.api, name)
    called = found["name"]
    if delete_data:
        confirmed(session, f"Destroy {called} and delete all of its data for good?", yes=yes)
    else:
        confirmed(session, f"Destroy {called}? Its data stays.", yes=yes)
    wanted = {"delete_data": delete_data, "confirm_name": called if delete_data else ""}
    run = session.api.post(f"workspaces/{found['id']}/destroy/", wanted)
    found = {**found, "active_run": run["id"]}
    _show(session, _until(session, found, "destroyed") if wait else session.api.get(f"workspaces/{found['id']}/"))


def _active_run(session: Session, workspace: Any) -> Any:
    return session.api.get(f"terraform-runs/{workspace['active_run']}/") if workspace["active_run"] else None


def _until(session: Session, workspace: Any, wanted: str, *, review: bool = False, at_once: bool = False) -> Any:
    """The workspace once it is as wanted and Terraform has ended; ``at_once``: whatever Terraform still does.

    Raises ``CliError`` where it ends otherwise.
    """
    run_id, name = workspace["active_run"], workspace["name"]
    began = time.monotonic()
    with session.out.busy(f"{name}: {workspace['state']}") as line:
        while True:
            workspace = session.api.get(f"workspaces/{workspace['id']}/")
            run_id = workspace["active_run"] or run_id
            run = session.api.get(f"terraform-runs/{run_id}/") if run_id else None
            if at_once and workspace["state"] == wanted:
                break
            if run is None or run["state"] in {"succeeded", "failed", "cancelled"}:
                if workspace["state"] == wanted:
                    break
                if workspace["state"] not in _CHANGING and _is_final(workspace, run, wanted):
                    raise _not_as_wanted(workspace, run, wanted)
            elif run["state"] == "planned" and review:
                break
            line.say(_progress(workspace, run))
            time.sleep(_POLL)
    if workspace["state"] == wanted:
        session.out.note(f"{name} is {wanted} after {duration(time.monotonic() - began)}.", style="dim")
        return workspace
    return _reviewed(session, workspace, run)


def _is_final(workspace: Any, run: Any, wanted: str) -> bool:
    """Whether nothing more will come: a stop that is still put off, or a start that has just been asked for, will."""
    if wanted == "stopped" and workspace["stop_requested_at"]:
        return False
    return bool(workspace["active_run"] is None or (run and run["state"] in {"failed", "cancelled"}))


def _progress(workspace: Any, run: Any) -> str:
    text = f"{workspace['name']}: {workspace['state']}"
    if run and run["state"] == "applying":
        total = run["to_add"] + run["to_change"] + run["to_destroy"]
        if total:
            return f"{text}, {run['resources_done']} of {total} resources"
    return text


def _not_as_wanted(workspace: Any, run: Any, wanted: str) -> CliError:
    name = workspace["name"]
    if run and run["state"] in {"failed", "cancelled"} and run["error_message"]:
        message, hint = f"{name} is {workspace['state']}: {run['error_message']}", run["error_hint"]
    else:
        reason = f": {workspace['state_reason']}" if workspace["state_reason"] else "."
        message, hint = f"{name} is {workspace['state']}, not {wanted}{reason}", ""
    hint = hint or f"Look at it: orca workspace status {name}. Mend it: orca workspace apply {name}"
    return CliError(message, hint=hint, code=workspace["state"])


def _reviewed(session: Session, workspace: Any, run: Any) -> Any:
    """Shows a plan that waits, and asks."""
    out, name = session.out, workspace["name"]
    for change in run["changes"]:
        out.note(f"  {change.get('action', '')} {change.get('address', '')}")
    out.note(f"{run['to_add']} to make, {run['to_change']} to change, {run['to_destroy']} to destroy.")
    if not out.asks or not typer.confirm(f"Apply this plan to {name}?", err=True):
        out.note(f"The plan waits for your yes: orca workspace approve {name}")
        return workspace
    session.api.post(f"terraform-runs/{run['id']}/approve/")
    return _until(session, workspace, "ready")


def ssh_in(
    session: Session,
    name: Name = "",
    arguments: Annotated[
        list[str] | None, typer.Argument(help="A command to run there, or options of ssh (after --).")
    ] = None,
) -> None:
    """Log in by SSH, or run a command there: orca workspace ssh lab -- nproc

    The exit code is that of ssh: the command's own, or 255.
    """
    workspace = names.workspace(session.api, name)
    client = shutil.which("ssh")
    if client is None:
        raise CliError("There is no ssh on this machine.", hint="Install the OpenSSH client.", code="no_ssh")
    given = list(arguments or [])
    told = ssh.command(workspace, given[1:] if given[:1] == ["--"] else given)
    if not any(True for _ in session.api.find("ssh-keys/")):
        raise CliError(
            "No SSH key of yours is known to Orca.",
            hint="Add one: orca ssh-key add",
            code="no_ssh_key",
        )
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(client, told)  # noqa: S606 - the program becomes ssh: its terminal, its signals, its exit code
    raise typer.Exit(subprocess.run([client, *told[1:]], check=False).returncode)


def ssh_config(session: Session, name: Name = "") -> None:
    """Print what lets plain ssh, scp, rsync and editors reach it; for ~/.ssh/config."""
    workspace = names.workspace(session.api, name)
    block = ssh.config(workspace)
    alias = block.splitlines()[0].split()[1]
    session.out.result({"host": alias, "config": block, "options": ssh.options(workspace)}, block)
    if sys.stdout.isatty():
        session.out.note(f"\nAppend it to ~/.ssh/config, then: ssh {alias}", style="dim")
