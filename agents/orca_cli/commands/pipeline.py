"""``pipeline``: what runs in order."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.text import Text

from .. import completion, names
from ..command import Session, command, confirmed
from ..errors import CliError, Exit
from ..follow import FINAL
from ..output import ago, state
from .run import Outputs, logs_shown, pairs, runs_table, show_to_end
from .script import pushed_script

_STDIN = "-"
# Where the scripts of a pipeline may lie, beside its file.
_PLACES = ("{0}", "{0}.py", "{0}.sh", "scripts/{0}", "scripts/{0}.py", "scripts/{0}.sh")
Pipeline = Annotated[str, typer.Argument(help="Its name or id.", autocompletion=completion.pipeline_names)]
File = Annotated[str, typer.Argument(help="The YAML file; “-” is standard input.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Put the commands in their places."""
    group = typer.Typer(no_args_is_help=True, help="Steps in order, from a YAML file.")
    for name, function in (
        ("apply", apply),
        ("validate", validate),
        ("ls", ls),
        ("show", show),
        ("runs", runs),
        ("stop", stop),
        ("rm", rm),
    ):
        command(group, name)(function)
    command(group, "run", trouble=Exit.ORCA)(run)
    command(group, "logs", trouble=Exit.ORCA)(logs)
    app.add_typer(group, name="pipeline", rich_help_panel="Work")


def apply(
    session: Session,
    file: File,
    scripts: Annotated[
        bool, typer.Option(help="Upload the scripts that lie beside the file under the names it gives them.")
    ] = True,
) -> None:
    """Make a pipeline what its file says. The same again changes nothing.

    A step's script “fetch” is uploaded first where fetch/, fetch.py or fetch.sh lies beside the file or in scripts/.
    """
    source = _read(file)
    pushed = _scripts_pushed(session, Path(file).parent, source) if scripts and file != _STDIN else []
    try:
        answer = session.api.send("POST", "pipelines/", json={"source": source})
    except CliError as error:
        if error.code == "bad_pipeline":
            raise _wrong(session, file, source) from error
        raise
    version = answer.json()
    outcome = "unchanged" if answer.status_code != 201 else "created" if version["number"] == 1 else "changed"
    name = version["definition"]["name"]
    shown = {"outcome": outcome, "name": name, "pipeline": version["pipeline"], "version": version["number"]}
    told = [Text.assemble(state(one["outcome"]), f": script {one['name']} version {one['version']}") for one in pushed]
    told.append(Text.assemble(state(outcome), f": pipeline {name} version {version['number']}"))
    session.out.result({**shown, "scripts": pushed}, *told)


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == _STDIN else Path(file).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CliError(f"There is no file {file}.", code="no_file", exit_code=Exit.USAGE) from error
    except (OSError, UnicodeError) as error:
        raise CliError(f"{file} cannot be read as text.", code="no_file", exit_code=Exit.USAGE) from error


def _scripts_pushed(session: Session, folder: Path, source: str) -> list[dict[str, Any]]:
    """Upload the scripts beside the file that its steps name; what became of each."""
    pushed = []
    for name in _scripts_named(source):
        for place in _PLACES:
            path = folder / place.format(name)
            if path.is_dir() or (path.is_file() and path.suffix):
                done = pushed_script(session, path, name=name)
                pushed.append({"outcome": done["outcome"], "name": name, "version": done["version"]["number"]})
                break
    return pushed


