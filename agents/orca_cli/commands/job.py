"""``job``: one script over many nodes and all the data that a description finds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.text import Text

from .. import completion, names
from ..command import Session, command, confirmed
from ..errors import CliError, Exit
from ..jobs import ENDED, exit_code_of, followed, lines_of
from ..output import ago, dollars, duration, size, state
from ..transfers import appearing, fetch, plain_http
from .run import logs_of_steps
from .script import pushed_script

_STDIN = "-"
Job = Annotated[
    str, typer.Argument(help="Its name or id; the last one unless given.", autocompletion=completion.job_names)
]
JobNamed = Annotated[str, typer.Argument(help="Its name or id.", autocompletion=completion.job_names)]
File = Annotated[str, typer.Argument(help="The YAML file; “-” is standard input.")]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Show one bar until it ends; the exit code says whether it went well.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Put the commands in their places."""
    group = typer.Typer(no_args_is_help=True, help="One script over many nodes and a sky full of data.")
    for name, function in (
        ("submit", submit),
        ("validate", validate),
        ("preview", preview),
        ("ls", ls),
        ("status", status),
        ("shards", shards),
        ("logs", logs),
        ("cancel", cancel),
        ("retry", retry),
        ("download", download),
        ("items", items),
        ("rm-outputs", rm_outputs),
    ):
        command(group, name)(function)
    app.add_typer(group, name="job", rich_help_panel="Work")


def submit(
    session: Session,
    file: File,
    follow: Follow = False,
    to: Annotated[
        Path | None, typer.Option("--to", "-o", help="Fetch the archive of its outputs into this folder, at the end.")
    ] = None,
) -> None:
    """Submit a job. A script that is a path (./blur, blur.py) is uploaded first."""
    asked = _with_script(session, file, _read(file))
    started = session.api.post("jobs/", asked)
    if not follow and to is None:
        session.out.result(started, started["id"])
        return
    _to_end(session, started, to)


def _to_end(session: Session, job: Any, to: Path | None) -> None:
    """Follow a job to its end, fetch what it has made, and exit as it did."""
    session.out.note(f"Job {job['name']} ({job['id']})", style="dim")
    ended = followed(session.api, session.out, job)
    made = _archive(session, ended, to) if to is not None else None
    session.out.result({**ended, "archive": str(made)} if made else ended, *lines_of(ended))
    raise typer.Exit(exit_code_of(ended))


def _read(file: str) -> dict[str, Any]:
    """What a job's file says."""
    try:
        text = sys.stdin.read() if file == _STDIN else Path(file).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CliError(f"There is no file {file}.", code="no_file", exit_code=Exit.USAGE) from error
    except (OSError, UnicodeError) as error:
        raise CliError(f"{file} cannot be read as text.", code="no_file", exit_code=Exit.USAGE) from error
    try:
        found = yaml.load(text, Loader=_Loader)  # noqa: S506 (it is the safe one)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _unreadable(file, error) from error
    try:
        json.dumps(found)
    except (TypeError, ValueError, RecursionError) as error:
        raise CliError(f"{file} cannot be sent: {error}", code="bad_yaml", exit_code=Exit.USAGE) from error
    if not isinstance(found, dict):
        raise CliError(f"{file} is no job.", hint="It begins like this: name: blur", exit_code=Exit.USAGE)
    return found


class _Loader(yaml.SafeLoader):
    """Times stay as they are written: what they mean is the portal's to say."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _unreadable(file: str, error: Exception) -> CliError:
    mark = getattr(error, "problem_mark", None)
    place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
    reason = getattr(error, "problem", None) or str(error) or "nested too deeply"
    return CliError(f"{file}{place}: {reason}.", code="bad_yaml", exit_code=Exit.USAGE)


def _with_script(session: Session, file: str, asked: dict[str, Any]) -> dict[str, Any]:
    """The same, its script uploaded where it is one of this machine: then its id and version stand in its place."""
    if not _local(file, asked):
        return asked
    if asked.get("version"):
        raise CliError("A local script has no version yet.", hint="Leave “version” out.", exit_code=Exit.USAGE)
    folder = Path() if file == _STDIN else Path(file).parent
    pushed = pushed_script(session, folder / Path(asked["script"]).expanduser())
    session.out.note(f"{pushed['name']} version {pushed['version']['number']} ({pushed['outcome']})", style="dim")
    return {**asked, "script": pushed["script"], "version": pushed["version"]["number"]}


def _is_path(named: str, folder: Path) -> bool:
    """Whether a person means a file: it is written like one, as no script's plain name is."""
    written = named in {".", ".."} or named.startswith(("./", "../", "/", "~"))
    written = written or Path(named).suffix in {".py", ".sh", ".zip"}
    if written and not (folder / Path(named).expanduser()).exists():
        raise CliError(f"There is no script {folder / named}.", code="no_file", exit_code=Exit.USAGE)
    return written


