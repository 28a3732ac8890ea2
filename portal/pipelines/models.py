"""Scripts and their versions, runs and their steps, and what is on its way to and from the instances."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from portal.core.models import Identified
from portal.core.states import Transitions


class State(models.TextChoices):
    """The states of runs and of steps; only steps wait (for what they need, or for their next try) or are skipped."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out", "timed out"
    LOST = "lost"
    SKIPPED = "skipped"


FINAL = frozenset(
    {State.SUCCEEDED, State.FAILED, State.CANCELLED, State.TIMED_OUT, State.LOST, State.SKIPPED},
)
OF_STEPS_ONLY = frozenset({State.WAITING, State.SKIPPED})
OPEN = frozenset({State.WAITING, State.QUEUED, State.RUNNING})
TRANSITIONS: Transitions = {
    State.WAITING: frozenset({State.QUEUED, State.FAILED, State.CANCELLED, State.SKIPPED}),
    State.QUEUED: frozenset({State.WAITING, State.RUNNING, *FINAL}),
    State.RUNNING: frozenset({State.WAITING, State.QUEUED, *FINAL - {State.SKIPPED}}),
    **{state: frozenset() for state in FINAL},
}


class Script(Identified):
    """Something that a person runs; what exactly is in its versions."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="scripts")
    name = models.CharField(max_length=80)
    # NULL frees the name: MySQL has no partial unique constraint, and takes any number of NULLs in a whole one.
    claimed_name = models.CharField(max_length=80, null=True, blank=True, editable=False)  # noqa: DJ001
    description = models.CharField(max_length=500, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner", "claimed_name"], name="script_names_differ_per_owner"),
        ]

    def __str__(self) -> str:
        return self.name


class ScriptVersion(Identified):
    """The files of a script as they were uploaded once. Never changed."""

    class Runtime(models.TextChoices):
        PYTHON = "python", "Python"
        SHELL = "shell", "Shell"

    script = models.ForeignKey(Script, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64, help_text="Of the bundle; its name in the buckets.")
    size = models.PositiveBigIntegerField(help_text="Bytes of all files together.")
    files = models.JSONField(help_text="Path and size of each file.")
    entrypoint = models.CharField(max_length=200)
    runtime = models.CharField(max_length=8, choices=Runtime.choices)
    requirements = models.CharField(max_length=200, blank=True, help_text="The file that lists Python packages.")
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["script", "number"], name="versions_are_numbered"),
        ]

    def __str__(self) -> str:
        return f"{self.script.name} v{self.number}"


class Pipeline(Identified):
    """Scripts in an order; what exactly is in its versions."""

    class Concurrency(models.TextChoices):
        FORBID = "forbid", "refuse the new run"
        QUEUE = "queue", "the new run waits"
        REPLACE = "replace", "stop the old run"
        ALLOW = "allow", "run both"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="pipelines")
    name = models.CharField(max_length=80)
    claimed_name = models.CharField(max_length=80, null=True, blank=True, editable=False)  # noqa: DJ001 (as above)
    description = models.CharField(max_length=500, blank=True)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.PROTECT, related_name="pipelines")
    concurrency = models.CharField(max_length=8, choices=Concurrency.choices, default=Concurrency.QUEUE)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner", "claimed_name"], name="pipeline_names_differ_per_owner"),
        ]

    def __str__(self) -> str:
        return self.name


class PipelineVersion(Identified):
    """A pipeline as it was written once. Never changed: a run keeps the one that it ran with."""

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    source = models.TextField(help_text="The YAML as it came.")
    definition = models.JSONField(help_text="The same with all defaults, names of scripts and workspaces as ids.")
    written_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["pipeline", "number"], name="pipeline_versions_are_numbered"),
        ]

    def __str__(self) -> str:
        return f"{self.pipeline.name} v{self.number}"


class Run(Identified):
    """One time that something was run, from the press of the button to its final state.

    ``held``: it waits for an earlier run of the same pipeline to end. ``at_once`` bounds how many of its steps are with
    the queue or an instance, ``cost_limit`` what they may cost together (`dispatch` keeps to both); amounts of money
    are nano-dollars.
    """

    class OnFailure(models.TextChoices):
        STOP = "stop", "nothing more begins"
        CONTINUE = "continue", "what does not need the failed step goes on"

    class Via(models.TextChoices):
        PAGE = "page", "the page"
        API = "api", "the API"
        SCHEDULE = "schedule", "a schedule"
        CLI = "cli", "the command line"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="runs")
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.PROTECT, related_name="runs")
    script = models.ForeignKey(Script, on_delete=models.PROTECT, null=True, related_name="runs")
    pipeline = models.ForeignKey(Pipeline, on_delete=models.PROTECT, null=True, blank=True, related_name="runs")
    pipeline_version = models.ForeignKey(
        PipelineVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="runs"
    )
    parameters = models.JSONField(default=dict, blank=True)
    on_failure = models.CharField(max_length=8, choices=OnFailure.choices, default=OnFailure.STOP)
    held = models.BooleanField(default=False)
    due_at = models.DateTimeField(null=True, blank=True, help_text="The slot of the schedule that started it.")
    name = models.CharField(max_length=120)
    at_once = models.PositiveIntegerField(null=True, blank=True)
    cost_limit = models.BigIntegerField(null=True, blank=True)
    cost_of_step = models.BigIntegerField(default=0, help_text="The most that one attempt at a step can cost.")
    cost_spent = models.BigIntegerField(default=0, help_text="What the attempts that have ended did cost.")
    budget_told_at = models.DateTimeField(null=True, blank=True, help_text="When its owner heard that it runs out.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED, db_index=True)
    via = models.CharField(max_length=10, choices=Via.choices, default=Via.PAGE)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    again_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta(Identified.Meta):
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["owner", "-created_at"], name="runs_of_a_person"),
            models.Index(fields=["owner", "state", "-created_at"], name="runs_of_a_person_by_state"),
            models.Index(fields=["script", "-created_at"], name="runs_of_a_script"),
            models.Index(fields=["workspace", "-created_at"], name="runs_of_a_workspace"),
            models.Index(fields=["workspace", "at_once", "state"], name="runs_that_are_bounded"),
            models.Index(fields=["pipeline", "-created_at"], name="runs_of_a_pipeline"),
            models.Index(fields=["pipeline", "state"], name="runs_of_a_pipeline_by_state"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken until now."""
        return _seconds(self)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