def _scripts_named(source: str) -> list[str]:
    """The scripts that the steps name. What is wrong with the YAML is the portal's to say."""
    try:
        read = yaml.safe_load(source)
    except (yaml.YAMLError, RecursionError, ValueError):
        return []
    steps = read.get("steps") if isinstance(read, dict) else None
    named = [step.get("script") for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
    plain = [name for name in named if isinstance(name, str) and name and "/" not in name and not name.startswith(".")]
    return list(dict.fromkeys(plain))


def validate(session: Session, file: File) -> None:
    """Say what is wrong with a pipeline's file, with line and column. Saves nothing."""
    source = _read(file)
    errors = session.api.post("pipelines/validate/", {"source": source})["errors"]
    lines = _places(file, errors) if errors else [f"{file} is a good pipeline."]
    session.out.result({"errors": errors}, *lines)
    if errors:
        raise typer.Exit(Exit.REFUSED)


def _places(file: str, errors: list[Any]) -> list[str]:
    """``file:line:column: field: message``, as editors and compilers say it."""
    found = []
    for error in errors:
        field = f"{error['field']}: " if error["field"] else ""
        found.append(f"{file}:{error['line']}:{error['column']}: {field}{error['message']}")
    return found


def _wrong(session: Session, file: str, source: str) -> CliError:
    errors = session.api.post("pipelines/validate/", {"source": source})["errors"]
    for line in _places(file, errors):
        session.out.note(line)
    count = f"{len(errors)} mistake{'' if len(errors) == 1 else 's'}"
    fields = {f"line {error['line']}, {error['field']}": error["message"] for error in errors}
    hint = "Each is named above, with its line and column."
    wrong = CliError(f"{file} has {count}.", hint=hint, code="bad_pipeline")
    if session.out.as_json:
        wrong.fields, wrong.hint = fields, ""
    return wrong


def run(
    session: Session,
    name: Pipeline,
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="name=value. Repeatable.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show the log live; the exit code is that of the step that failed.")
    ] = False,
    to: Outputs = None,
) -> None:
    """Run a pipeline."""
    found = names.named(session.api, "pipeline", name)
    given = pairs(parameter or [], "--parameter day=today")
    started = session.api.post(f"pipelines/{found['id']}/runs/", {"parameters": given})
    if started.get("held"):
        session.out.note("Another run of it is open; this one waits for that to end.")
    show_to_end(session, started, detach=not follow, to=to)


def ls(session: Session) -> None:
    """Your pipelines."""
    found = list(session.api.find("pipelines/"))
    rows = [
        (
            p["name"],
            p["latest"],
            state(p["last_state"] or "-"),
            ago(p["last_run_at"]),
            p["concurrency"],
            p["description"],
        )
        for p in found
    ]
    columns = ["name", "version", "last", "last run", "concurrency", "what for"]
    session.out.table(found, columns, rows, empty="You have no pipeline yet. Make one: orca pipeline apply FILE")


def show(
    session: Session,
    name: Pipeline,
    version: Annotated[int, typer.Option(help="The newest unless given.", show_default=False)] = 0,
) -> None:
    """The YAML of a pipeline."""
    found = names.named(session.api, "pipeline", name)
    asked = {"number": version} if version else {"page_size": 1}
    for one in session.api.find(f"pipelines/{found['id']}/versions/", **asked):
        session.out.result({**found, "version": one}, one["source"].rstrip("\n"))
        return
    raise CliError(f"{found['name']} has no version {version}.", exit_code=Exit.NOT_FOUND)


def runs(
    session: Session,
    name: Pipeline,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="At most so many.")] = 20,
) -> None:
    """Runs of a pipeline, the newest first."""
    runs_table(session, _runs(session, names.named(session.api, "pipeline", name), count))


def _runs(session: Session, pipeline: Any, count: int) -> list[Any]:
    listed = session.api.find("runs/", pipeline=pipeline["id"], page_size=min(count, 200))
    return [run for _, run in zip(range(count), listed, strict=False)]


def logs(
    session: Session,
    name: Pipeline,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show what comes, until it ends.")] = False,
) -> None:
    """The log of a pipeline's last run. With --follow the exit code is that of the step that failed."""
    pipeline = names.named(session.api, "pipeline", name)
    for last in _runs(session, pipeline, 1):
        logs_shown(session, session.api.get(f"runs/{last['id']}/"), follow=follow)
        return
    raise CliError(
        f"{pipeline['name']} has not run yet.", hint=f"Run it: orca pipeline run {name}", exit_code=Exit.NOT_FOUND
    )


def stop(session: Session, name: Pipeline) -> None:
    """Stop every open run of a pipeline: nothing further starts, what runs is told to end."""
    pipeline = names.named(session.api, "pipeline", name)
    stopped = []
    for open_state in ("running", "queued"):
        for one in session.api.find("runs/", pipeline=pipeline["id"], state=open_state):
            if one["state"] not in FINAL:
                stopped.append(session.api.post(f"runs/{one['id']}/cancel/"))
    said = f"{len(stopped)} run{'' if len(stopped) == 1 else 's'} of {pipeline['name']} being stopped."
    session.out.result(stopped, said if stopped else f"No run of {pipeline['name']} is open.")


def rm(session: Session, name: Pipeline, yes: Yes = False) -> None:
    """Take a pipeline out of sight. Its runs stay."""
    found = names.named(session.api, "pipeline", name)
    confirmed(session, f"Take the pipeline {found['name']} out of sight?", yes=yes)
    session.api.delete(f"pipelines/{found['id']}/")
    session.out.result(found, f"Removed {found['name']}.")
