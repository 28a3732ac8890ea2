"""``schedule``: what starts by itself."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from rich.text import Text

from .. import completion, names
from ..command import Session, command, confirmed
from ..errors import CliError, Exit
from ..output import ago, state
from .run import pairs

_EVERY = re.compile(r"(\d+)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
Schedule = Annotated[str, typer.Argument(help="Its name or id.", autocompletion=completion.schedule_names)]
Cron = Annotated[str, typer.Option(help="Minute, hour, day of the month, month, day of the week: “30 6 * * 1-5”.")]
Every = Annotated[str, typer.Option(help="Such as 15m, 2h, “3 days”.")]
At = Annotated[str, typer.Option(help="Once, at this moment: 2027-01-31T06:00.")]
Zone = Annotated[str, typer.Option(help="The time zone that is meant, such as Europe/Berlin.")]
Workspace = Annotated[str, typer.Option(help="A workspace.", autocompletion=completion.workspace_names)]


def register(app: typer.Typer) -> None:
    """Put the commands in their places."""
    group = typer.Typer(no_args_is_help=True, help="What starts by itself: pipelines, scripts, instances.")
    for name, function in (
        ("set", put),
        ("ls", ls),
        ("show", show),
        ("preview", preview),
        ("fires", fires),
        ("enable", enable),
        ("disable", disable),
        ("run", run),
        ("rm", rm),
    ):
        command(group, name)(function)
    app.add_typer(group, name="schedule", rich_help_panel="Work")


def put(
    session: Session,
    name: Annotated[str, typer.Argument(help="What you call it.", autocompletion=completion.schedule_names)],
    arguments: Annotated[list[str] | None, typer.Argument(help="For the script (after --).")] = None,
    *,
    pipeline: Annotated[str, typer.Option(help="Run this.", autocompletion=completion.pipeline_names)] = "",
    script: Annotated[str, typer.Option(help="Run this.", autocompletion=completion.script_names)] = "",
    start: Annotated[
        str, typer.Option(help="Start this workspace's instances.", autocompletion=completion.workspace_names)
    ] = "",
    stop: Annotated[
        str, typer.Option(help="Stop this workspace's instances.", autocompletion=completion.workspace_names)
    ] = "",
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="Of the pipeline: name=value. Repeatable.")
    ] = None,
    workspace: Annotated[
        str, typer.Option("--workspace", "-w", help="Where a script runs.", autocompletion=completion.workspace_names)
    ] = "",
    cron: Cron = "",
    every: Every = "",
    at: At = "",
    zone: Zone = "UTC",
    missed: Annotated[
        str, typer.Option(help="When Orca was not running at the time: skip, or run_once.", show_default=False)
    ] = "",
    disabled: Annotated[bool, typer.Option("--disabled", help="Keep it, without its firing.")] = False,
) -> None:
    """Make a schedule, or make the one of that name so. The same again changes nothing.

    orca schedule set nightly --pipeline etl --cron "30 2 * * *" --zone Europe/Berlin
    """
    api = session.api
    wanted: dict[str, Any] = {"name": name, **_timing(cron, every, at, zone), "enabled": not disabled}
    chosen = {"pipeline": pipeline, "script": script, "start": start, "stop": stop}
    actions = [action for action, target in chosen.items() if target]
    if len(actions) != 1:
        raise CliError(
            "Say what it starts.", hint="One of: --pipeline, --script, --start, --stop.", exit_code=Exit.USAGE
        )
    [action] = actions
    wanted["action"] = action
    if action == "pipeline":
        wanted["pipeline"] = names.named(api, "pipeline", pipeline)["id"]
        wanted["parameters"] = pairs(parameter or [], "--parameter day=today")
    elif action == "script":
        wanted["script"] = names.named(api, "script", script)["id"]
        wanted["workspace"] = names.workspace(api, workspace)["id"]
        wanted["arguments"] = list(arguments or [])
    else:
        wanted["workspace"] = names.named(api, "workspace", start or stop)["id"]
    if missed:
        wanted["missed"] = missed
    outcome, made = _made(session, name, wanted)
    coming = _coming(session, made) if made["enabled"] else []
    line = Text.assemble(state(outcome), f": {made['name']}, {made['words']}")
    session.out.result({"outcome": outcome, "schedule": made}, line, *coming)


def _made(session: Session, name: str, wanted: dict[str, Any]) -> tuple[str, Any]:
    there = [one for one in session.api.find("schedules/", name=name) if one["name"] == name]
    if not there:
        return "created", session.api.post("schedules/", wanted)
    path = f"schedules/{there[0]['id']}/"
    after = session.api.send("PATCH", path, json=wanted).json()
    moving = {"next_at", "last_fire", "words", "disabled_reason"}
    same = all(after[key] == value for key, value in there[0].items() if key not in moving)
    return "unchanged" if same else "changed", after


def _timing(cron: str, every: str, at: str, zone: str) -> dict[str, Any]:
    if sum(map(bool, (cron, every, at))) != 1:
        raise CliError("Say when.", hint="One of: --cron, --every, --at.", exit_code=Exit.USAGE)
    if cron:
        return {"kind": "cron", "expression": cron, "zone": zone}
    if at:
        return {"kind": "once", "at": at, "zone": zone}
    read = _EVERY.fullmatch(every.strip().lower())
    if read is None:
        raise CliError(f"“{every}” is no time.", hint="Write --every 15m, 2h or “3 days”.", exit_code=Exit.USAGE)
    return {"kind": "interval", "every": int(read[1]), "unit": _UNITS[read[2][0]], "zone": zone}


def _coming(session: Session, schedule: Any) -> list[str]:
    timing = {key: schedule[key] for key in ("kind", "expression", "every", "unit", "at", "zone")}
    return _times(session.api.post("schedules/preview/", timing))


def _times(previewed: Any) -> list[str]:
    found = []
    for one in previewed["coming"]:
        note = f"  ({one['note']})" if one["note"] else ""
        found.append(f"  {one['local']}{note}")
    return found


def preview(session: Session, cron: Cron = "", every: Every = "", at: At = "", zone: Zone = "UTC") -> None:
    """When it would fire next, five times. Saves nothing."""
    found = session.api.post("schedules/preview/", _timing(cron, every, at, zone))
    session.out.result(found, found["words"], *_times(found))


def ls(session: Session) -> None:
    """Your schedules."""
    found = list(session.api.find("schedules/"))
    rows = [
        (s["name"], s["action"], s["words"], ago(s["next_at"]) if s["enabled"] else "disabled", _last(s)) for s in found
    ]
    empty = "You have no schedule yet. Make one: orca schedule set NAME --pipeline NAME --cron …"
    session.out.table(found, ["name", "does", "when", "next", "last"], rows, empty=empty)


def _last(schedule: Any) -> str:
    last = schedule["last_fire"]
    return "-" if last is None else f"{last['run_state'] or last['state']} {ago(last['due_at'])}"


def show(session: Session, name: Schedule) -> None:
    """One schedule, and when it is due."""
    found = names.named(session.api, "schedule", name)
    how = (
        "enabled"
        if found["enabled"]
        else f"disabled{': ' if found['disabled_reason'] else ''}{found['disabled_reason']}"
    )
    lines = [f"{found['name']}: {found['action']}, {found['words']} ({how})"]
    session.out.result(found, *lines, *(_coming(session, found) if found["enabled"] else []))


def fires(
    session: Session,
    name: Schedule,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="At most so many.")] = 20,
) -> None:
    """What became of a schedule's times: fired, missed, refused or failed."""
    schedule = names.named(session.api, "schedule", name)
    listed = session.api.find(f"schedules/{schedule['id']}/fires/", page_size=min(count, 200))
    found = [fire for _, fire in zip(range(count), listed, strict=False)]
    rows = [
        (fire["due_at"], state(fire["state"]), fire["run"] or "-", fire["run_state"] or "-", fire["why"])
        for fire in found
    ]
    session.out.table(found, ["due", "what", "run", "ended", "why"], rows, empty="It has not been due yet.")


def enable(session: Session, name: Schedule) -> None:
    """Let a schedule fire from now on."""
    _switched(session, name, "enable")


def disable(session: Session, name: Schedule) -> None:
    """Let a schedule fire no more until it is enabled."""
    _switched(session, name, "disable")


def _switched(session: Session, name: str, way: str) -> None:
    schedule = names.named(session.api, "schedule", name)
    found = session.api.post(f"schedules/{schedule['id']}/{way}/")
    session.out.result(found, f"{found['name']} is {way}d.")


def run(session: Session, name: Schedule) -> None:
    """Start what a schedule starts, at once; when it is due does not change."""
    schedule = names.named(session.api, "schedule", name)
    fire = session.api.post(f"schedules/{schedule['id']}/run/")
    session.out.result(fire, fire["run"] or fire["state"])


def rm(
    session: Session,
    name: Schedule,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)] = False,
) -> None:
    """Delete a schedule with its history. The runs that it started stay."""
    found = names.named(session.api, "schedule", name)
    confirmed(session, f"Delete the schedule {found['name']}?", yes=yes)
    session.api.delete(f"schedules/{found['id']}/")
    session.out.result(found, f"Removed {found['name']}.")
