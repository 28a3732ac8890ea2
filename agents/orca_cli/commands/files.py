"""``cp``, ``ls`` and ``rm`` on a workspace's bucket."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import names
from ..command import Session, command, confirmed
from ..errors import CliError, Exit
from ..output import ago, size
from ..transfers import Bucket, Remote, appearing, remote

Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="A folder, with everything in it.")]


def register(app: typer.Typer) -> None:
    """Put the commands in their places."""
    command(app, "ls", rich_help_panel="Files")(ls)
    command(app, "cp", rich_help_panel="Files")(cp)
    command(app, "rm", rich_help_panel="Files")(rm)


def _bucket(session: Session, place: Remote) -> Bucket:
    return Bucket(session.api, names.workspace(session.api, place.workspace)["id"])


def _remote(text: str) -> Remote:
    found = remote(text)
    if found is None:
        raise CliError(f"“{text}” is no place in a bucket.", hint="Write orca://workspace/path.", exit_code=Exit.USAGE)
    return found


def ls(
    session: Session,
    place: Annotated[str, typer.Argument(help="orca://workspace/path; without it your only workspace's.")] = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Everything below.")] = False,
) -> None:
    """Your files in a workspace's bucket."""
    where = _remote(place) if place else Remote(names.workspace(session.api, "")["name"], "")
    bucket, path = _bucket(session, where), where.path
    found = list(bucket.entries(path, recursive=recursive))
    if path and not path.endswith("/"):  # a file, or a folder that is meant without its slash; not what begins alike
        exact = [entry for entry in found if entry["path"] == path]
        if not exact:
            path += "/"
        found = exact or list(bucket.entries(path, recursive=recursive))
        if not found:
            raise _absent(where)
    skipped = len(path.rpartition("/")[0]) + 1 if "/" in path else 0
    rows = [(size(e["size"]), ago(e["modified"]), e["path"][skipped:]) for e in found]
    session.out.table(found, ["size", "changed", "name"], rows, empty=f"{where} is empty.")


def _absent(where: Remote) -> CliError:
    return CliError(
        f"There is nothing at {where}.",
        hint=f"See what there is: orca ls orca://{where.workspace}/",
        code="not_found",
        exit_code=Exit.NOT_FOUND,
    )


def cp(
    session: Session,
    sources: Annotated[list[str], typer.Argument(help="Local files, or orca://workspace/path.")],
    target: Annotated[str, typer.Argument(help="Where to; “-” is standard output.")],
    recursive: Recursive = False,
) -> None:
    """Copy files into a workspace's bucket, or out of it.

    orca cp data.csv orca://lab/input/ · orca cp -r results/ orca://lab/results · orca cp orca://lab/input/data.csv .

    A target that ends with a slash, and a folder that is there, is copied into; any other names the copy.
    """
    to = remote(target)
    places = [remote(source) for source in sources]
    if to is not None and any(places):
        raise CliError("Files are not copied between buckets.", hint="Copy them here first.", exit_code=Exit.USAGE)
    if to is not None:
        made = _up(session, [Path(source) for source in sources], to, recursive=recursive)
    elif all(places):
        made = _down(session, [place for place in places if place], target, recursive=recursive)
    else:
        raise CliError("One side of a copy is a bucket.", hint="Write orca://workspace/path.", exit_code=Exit.USAGE)
    if target != "-":
        total = sum(entry["size"] for entry in made)
        session.out.result(made, f"{len(made)} file{'' if len(made) == 1 else 's'}, {size(total)}")


