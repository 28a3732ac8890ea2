"""Questions about scripts and runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from django.db.models import Count, Max, OuterRef, Prefetch, QuerySet, Subquery

from portal.accounts.models import User
from portal.clouds.services import account_handle
from portal.core.errors import NotFound
from portal.gateways import aws_storage
from portal.pipelines import bundles
from portal.pipelines.models import Run, Script, ScriptVersion, Step

PREVIEW_BYTES = 64 * 1024


def scripts_of(owner: User) -> QuerySet[Script]:
    """A person's scripts, newest first; ``latest`` is the newest version's number."""
    newest = ScriptVersion.objects.filter(script=OuterRef("pk")).order_by("-number")
    return (
        Script.objects.filter(owner=owner, archived_at=None)
        .annotate(
            latest=Subquery(newest.values("number")[:1]),
            runtime=Subquery(newest.values("runtime")[:1]),
            run_count=Count("runs", distinct=True),
            last_run_at=Max("runs__created_at"),
        )
        .order_by("-created_at")
    )


def script_get(*, owner: User, script_id: str) -> Script:
    """One of a person's scripts. Raises ``NotFound``."""
    found = Script.objects.filter(owner=owner, pk=script_id, archived_at=None).first()
    if found is None:
        raise NotFound("There is no such script.")
    return found


def version_get(*, script: Script, number: int | None = None) -> ScriptVersion:
    """A version of a script, the newest unless ``number`` names one. Raises ``NotFound``."""
    versions = script.versions.order_by("-number")
    found = (versions.filter(number=number) if number is not None else versions).first()
    if found is None:
        raise NotFound("There is no such version.")
    return found


def file_text(version: ScriptVersion, path: str) -> str | None:
    """A text file of a version; nothing where it is not text. Raises ``NotFound``."""
    if path not in {file["path"] for file in version.files}:
        raise NotFound("There is no such file in this version.")
    return bundles.file_shown(aws_storage.bundle_open(version.sha256), path)


def runs_of(owner: User) -> QuerySet[Run]:
    """A person's runs, newest first."""
    return Run.objects.filter(owner=owner).select_related("workspace", "script", "requested_by")


def run_get(*, owner: User, run_id: str) -> Run:
    """One of a person's runs, its steps at hand. Raises ``NotFound``."""
    steps = Step.objects.select_related("version__script").order_by("position")
    found = (
        runs_of(owner)
        .filter(pk=run_id)
        .select_related("workspace__cloud_account")
        .prefetch_related(Prefetch("steps", steps))
        .first()
    )
    if found is None:
        raise NotFound("There is no such run.")
    return found


def step_get(*, run: Run, step_id: str) -> Step:
    """A step of a run. Raises ``NotFound``."""
    for step in run.steps.all():
        if step.pk == step_id:
            return step
    raise NotFound("There is no such step.")


@dataclass(frozen=True)
class Line:
    """One line of a log: its number from 1, the stream (``out``, ``err``, ``orca``), when (epoch seconds), what."""

    number: int
    stream: str
    at: float
    text: str


def log_lines(step: Step, *, after: int = 0, most: int = 5_000) -> Iterator[Line]:
    """Lines of a step's current attempt that come after line ``after``, at most ``most`` of them."""
    chunks = step.log_chunks.filter(attempt=max(step.attempt, 1), first__gt=after - 2_000).order_by("first")
    for chunk in chunks.iterator(chunk_size=50):
        for number, (stream, at, text) in enumerate(chunk.lines, chunk.first):
            if number <= after:
                continue
            if most <= 0:
                return
            most -= 1
            yield Line(number, stream, at, text)


@dataclass(frozen=True)
class OutputShown:
    """An output with what a page does with it: ``kind`` is image, table, text, markdown or other."""

    path: str
    size: int
    content_type: str
    kind: str


_KINDS = {
    ".png": "image",
    ".jpg": "image",
    ".jpeg": "image",
    ".gif": "image",
    ".webp": "image",
    ".svg": "image",
    ".csv": "table",
    ".tsv": "table",
    ".md": "markdown",
    ".txt": "text",
    ".log": "text",
    ".json": "text",
    ".yaml": "text",
    ".yml": "text",
}


def outputs_of(step: Step) -> list[OutputShown]:
    """A step's outputs, by name."""
    return [
        OutputShown(
            o["path"],
            o["size"],
            o["content_type"],
            _KINDS.get(PurePosixPath(o["path"]).suffix.lower(), "other"),
        )
        for o in sorted(step.outputs, key=lambda o: o["path"])
    ]


def _output(step: Step, path: str) -> dict[str, Any]:
    for output in step.outputs:
        if output["path"] == path:
            found: dict[str, Any] = output
            return found
    raise NotFound("There is no such output.")


def output_link(step: Step, path: str, *, inline: bool = False) -> str:
    """A link to an output that works for a quarter of an hour. Raises ``NotFound``."""
    output = _output(step, path)
    name = PurePosixPath(path).name
    return aws_storage.link(
        account_handle(step.workspace.cloud_account),
        step.workspace.bucket,
        step.key(f"output/{path}"),
        filename=name,
        inline_as=output["content_type"] if inline else "",
    )


def output_text(step: Step, path: str) -> str:
    """The beginning of a text output, at most ``PREVIEW_BYTES``. Raises ``NotFound``."""
    _output(step, path)
    data = aws_storage.read_bytes(
        account_handle(step.workspace.cloud_account),
        step.workspace.bucket,
        step.key(f"output/{path}"),
        most=PREVIEW_BYTES,
    )
    return data.decode("utf-8", "replace")


def log_link(step: Step) -> str:
    """A link to the whole log. Raises ``NotFound`` while the step has not ended."""
    if not step.log_key:
        raise NotFound("The whole log is there as soon as the step has ended.")
    account = account_handle(step.workspace.cloud_account)
    return aws_storage.link(account, step.workspace.bucket, step.log_key, filename=f"{step.name}-log.txt")