class Step(Identified):
    """One script version with its arguments, done once in effect.

    ``released_at`` marks that its task was handed to the queue; until then it can be taken back without a word.
    A step that waits with a ``retry_at`` has ended ill and will be tried again then; ``tried`` is the attempt of which
    the end has counted, so that a second end of the same is none of the next. ``origin``: it was not done in this run,
    but there, and what came out of it lies there. ``superseded``: another step has done its work, and how it ended
    does not count for the run. What has a higher ``rank`` comes after all that has a lower one.
    """

    class Rank(models.IntegerChoices):
        RUN = 0
        SHARD = 1

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.PROTECT, related_name="steps")
    position = models.PositiveIntegerField(default=1)
    name = models.CharField(max_length=120)
    key = models.CharField(max_length=64, blank=True, help_text="Its name in the pipeline.")
    needs = models.JSONField(default=list, blank=True, help_text="The keys of the steps that must end well before it.")
    inputs = models.JSONField(default=list, blank=True, help_text="Whose outputs it is given: step, files.")
    secrets = models.JSONField(default=list, blank=True, help_text="The names of the secrets that it is given.")
    lane = models.CharField(max_length=26, blank=True, help_text="The group of its message: in one, order is kept.")
    retries = models.JSONField(default=dict, blank=True, help_text="count, backoff_seconds, exit_codes")
    tries = models.JSONField(default=list, blank=True, help_text="How the earlier tries ended.")
    tried = models.PositiveSmallIntegerField(default=0)
    retry_at = models.DateTimeField(null=True, blank=True)
    origin = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    rank = models.PositiveSmallIntegerField(choices=Rank.choices, default=Rank.RUN)
    superseded = models.BooleanField(default=False)
    data = models.JSONField(default=dict, blank=True, help_text="key, offset, length and items of a shard.")
    container = models.JSONField(default=dict, blank=True, help_text="image or dockerfile, pinned, network.")
    version = models.ForeignKey(ScriptVersion, on_delete=models.PROTECT, related_name="steps")
    arguments = models.JSONField(default=list, blank=True)
    environment = models.JSONField(default=dict, blank=True)
    limits = models.JSONField(default=dict, blank=True, help_text="seconds, memory_mb, processes, output_mb, log_mb")
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=0, help_text="How often it was handed to the queue anew.")
    released_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    instance_id = models.CharField(max_length=32, blank=True)
    boot_id = models.CharField(max_length=64, blank=True, help_text="Of the agent that began it last.")
    executions = models.PositiveSmallIntegerField(default=0, help_text="How often an agent has begun it.")
    seen_at = models.DateTimeField(null=True, blank=True, help_text="Last word of an instance about it.")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    signal = models.IntegerField(null=True, blank=True)
    reason = models.CharField(max_length=40, blank=True, help_text="Code of why it ended so.")
    message = models.TextField(blank=True)
    peak_memory_mb = models.FloatField(null=True, blank=True)
    cpu_seconds = models.FloatField(null=True, blank=True)
    log_lines = models.PositiveIntegerField(default=0)
    log_bytes = models.PositiveBigIntegerField(default=0)
    log_truncated = models.BooleanField(default=False)
    log_key = models.CharField(max_length=300, blank=True)
    outputs = models.JSONField(default=list, blank=True, help_text="path, size and content_type of each file.")
    outputs_truncated = models.BooleanField(default=False)
    image = models.CharField(max_length=80, blank=True, help_text="Of the container that it ran in: sha256:…")
    bytes_in = models.PositiveBigIntegerField(default=0)
    bytes_out = models.PositiveBigIntegerField(default=0)

    class Meta(Identified.Meta):
        ordering: ClassVar[list[str]] = ["run", "position"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["workspace", "state", "released_at", "rank", "created_at", "id"], name="steps_by_backlog"
            ),
            models.Index(fields=["run", "state"], name="steps_of_a_run_by_state"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken until now."""
        return _seconds(self)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    def object_key(self, rest: str) -> str:
        """Where the last attempt's ``rest`` (``log.txt``, ``output/…``) lies in the workspace's bucket."""
        done = self.origin or self
        return f"runs/{done.run_id}/{done.pk}/{done.attempt}/{rest}"


def _seconds(what: Run | Step) -> float | None:
    if what.started_at is None:
        return None
    return ((what.finished_at or timezone.now()) - what.started_at).total_seconds()


class LogChunk(models.Model):
    """Some consecutive lines of a step's log, for pages that watch it; the whole is an object in the bucket."""

    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="log_chunks")
    execution = models.PositiveSmallIntegerField(help_text="Which time that an agent began it.")
    first = models.PositiveIntegerField(help_text="Number of the first line, from 1.")
    count = models.PositiveIntegerField()
    lines = models.JSONField(help_text="[stream, seconds since the epoch, text] of each line.")

    class Meta:
        ordering: ClassVar[list[str]] = ["step", "execution", "first"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["step", "execution", "first"], name="log_lines_are_written_once"),
        ]

    def __str__(self) -> str:
        return f"{self.step_id} {self.first}+{self.count}"


class Outbox(Identified):
    """A task message that must reach a workspace's queue; written with the change that wants it."""

    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+")
    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="+")
    attempt = models.PositiveSmallIntegerField()
    pack = models.CharField(max_length=26, help_text="The messages of one pack go out as one; named after its first.")
    claimed_until = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta(Identified.Meta):
        verbose_name_plural = "outbox"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["step", "attempt"], name="one_message_per_attempt"),
        ]

    def __str__(self) -> str:
        return f"{self.step_id}-{self.attempt}"


class SeenEvent(models.Model):
    """The id of an event that has been applied, so that it is applied once."""

    id = models.CharField(primary_key=True, max_length=26)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return self.id
