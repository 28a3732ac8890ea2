"""``run`` starts something and shows it live; ``runs`` looks at what ran."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.text import Text

from .. import completion, names
from ..command import Session, command
from ..errors import CliError, Exit
from ..follow import FINAL, exit_code_of, followed, why
from ..output import ago, duration, size, state
from ..profiles import is_local
from ..transfers import appearing
from .script import pushed_script
from .workspace import Name

RunId = Annotated[str, typer.Argument(help="The run's id; the last one unless given.")]
Workspace = Annotated[
    str,
    typer.Option(
        "--workspace",
        "-w",
        help="Where; not needed where you have one workspace.",
        autocompletion=completion.workspace_names,
        envvar="ORCA_WORKSPACE",
        show_envvar=False,
    ),
]
Outputs = Annotated[
    Path | None, typer.Option("--outputs", "-o", help="Fetch what it left in output/ into this folder, at the end.")
]
Detached = Annotated[bool, typer.Option("--detach", "-d", help="Only start it, and print its id.")]


def register(app: typer.Typer) -> None:
    """Put the commands in their places."""
    settings = {"allow_interspersed_args": True}
    command(app, "run", trouble=Exit.ORCA, context_settings=settings, rich_help_panel="Work")(run)
    group = typer.Typer(no_args_is_help=True, help="What ran and runs.")
    for name, function in (("ls", ls), ("show", show), ("stop", stop), ("outputs", outputs)):
        command(group, name)(function)
    for name, function in (("again", again), ("retry", retry)):
        command(group, name, trouble=Exit.ORCA)(function)
    command(group, "logs", trouble=Exit.ORCA)(logs)
    app.add_typer(group, name="runs", rich_help_panel="Work")


def run(
    session: Session,
    *,
    what: Annotated[
        str,
        typer.Argument(help="A script's name, or a local file or folder.", autocompletion=completion.script_names),
    ],
    arguments: Annotated[list[str] | None, typer.Argument(help="For the script (after --).")] = None,
    workspace: Workspace = "",
    version: Annotated[int, typer.Option(help="Of the script; the newest unless given.", show_default=False)] = 0,
    environment: Annotated[
        list[str] | None, typer.Option("--env", "-e", help="NAME=value, or NAME to take it from here. Repeatable.")
    ] = None,
    limit: Annotated[list[str] | None, typer.Option(help="seconds=600, memory_mb=2048, … Repeatable.")] = None,
    name: Annotated[str, typer.Option(help="What to call the run.")] = "",
    detach: Detached = False,
    to: Outputs = None,
) -> None:
    """Run a script and show its log as it comes. The exit code is the script's.

    A local file or folder is uploaded first, as a new version of the script of its name. Ctrl-C asks whether the run is
    to be stopped. Exit codes besides the script's: 124 out of time, 125 Orca's trouble, 130 cancelled, 128+n killed by
    signal n.
    """
    api, out = session.api, session.out
    wanted: dict[str, Any] = {
        "arguments": list(arguments or []),
        "environment": _environment(environment or []),
        "limits": _limits(limit or []),
        "name": name,
    }
    where = names.workspace(api, workspace)
    if _is_path(what):
        if version:
            raise CliError("A local file has no version yet.", hint="Leave --version out.", exit_code=Exit.USAGE)
        pushed = pushed_script(session, Path(what))
        out.note(f"{pushed['name']} version {pushed['version']['number']} ({pushed['outcome']})", style="dim")
        wanted |= {"script": pushed["script"], "version": pushed["version"]["number"]}
    else:
        wanted["script"] = names.named(api, "script", what)["id"]
        if version:
            wanted["version"] = version
    if where["state"] in {"stopped", "stopping"}:
        out.warn(f"{where['name']} is {where['state']}; the run waits for: orca workspace start {where['name']}")
    show_to_end(session, api.post("runs/", {"workspace": where["id"], **wanted}), detach=detach, to=to)


def show_to_end(session: Session, started: Any, *, detach: bool, to: Path | None) -> None:
    """Follow a run that has just been started, fetch what it leaves, and exit with its code."""
    if detach:
        session.out.result(started, started["id"])
        return
    ended = followed(session.api, session.out, started)
    if to is not None:
        fetched(session, ended, to)
    if session.out.as_json:
        session.out.result(ended)
    for line in why(ended):
        session.out.note(line, style="red" if ended["state"] != "cancelled" else "yellow")
    raise typer.Exit(exit_code_of(ended))


def _is_path(what: str) -> bool:
    """Whether a person means a file: it is there, or is written like one."""
    path = Path(what)
    if path.exists():
        return True
    if what.startswith(("./", "../", "/", "~")) or path.suffix in {".py", ".sh", ".zip"}:
        raise CliError(f"There is no file or folder {what}.", code="no_file", exit_code=Exit.USAGE)
    return False


def _environment(given: list[str]) -> dict[str, str]:
    found = {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not equals:
            if name not in os.environ:
                raise CliError(f"{name} is not set here.", hint=f"Write --env {name}=value.", exit_code=Exit.USAGE)
            value = os.environ[name]
        found[name] = value
    return found


def pairs(given: list[str], example: str) -> dict[str, str]:
    """``name=value``, several of them. Raises ``CliError``."""
    found = {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not equals or not name:
            raise CliError(f"“{entry}” has no value.", hint=f"Write {example}.", exit_code=Exit.USAGE)
        found[name] = value
    return found


def _limits(given: list[str]) -> dict[str, int]:
    found = {}
    for entry in given:
        name, _, value = entry.partition("=")
        if not value.isdigit():
            raise CliError(f"“{entry}” is no limit.", hint="Write --limit seconds=600.", exit_code=Exit.USAGE)
        found[name] = int(value)
    return found


def ls(
    session: Session,
    workspace: Name = "",
    script: Annotated[str, typer.Option(help="Only of this one.", autocompletion=completion.script_names)] = "",
    only: Annotated[str, typer.Option("--state", help="Only those in this state.")] = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="At most so many.")] = 20,
) -> None:
    """What ran and runs, the newest first."""
    api = session.api
    asked: dict[str, Any] = {"page_size": min(count, 200)}
    if workspace:
        asked["workspace"] = names.workspace(api, workspace)["id"]
    if script:
        asked["script"] = names.named(api, "script", script)["id"]
    if only:
        asked["state"] = only
    found = [run for _, run in zip(range(count), api.find("runs/", **asked), strict=False)]
    runs_table(session, found)


def runs_table(session: Session, found: list[Any]) -> None:
    """A list of runs."""
    rows = [(r["id"], r["name"], state(r["state"]), ago(r["created_at"]), duration(r["seconds"])) for r in found]
    session.out.table(found, ["id", "name", "state", "asked for", "took"], rows, empty="Nothing has run yet.")


def run_meant(session: Session, run_id: str) -> Any:
    """The run with this id; without one the last. Raises ``CliError``."""
    if run_id:
        return session.api.get(f"runs/{run_id}/")
    for last in session.api.find("runs/", page_size=1):
        return session.api.get(f"runs/{last['id']}/")
    raise CliError("Nothing has run yet.", hint="Run something: orca run FILE", exit_code=Exit.NOT_FOUND)


def show(session: Session, run_id: RunId = "") -> None:
    """One run with its steps."""
    found = run_meant(session, run_id)
    lines = [Text.assemble((found["name"], "bold"), " ", state(found["state"]), f" {duration(found['seconds'])}")]
    lines.append(Text(f"  id        {found['id']}, asked for {ago(found['created_at'])}, by {found['via']}"))
    for step in found["steps"]:
        code = "" if step["exit_code"] is None else f" (exit code {step['exit_code']})"
        line = Text.assemble(f"  {step['name']:<20} ", state(step["state"]), f"{code} {duration(step['seconds'])}")
        lines.append(line)
        if step["message"]:
            lines.append(Text(f"    {step['message']}"))
        lines += [Text(f"    output/{entry['path']}  {size(entry['size'])}") for entry in step["outputs"]]
    session.out.result(found, *lines)


def logs(
    session: Session,
    run_id: RunId = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show what comes, until it ends.")] = False,
) -> None:
    """A run's log. With --follow the exit code is the script's."""
    logs_shown(session, run_meant(session, run_id), follow=follow)


def logs_shown(session: Session, found: Any, *, follow: bool) -> None:
    """A run's log as far as it has come, or until it ends."""
    if follow:
        show_to_end(session, {**found, "state": "queued"} if found["state"] in FINAL else found, detach=False, to=None)
        return
    several = len(found["steps"]) > 1
    logs_of_steps(session, found["id"], found["steps"], prefixed=several)


