"""Questions about scripts and runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from django.db.models import Count, OuterRef, Prefetch, Q, QuerySet, Subquery, prefetch_related_objects
from django.db.models.functions import Coalesce

from portal.accounts.models import User
from portal.clouds.services import account_handle
from portal.core.errors import NotFound
from portal.gateways import aws_storage
from portal.pipelines import bundles
from portal.pipelines.models import Pipeline, PipelineVersion, Run, Script, ScriptVersion, Step

PREVIEW_BYTES = 64 * 1024
STEPS_AT_HAND = 1_000


def scripts_of(owner: User) -> QuerySet[Script]:
    """A person's scripts, newest first; ``latest`` is the newest version's number."""
    newest = ScriptVersion.objects.filter(script=OuterRef("pk")).order_by("-number")
    runs = Run.objects.filter(script=OuterRef("pk"))
    counted = runs.order_by().values("script").annotate(count=Count("*")).values("count")
    return (
        Script.objects.filter(owner=owner, archived_at=None)
        .annotate(
            latest=Subquery(newest.values("number")[:1]),
            runtime=Subquery(newest.values("runtime")[:1]),
            run_count=Coalesce(Subquery(counted), 0),
            last_run_at=Subquery(runs.order_by("-created_at").values("created_at")[:1]),
        )
        .order_by("-created_at")
    )


def script_names(owner: User) -> list[tuple[str, str]]:
    """Id and name of each of a person's scripts, newest first."""
    scripts = Script.objects.filter(owner=owner, archived_at=None).order_by("-created_at")
    return list(scripts.values_list("pk", "name"))


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
    return Run.objects.filter(owner=owner)


def runs_listed(owner: User) -> QuerySet[Run]:
    """The same with what a list shows of each, and no more."""
    shown = ("name", "state", "held", "pipeline", "at_once", "created_at", "started_at", "finished_at")
    return runs_of(owner).select_related("workspace").only(*shown, "workspace__name", "workspace", "owner")


COUNTED = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARK = re.compile(r"(\d{1,17})-([0-9a-z]{26})", re.ASCII)


@dataclass(frozen=True)
class RunsWindow:
    """Some runs, newest first. ``older`` and ``newer`` mark where the windows beside it begin; empty: there is none.

    ``total`` counts the runs in all windows as far as ``COUNTED``, and says one more where there are more.
    """

    runs: list[Run]
    older: str
    newer: str
    total: int


def runs_window(runs: QuerySet[Run], *, before: str = "", after: str = "", size: int = 25) -> RunsWindow:
    """The newest of ``runs``, or those next to a mark; a mark that cannot be read counts as none.

    Takes as long for the last window of many runs as for the first of few: nothing is skipped, and counting ends.
    """
    total = runs.order_by()[: COUNTED + 1].count()
    rising = list(_newer(runs, after)[: size + 1]) if _MARK.fullmatch(after) else []
    if len(rising) > size:
        shown = rising[:size][::-1]
        return RunsWindow(shown, older=_mark(shown[-1]), newer=_mark(shown[0]), total=total)
    # Where less than a whole window is newer, it is the first one that is asked for.
    beside = not after and _MARK.fullmatch(before) is not None
    falling = list((_older(runs, before) if beside else runs)[: size + 1])
    shown = falling[:size]
    return RunsWindow(
        shown,
        older=_mark(shown[-1]) if len(falling) > size else "",
        newer=_mark(shown[0]) if beside and shown else "",
        total=total,
    )


def _mark(run: Run) -> str:
    """The run's place in the order of all."""
    return f"{(run.created_at - _EPOCH) // timedelta(microseconds=1)}-{run.pk}"


def _place(mark: str) -> tuple[datetime, str]:
    microseconds, run_id = mark.split("-")
    return _EPOCH + timedelta(microseconds=int(microseconds)), run_id


def _older(runs: QuerySet[Run], mark: str) -> QuerySet[Run]:
    at, run_id = _place(mark)
    # The last condition says nothing new, but it is the one that an index answers.
    return runs.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=run_id), created_at__lte=at)


def _newer(runs: QuerySet[Run], mark: str) -> QuerySet[Run]:
    """The oldest of them first."""
    at, run_id = _place(mark)
    newer = runs.filter(Q(created_at__gt=at) | Q(created_at=at, pk__gt=run_id), created_at__gte=at)
    return newer.order_by("created_at", "id")


def run_get(*, owner: User, run_id: str) -> Run:
    """One of a person's runs, its first steps at hand. Raises ``NotFound``."""
    found = (
        runs_of(owner)
        .filter(pk=run_id)
        .select_related("script", "workspace__cloud_account")
        .prefetch_related(Prefetch("steps", _first_steps()))
        .first()
    )
    if found is None:
        raise NotFound("There is no such run.")
    return found


def run_bare(*, owner: User, run_id: str) -> Run:
    """One of a person's runs, without its steps. Raises ``NotFound``."""
    around = ("script", "pipeline", "pipeline_version", "requested_by", "workspace__cloud_account")
    found = runs_of(owner).filter(pk=run_id).select_related(*around).first()
    if found is None:
        raise NotFound("There is no such run.")
    return found


_DRAWN = ("run", "key", "name", "position", "needs", "state", "tries", "retry_at", "released_at", "started_at")


def steps_drawn(run: Run) -> list[Step]:
    """A run's steps with what a picture shows of them, and no more."""
    return list(Step.objects.filter(run=run).only(*_DRAWN, "finished_at", "origin").order_by("position"))