def _up(session: Session, sources: list[Path], to: Remote, *, recursive: bool) -> list[dict[str, Any]]:
    into = not to.path or to.path.endswith("/") or len(sources) > 1
    base = to.path if to.path.endswith("/") or not to.path else f"{to.path}/"
    planned = []
    for source in sources:
        for path, below in _local(source, recursive=recursive):
            if into:
                planned.append((path, base + "/".join(filter(None, [_called(source), below]))))
            else:
                planned.append((path, "/".join(filter(None, [to.path, below]))))
    bucket = _bucket(session, to)
    with session.out.transfers() as bars:
        for path, key in planned:
            bar = bars.add_task(key, total=path.stat().st_size or None)
            bucket.upload(path, key, lambda count, bar=bar: bars.advance(bar, count))  # type: ignore[misc]
    return [
        {"from": str(path), "to": f"orca://{to.workspace}/{key}", "size": path.stat().st_size} for path, key in planned
    ]


def _called(source: Path) -> str:
    return source.name or source.resolve().name


def _local(source: Path, *, recursive: bool) -> Iterator[tuple[Path, str]]:
    """The files of a source, each with its path below it (empty for the source itself)."""
    if source.is_file():
        yield source, ""
        return
    if not source.is_dir():
        raise CliError(f"There is no file {source}.", code="no_file", exit_code=Exit.USAGE)
    if not recursive:
        raise CliError(f"{source} is a folder.", hint="Copy it with -r.", code="is_folder", exit_code=Exit.USAGE)
    for path in sorted(source.rglob("*")):
        if path.is_file():
            yield path, path.relative_to(source).as_posix()


def _down(session: Session, places: list[Remote], target: str, *, recursive: bool) -> list[dict[str, Any]]:
    folder = Path(target)
    into = target.endswith("/") or folder.is_dir() or len(places) > 1
    made = []
    for place in places:
        bucket = _bucket(session, place)
        found = list(_stored(bucket, place, recursive=recursive))
        if target == "-":
            for entry, _ in found:
                bucket.download(entry["path"], sys.stdout.buffer, lambda count: None)
            sys.stdout.buffer.flush()
            continue
        with session.out.transfers() as bars:
            for entry, below in found:
                name = place.path.rstrip("/").rpartition("/")[2]
                path = folder / name if into else folder
                path = path / below if below else path
                if ".." in Path(below).parts:
                    raise CliError(f"{entry['path']} would lie outside {folder}.", code="bad_path")
                bar = bars.add_task(entry["path"], total=entry["size"] or None)
                with appearing(path) as file:
                    bucket.download(entry["path"], file, lambda count, bar=bar: bars.advance(bar, count))  # type: ignore[misc]
                made.append(
                    {"from": f"orca://{place.workspace}/{entry['path']}", "to": str(path), "size": entry["size"]}
                )
    return made


def _stored(bucket: Bucket, place: Remote, *, recursive: bool) -> Iterator[tuple[Any, str]]:
    """The files at a place, each with its path below it (empty for the place itself)."""
    path = place.path
    if path and not path.endswith("/"):
        exact = [entry for entry in bucket.entries(path) if entry["path"] == path and entry["kind"] == "file"]
        if exact:
            yield exact[0], ""
            return
    prefix = path if not path or path.endswith("/") else f"{path}/"
    below = list(bucket.entries(prefix, recursive=True))
    if not below:
        raise _absent(place)
    if not recursive:
        raise CliError(f"{place} is a folder.", hint="Copy it with -r.", code="is_folder", exit_code=Exit.USAGE)
    for entry in below:
        yield entry, entry["path"][len(prefix) :]


def rm(
    session: Session,
    place: Annotated[str, typer.Argument(help="orca://workspace/path.")],
    recursive: Recursive = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)] = False,
) -> None:
    """Delete files in a workspace's bucket, for good."""
    where = _remote(place)
    bucket = _bucket(session, where)
    found = [entry for entry, _ in _stored(bucket, where, recursive=recursive)]
    if recursive:
        confirmed(session, f"Delete {len(found)} files at {where} for good?", yes=yes)
    for entry in found:
        bucket.delete(entry["path"])
    session.out.result(found, f"Deleted {len(found)} file{'' if len(found) == 1 else 's'}.")