def logs_of_steps(session: Session, run_id: str, steps: list[Any], *, prefixed: bool = False) -> None:
    """The logs of some steps as far as they have come."""
    collected = []
    for step in steps:
        after, prefix = 0, f"{step['name']} | " if prefixed else ""
        while lines := session.api.get(f"runs/{run_id}/steps/{step['id']}/log/", after=after):
            after = lines[-1]["number"]
            if session.out.as_json:
                collected += [{"step": step["name"], **line} for line in lines]
                continue
            for line in lines:
                session.out.line(line["text"], line["stream"], prefix)
    if session.out.as_json:
        session.out.result(collected)


def stop(session: Session, run_id: RunId = "") -> None:
    """Stop a run: nothing further starts, what runs is told to end."""
    found = run_meant(session, run_id)
    if found["state"] in FINAL:
        session.out.result(found, f"{found['name']} has ended already: {found['state']}.")
        return
    found = session.api.post(f"runs/{found['id']}/cancel/")
    session.out.result(found, f"{found['name']} is being stopped.")


Follow = Annotated[bool, typer.Option("--follow", "-f", help="Show its log live; the exit code is the script's.")]


def again(session: Session, run_id: RunId = "", follow: Follow = False) -> None:
    """Run the same once more, whole."""
    _repeated(session, run_id, "again", follow=follow)