def step_found(*, owner: User, run_id: str, step_id: str) -> Step:
    """A step of one of a person's runs, with all that a page shows of it. Raises ``NotFound``."""
    around = ("run", "version__script", "workspace__cloud_account", "origin")
    found = Step.objects.filter(run__owner=owner, run=run_id, pk=step_id).select_related(*around).first()
    if found is None:
        raise NotFound("There is no such step.")
    return found


@dataclass(frozen=True)
class InputShown:
    """What a step is given of another: all of its outputs, or some ``files``."""

    step: Step
    files: list[str]
    outputs: list[OutputShown]


def inputs_of(step: Step) -> list[InputShown]:
    """Whose outputs a step is given, and which there are."""
    wanted = {given["step"]: given["files"] for given in step.inputs}
    if not wanted:
        return []
    given_by = Step.objects.filter(run=step.run_id, key__in=wanted).only("run", "key", "outputs").order_by("position")
    return [InputShown(each, wanted[each.key], _given(each, wanted[each.key])) for each in given_by]


def _given(step: Step, files: list[str]) -> list[OutputShown]:
    shown = outputs_of(step)
    return [output for output in shown if not files or output.path in files]


def run_require(*, owner: User, run_id: str) -> None:
    """Raises ``NotFound`` unless this is one of a person's runs."""
    if not runs_of(owner).filter(pk=run_id).exists():
        raise NotFound("There is no such run.")


def with_steps(run: Run) -> Run:
    """A run that is in hand, its steps at hand too."""
    prefetch_related_objects([run], Prefetch("steps", _first_steps()))
    return run


def _first_steps() -> QuerySet[Step]:
    """The steps that are shown with a run: all of a pipeline's, not all shards of a job."""
    # By position: what is prefetched cannot be a slice, because Django narrows it once more.
    return Step.objects.filter(position__lte=STEPS_AT_HAND).select_related("version__script").order_by("position")


def step_get(*, run: Run, step_id: str) -> Step:
    """A step of a run. Raises ``NotFound``."""
    around = ("run", "version__script", "workspace__cloud_account")
    found = Step.objects.filter(run=run, pk=step_id).select_related(*around).first()
    if found is None:
        raise NotFound("There is no such step.")
    return found


@dataclass(frozen=True)
class Line:
    """One line of a log: its number from 1, the stream (``out``, ``err``, ``orca``), when (epoch seconds), what."""

    number: int
    stream: str
    at: float
    text: str


def log_lines(step: Step, *, after: int = 0, most: int = 5_000, execution: int | None = None) -> Iterator[Line]:
    """Lines of a step that come after line ``after``, at most ``most`` of them: of that ``execution``, or its latest.

    A step that was done in an earlier run has the log that it had there.
    """
    done = step.origin or step
    wanted = done.executions if execution is None else execution
    chunks = done.log_chunks.filter(execution=wanted, first__gt=after - 2_000).order_by("first")
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
        step.object_key(f"output/{path}"),
        filename=name,
        inline_as=output["content_type"] if inline else "",
    )


def output_text(step: Step, path: str) -> str:
    """The beginning of a text output, at most ``PREVIEW_BYTES``. Raises ``NotFound``."""
    _output(step, path)
    data = aws_storage.read_bytes(
        account_handle(step.workspace.cloud_account),
        step.workspace.bucket,
        step.object_key(f"output/{path}"),
        most=PREVIEW_BYTES,
    )
    return data.decode("utf-8", "replace")


def pipelines_of(owner: User) -> QuerySet[Pipeline]:
    """A person's pipelines, newest first; ``latest`` is the newest version's number."""
    newest = PipelineVersion.objects.filter(pipeline=OuterRef("pk")).order_by("-number")
    last = Run.objects.filter(pipeline=OuterRef("pk")).order_by("-created_at")
    return (
        Pipeline.objects.filter(owner=owner, archived_at=None)
        .select_related("workspace")
        .annotate(
            latest=Subquery(newest.values("number")[:1]),
            last_run=Subquery(last.values("pk")[:1]),
            last_state=Subquery(last.values("state")[:1]),
            last_run_at=Subquery(last.values("created_at")[:1]),
        )
        .order_by("-created_at")
    )


def pipeline_names(owner: User) -> list[tuple[str, str]]:
    """Id and name of each of a person's pipelines, newest first."""
    pipelines = Pipeline.objects.filter(owner=owner, archived_at=None).order_by("-created_at")
    return list(pipelines.values_list("pk", "name"))


def pipeline_version_get(*, pipeline: Pipeline, number: int | None = None) -> PipelineVersion:
    """A version of a pipeline, the newest unless ``number`` names one. Raises ``NotFound``."""
    versions = pipeline.versions.select_related("written_by").order_by("-number")
    found = (versions.filter(number=number) if number is not None else versions).first()
    if found is None:
        raise NotFound("There is no such version.")
    return found


def pipeline_get(*, owner: User, pipeline_id: str) -> Pipeline:
    """One of a person's pipelines. Raises ``NotFound``."""
    found = pipelines_of(owner).filter(pk=pipeline_id).first()
    if found is None:
        raise NotFound("There is no such pipeline.")
    return found


def pipelines_using(script: Script) -> list[str]:
    """The names of the pipelines whose newest version runs this script."""
    found = []
    for pipeline in Pipeline.objects.filter(owner=script.owner_id, archived_at=None).order_by("name"):
        newest = pipeline.versions.order_by("-number").first()
        if newest and any(step["script_id"] == script.pk for step in newest.definition["steps"]):
            found.append(pipeline.name)
    return found
