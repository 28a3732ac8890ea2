"""Jobs: one script over many items, done in shards; a shard is a step of the job's run."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from portal.core.models import Identified
from portal.core.states import Transitions
from portal.pipelines.models import FINAL


class Phase(models.TextChoices):
    """What is being done for a job; how its shards fare is its run's state."""

    SEARCHING = "searching"
    SPLITTING = "splitting"
    STARTING = "starting"
    RUNNING = "running"
    GATHERING = "gathering"
    ENDED = "ended"


TRANSITIONS: Transitions = {
    Phase.SEARCHING: frozenset({Phase.SPLITTING, Phase.ENDED}),
    Phase.SPLITTING: frozenset({Phase.SEARCHING, Phase.STARTING, Phase.RUNNING, Phase.ENDED}),
    Phase.STARTING: frozenset({Phase.RUNNING, Phase.GATHERING, Phase.ENDED}),
    Phase.RUNNING: frozenset({Phase.GATHERING, Phase.ENDED}),
    Phase.GATHERING: frozenset({Phase.ENDED}),
    # Tried again: the whole, its failed shards, or the gathering of what they left.
    Phase.ENDED: frozenset({Phase.SEARCHING, Phase.SPLITTING, Phase.GATHERING}),
}
WORKING = frozenset({Phase.STARTING, Phase.RUNNING})


class Job(Identified):
    """What somebody asked for, and what has become of it.

    ``definition`` is the submission with all defaults in it (see `submission`). ``claim`` names the worker that
    searches, splits or gathers, until ``claimed_until``; nobody else touches the job meanwhile. Amounts of money are
    nano-dollars. The manifest is the list of items as it was found once: a retry sees the same data.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="jobs")
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.PROTECT, related_name="jobs")
    name = models.CharField(max_length=80)
    run = models.OneToOneField("pipelines.Run", on_delete=models.PROTECT, related_name="job")
    script = models.ForeignKey("pipelines.Script", on_delete=models.PROTECT, related_name="jobs")
    version = models.ForeignKey("pipelines.ScriptVersion", on_delete=models.PROTECT, related_name="jobs")
    input_job = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="followers")
    definition = models.JSONField()
    phase = models.CharField(max_length=10, choices=Phase.choices, default=Phase.SEARCHING, db_index=True)
    reason = models.CharField(max_length=40, blank=True, help_text="Code of why it ended so.")
    message = models.TextField(blank=True, help_text="What is going on, or why it ended so, in a sentence.")
    nodes = models.PositiveIntegerField(default=1)
    items = models.PositiveIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0, help_text="Of all items, as far as their sizes are known.")
    shards = models.PositiveIntegerField(default=0)
    manifest_key = models.CharField(max_length=300, blank=True)
    manifest_bytes = models.PositiveBigIntegerField(default=0)
    manifest_sha256 = models.CharField(max_length=64, blank=True)
    estimate = models.BigIntegerField(null=True, blank=True, help_text="What it will probably cost.")
    estimate_most = models.BigIntegerField(null=True, blank=True, help_text="What it can cost at most.")
    budget = models.BigIntegerField(null=True, blank=True, help_text="What it may cost.")
    image = models.CharField(max_length=80, blank=True, help_text="Pinned for the shards that are still to come.")
    twins = models.PositiveIntegerField(default=0, help_text="How often a slow shard was begun a second time.")
    output_files = models.PositiveIntegerField(default=0)
    output_bytes = models.PositiveBigIntegerField(default=0)
    index_key = models.CharField(max_length=300, blank=True)
    archive_key = models.CharField(max_length=300, blank=True)
    archive_bytes = models.PositiveBigIntegerField(default=0)
    keep_days = models.PositiveSmallIntegerField(default=30)
    expires_at = models.DateTimeField(null=True, blank=True, db_index=True)
    expiry_told_at = models.DateTimeField(null=True, blank=True)
    outputs_deleted_at = models.DateTimeField(null=True, blank=True)
    nodes_ready_at = models.DateTimeField(null=True, blank=True, help_text="When all its nodes were there.")
    ended_at = models.DateTimeField(null=True, blank=True)
    claim = models.CharField(max_length=26, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    claims = models.PositiveSmallIntegerField(default=0, help_text="How many workers have taken this phase up.")

    class Meta(Identified.Meta):
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["owner", "-created_at"], name="jobs_of_a_person"),
            models.Index(fields=["workspace", "phase"], name="jobs_of_a_workspace_by_phase"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> str:
        """The state that its shards are in, together."""
        return self.run.state

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.phase == Phase.ENDED and self.run.state in FINAL

    def key(self, rest: str) -> str:
        """Where its ``rest`` (``items.jsonl``, ``outputs/…``) lies in the workspace's bucket."""
        return f"jobs/{self.pk}/{rest}"


class PinnedImage(Identified):
    """The image that a build came to when it was first made: later jobs of the same files get the same.

    ``build`` is the hash of what goes into it: the bundle, and the Dockerfile or the name of the base image.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+")
    build = models.CharField(max_length=64)
    digest = models.CharField(max_length=80)

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["workspace", "build"], name="one_image_per_build"),
        ]

    def __str__(self) -> str:
        return self.digest