def retry(session: Session, run_id: RunId = "", follow: Follow = False) -> None:
    """Run a pipeline again from where it failed: what had ended well is taken over."""
    _repeated(session, run_id, "retry", follow=follow)


def _repeated(session: Session, run_id: str, way: str, *, follow: bool) -> None:
    found = run_meant(session, run_id)
    show_to_end(session, session.api.post(f"runs/{found['id']}/{way}/"), detach=not follow, to=None)


def outputs(
    session: Session,
    run_id: RunId = "",
    to: Annotated[Path, typer.Option("--to", "-o", help="The folder to put them in.")] = Path(),
) -> None:
    """Fetch what a run left in output/."""
    found = run_meant(session, run_id)
    made = fetched(session, found, to)
    session.out.result(made, f"{len(made)} files in {to.resolve()}")


def fetched(session: Session, run: Any, to: Path) -> list[dict[str, Any]]:
    """Fetch the outputs of all steps (each in a folder of its own where there are several); what was written."""
    steps = [step for step in run["steps"] if step["outputs"]]
    apart, made, folder = len(run["steps"]) > 1, [], to.resolve()
    with (
        session.out.transfers() as bars,
        httpx.Client(headers={"Accept-Encoding": "identity"}, trust_env=not is_local(session.profile.url)) as http,
    ):
        for step in steps:
            for entry in step["outputs"]:
                place = (folder / step["name"] if apart else folder) / entry["path"]
                if not place.resolve().is_relative_to(folder):
                    raise CliError(f"The output {entry['path']} would lie outside {folder}.", code="bad_path")
                bar = bars.add_task(entry["path"], total=entry["size"])
                link = session.api.get(f"runs/{run['id']}/steps/{step['id']}/outputs/link/", path=entry["path"])
                try:
                    with appearing(place) as target, http.stream("GET", link["url"]) as answer:
                        answer.raise_for_status()
                        for piece in answer.iter_raw():
                            target.write(piece)
                            bars.advance(bar, len(piece))
                except httpx.HTTPError as error:
                    raise CliError(
                        f"The output {entry['path']} could not be fetched: {error}",
                        hint=f"Try again: orca runs outputs {run['id']}",
                        exit_code=Exit.UNREACHABLE,
                    ) from error
                made.append({"step": step["name"], "path": str(place), "size": entry["size"]})
    return made