def validate(session: Session, file: File) -> None:
    """Say what is wrong with a job's file, field by field. Submits nothing, uploads nothing."""
    asked = _read(file)
    errors = session.api.post("jobs/validate/", asked)["errors"]
    if _local(file, asked):
        errors.pop("script", None)
    session.out.result(
        {"errors": errors},
        *([f"{file}: {field}: {said}" for field, said in errors.items()] or [f"{file} is a good job."]),
    )
    if errors:
        raise typer.Exit(Exit.REFUSED)


def _local(file: str, asked: dict[str, Any]) -> bool:
    """Whether the script is a file of this machine."""
    named = asked.get("script")
    return isinstance(named, str) and _is_path(named, Path() if file == _STDIN else Path(file).parent)


def preview(session: Session, file: File) -> None:
    """Look for the data and say what there is of it, and what it would cost. Submits nothing.

    A script that is a path is uploaded, as it would be for the job.
    """
    asked = _with_script(session, file, _read(file))
    with session.out.busy("Looking for the data …"):
        found = session.api.post("jobs/preview/", asked)
    more = "at least " if found.get("more") else ""
    held = f", {size(found['bytes'])}" if found.get("bytes") else ""
    split = f", {found['shards']} shards" if found.get("shards") else ""
    lines = [Text.assemble((f"{more}{found['items']} items", "bold"), f"{held}{split}")]
    if found.get("estimate") is not None:
        lines.append(Text(f"about {dollars(found['estimate'])}, at most {dollars(found.get('estimate_most'))}"))
    lines += [Text(f"! {warning}", style="yellow") for warning in found.get("warnings", [])]
    session.out.result(found, *lines)


def ls(
    session: Session,
    only: Annotated[str, typer.Option("--state", help="Only those in this state.")] = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="At most so many.")] = 20,
) -> None:
    """Your jobs, the newest first."""
    asked: dict[str, Any] = {"page_size": min(count, 200)} | ({"state": only} if only else {})
    found = [job for _, job in zip(range(count), session.api.find("jobs/", **asked), strict=False)]
    rows = [
        (j["id"], j["name"], state(j["state"]), j["phase"], _done(j), j["nodes"], ago(j["created_at"])) for j in found
    ]
    columns = ["id", "name", "state", "phase", "shards", "nodes", "asked for"]
    session.out.table(found, columns, rows, empty="You have no job yet. Submit one: orca job submit job.yaml")


def _done(job: Any) -> str:
    done = (job.get("progress") or {}).get("done")
    return "-" if not job.get("shards") else str(job["shards"]) if done is None else f"{done}/{job['shards']}"


def _job(session: Session, name: str) -> Any:
    """The job of this name or id; without one the last. Raises ``CliError``."""
    if name:
        found = names.named(session.api, "job", name)
        return session.api.get(f"jobs/{found['id']}/")
    for last in session.api.find("jobs/", page_size=1):
        return session.api.get(f"jobs/{last['id']}/")
    raise CliError(
        "You have no job yet.", hint="Submit one: orca job submit job.yaml", code="no_job", exit_code=Exit.NOT_FOUND
    )


def status(session: Session, job: Job = "", follow: Follow = False) -> None:
    """How a job goes: its shards by state, its nodes, its cost."""
    found = session.api.get(f"jobs/{_job(session, job)['id']}/")
    if follow:
        _to_end(session, found, None)
    session.out.result(found, *lines_of(found))


def shards(
    session: Session,
    job: Job = "",
    only: Annotated[str, typer.Option("--state", help="Only those in this state.")] = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="At most so many.")] = 100,
) -> None:
    """The shards of a job, in their order."""
    asked: dict[str, Any] = {"page_size": min(count, 200)} | ({"state": only} if only else {})
    listed = session.api.find(f"jobs/{_job(session, job)['id']}/shards/", **asked)
    found = [shard for _, shard in zip(range(count), listed, strict=False)]
    rows = [
        (
            s["number"],
            state(s["state"]),
            s["items"],
            len(s["tries"]) + 1 if s["attempt"] else 0,
            duration(s["seconds"]),
            s["instance_id"] or "-",
            s["message"],
        )
        for s in found
    ]
    columns = ["shard", "state", "items", "tries", "took", "node", "message"]
    session.out.table(found, columns, rows, empty="There are no such shards.")


def logs(
    session: Session, job: JobNamed, shard: Annotated[str, typer.Argument(help="The number of the shard.")]
) -> None:
    """The log of one shard, as far as it has come."""
    if not (shard.isascii() and shard.isdigit()):
        raise CliError(f"“{shard}” is no shard's number.", hint="Write: orca job logs JOB 17", exit_code=Exit.USAGE)
    found = _job(session, job)
    for one in session.api.find(f"jobs/{found['id']}/shards/", number=int(shard), superseded="false"):
        logs_of_steps(session, found["run"], [one])
        return
    raise CliError(
        f"{found['name']} has no shard {shard}.",
        hint=f"They are listed by: orca job shards {job}",
        exit_code=Exit.NOT_FOUND,
    )


def cancel(session: Session, job: Job = "") -> None:
    """Cancel a job: no further shard begins, those that run are told to end. What is done stays."""
    found = _job(session, job)
    if found["phase"] == ENDED:
        session.out.result(found, f"{found['name']} has ended already: {found['state']}.")
        return
    found = session.api.post(f"jobs/{found['id']}/cancel/")
    session.out.result(found, f"{found['name']} is being cancelled.")


def retry(session: Session, job: Job = "", follow: Follow = False) -> None:
    """Do the failed shards of a job again, and only those, on the same data."""
    found = session.api.post(f"jobs/{_job(session, job)['id']}/retry/")
    if follow:
        _to_end(session, found, None)
    session.out.result(found, f"The failed shards of {found['name']} are done again.")


def download(
    session: Session,
    job: Job = "",
    to: Annotated[Path, typer.Option("--to", "-o", help="The folder to put it in.")] = Path(),
) -> None:
    """Fetch all outputs of a job as one archive."""
    found = _job(session, job)
    path = _archive(session, found, to)
    session.out.result({"job": found["id"], "path": str(path), "size": path.stat().st_size}, str(path))


def _archive(session: Session, job: Any, to: Path) -> Path:
    return _fetched(session, f"jobs/{job['id']}/archive/", to, f"{_plain(job['name'])}.zip")


def _fetched(session: Session, route: str, to: Path, name: str) -> Path:
    """What a route has a link to, in the folder ``to``."""
    first = session.api.get(route)
    links = iter([str(first["url"])])
    place = to / _plain(Path(first.get("filename") or name).name)
    with session.out.transfers() as bars, plain_http(session.profile.url) as http, appearing(place) as target:
        bar = bars.add_task(place.name, total=first.get("size"))
        fetch(
            http,
            lambda: next(links, "") or str(session.api.get(route)["url"]),
            place.name,
            target,
            lambda count: bars.advance(bar, count),
        )
    return place


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).lstrip(".")[:100] or "job"


def items(
    session: Session,
    job: Job = "",
    to: Annotated[
        Path | None, typer.Option("--to", "-o", help="Keep the list in this folder instead of printing it.")
    ] = None,
    outputs: Annotated[bool, typer.Option(help="Not the items, but the index: which item gave which file.")] = False,
) -> None:
    """The items that a job works on, one JSON object a line, as they were frozen when it was submitted."""
    found = _job(session, job)
    kind = "outputs" if outputs else "items"
    route = f"jobs/{found['id']}/{kind}/"
    if to is not None:
        file = "index.json" if outputs else "items.jsonl"
        path = _fetched(session, route, to, f"{_plain(found['name'])}-{file}")
        session.out.result({"job": found["id"], "path": str(path)}, str(path))
        return
    if session.out.as_json:
        session.out.result(session.api.get(route))
        return
    with plain_http(session.profile.url) as http:
        fetch(http, lambda: str(session.api.get(route)["url"]), kind, sys.stdout.buffer, lambda count: None)
    sys.stdout.buffer.flush()


def rm_outputs(session: Session, job: JobNamed, yes: Yes = False) -> None:
    """Delete what a job has made, for good. The job itself, its items and its logs stay."""
    found = _job(session, job)
    confirmed(session, f"Delete all outputs of {found['name']} for good?", yes=yes)
    session.api.delete(f"jobs/{found['id']}/outputs/")
    session.out.result(found, f"The outputs of {found['name']} are deleted.")
