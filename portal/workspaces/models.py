"""Workspaces, the Terraform runs that build them, and the instances in them."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from portal.core.models import Identified
from portal.core.states import Transitions


class Workspace(Identified):
    """One person's Terraform-built environment. Its id is in the name of everything that is made for it."""

    class State(models.TextChoices):
        REQUESTED = "requested"
        PLANNING = "planning"
        APPLYING = "applying"
        READY = "ready"
        DEGRADED = "degraded"
        FAILED = "failed"
        STOPPING = "stopping"
        STOPPED = "stopped"
        DESTROYING = "destroying"
        DESTROYED = "destroyed"

    class Size(models.TextChoices):
        SMALL = "t3.small", "Small: 2 vCPU, 2 GB"
        MEDIUM = "t3.medium", "Medium: 2 vCPU, 4 GB"
        LARGE = "t3.large", "Large: 2 vCPU, 8 GB"
        EXTRA_LARGE = "t3.xlarge", "Extra large: 4 vCPU, 16 GB"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="workspaces")
    name = models.CharField(max_length=60)
    # NULL frees the name: MySQL has no partial unique constraint, and takes any number of NULLs in a whole one.
    claimed_name = models.CharField(  # noqa: DJ001
        max_length=60,
        null=True,
        blank=True,
        editable=False,
        help_text="The name, until the workspace is gone for good.",
    )
    cloud_account = models.ForeignKey("clouds.CloudAccount", on_delete=models.PROTECT, related_name="workspaces")
    instance_type = models.CharField(max_length=32, choices=Size.choices, default=Size.SMALL)
    instance_count = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(16)]
    )
    node_count = models.PositiveSmallIntegerField(
        default=0, help_text="Instances that jobs want besides these; there are as many more, or soon will be."
    )
    nodes_leaving = models.JSONField(
        default=list, blank=True, help_text="Ids of the instances that go away as soon as they are idle."
    )
    nodes_leaving_since = models.DateTimeField(null=True, blank=True)
    volume_gb = models.PositiveIntegerField(default=20, validators=[MinValueValidator(8), MaxValueValidator(1000)])
    slots = models.PositiveSmallIntegerField(default=4, help_text="Steps that one instance runs at the same time.")
    state = models.CharField(max_length=12, choices=State.choices, default=State.REQUESTED, db_index=True)
    state_reason = models.CharField(max_length=500, blank=True)
    state_changed_at = models.DateTimeField(default=timezone.now)
    active_run = models.OneToOneField(
        "workspaces.TerraformRun",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The Terraform run that holds the workspace's lock.",
    )
    outputs = models.JSONField(default=dict, blank=True, help_text="What Terraform reported after the last apply.")
    data_kept = models.BooleanField(default=False, help_text="The bucket still holds the person's data.")
    signing_generation = models.PositiveIntegerField(default=1)
    control_wanted = models.PositiveBigIntegerField(default=1, help_text="Generation of the desired state.")
    control_published = models.PositiveBigIntegerField(default=0, help_text="Generation that the bucket holds.")
    ready_at = models.DateTimeField(
        null=True, blank=True, help_text="First heartbeat since it was last built or started."
    )
    stop_requested_at = models.DateTimeField(
        null=True, blank=True, help_text="Asked for while Terraform was at work; done as soon as that has ended."
    )
    build_seconds = models.FloatField(null=True, blank=True, help_text="From the request to the first heartbeat.")

    TRANSITIONS: ClassVar[Transitions] = {
        "requested": frozenset({"planning", "destroying", "failed"}),
        "planning": frozenset(
            {"planning", "applying", "ready", "degraded", "failed", "stopped", "destroyed", "requested"}
        ),
        "applying": frozenset({"ready", "degraded", "failed", "stopping", "stopped", "destroying", "planning"}),
        "ready": frozenset({"planning", "applying", "degraded", "stopping", "stopped", "destroying", "failed"}),
        "degraded": frozenset({"planning", "applying", "ready", "stopping", "stopped", "destroying", "failed"}),
        "failed": frozenset({"planning", "applying", "destroying", "ready"}),
        "stopping": frozenset({"stopped", "degraded", "destroying", "ready"}),
        "stopped": frozenset({"applying", "planning", "destroying"}),
        "destroying": frozenset({"destroyed", "failed", "degraded"}),
        "destroyed": frozenset({"planning", "destroying"}),
    }
    ALIVE: ClassVar[frozenset[str]] = frozenset({"applying", "ready", "degraded"})
    TAKES_RUNS: ClassVar[frozenset[str]] = frozenset(
        {"requested", "planning", "applying", "ready", "degraded", "stopping", "stopped"}
    )

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner", "claimed_name"], name="workspace_names_differ_per_owner"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def bucket(self) -> str:
        return f"orca-{self.id}"

    @property
    def user_role_arn(self) -> str:
        return f"arn:aws:iam::{self.cloud_account.account_id}:role/orca-{self.id}-user"

    @property
    def tasks_queue(self) -> str:
        return f"orca-{self.id}-tasks.fifo"

    @property
    def dead_queue(self) -> str:
        return f"orca-{self.id}-tasks-dead.fifo"


class Secret(Identified):
    """That a workspace has a secret of this name. Its value is in AWS Secrets Manager, and was never here.

    ``changed_at`` is NULL until it is known to be there: what a call that broke off may have left is not forgotten.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="secrets")
    name = models.CharField(max_length=100)
    changed_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["workspace", "name"], name="secret_names_differ_per_workspace"),
        ]

    def __str__(self) -> str:
        return self.name


class TerraformRun(Identified):
    """One use of Terraform on a workspace: what it was asked, what it planned, what became of it."""

    class Operation(models.TextChoices):
        APPLY = "apply", "Build or update"
        DESTROY = "destroy", "Destroy, keep the data"
        DESTROY_DATA = "destroy_data", "Destroy with all data"

    class State(models.TextChoices):
        QUEUED = "queued"
        PLANNING = "planning"
        PLANNED = "planned", "waiting for approval"
        APPLYING = "applying"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="terraform_runs")
    operation = models.CharField(max_length=12, choices=Operation.choices)
    state = models.CharField(max_length=12, choices=State.choices, default=State.QUEUED, db_index=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    review = models.BooleanField(default=False, help_text="Stop after the plan until a person approves it.")
    approved_at = models.DateTimeField(null=True, blank=True)
    kept_plan = models.CharField(max_length=200, blank=True, help_text="Where the plan waits for approval.")
    worker = models.CharField(max_length=120, blank=True, help_text="Host and process that run it.")
    heartbeat_at = models.DateTimeField(null=True, blank=True, help_text="Last sign of life of that process.")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="How many workers have taken it up.")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    changes = models.JSONField(default=list, blank=True, help_text="The plan: address, type and action of each change.")
    to_add = models.PositiveIntegerField(default=0)
    to_change = models.PositiveIntegerField(default=0)
    to_destroy = models.PositiveIntegerField(default=0)
    resources_done = models.PositiveIntegerField(default=0)
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    error_hint = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    planned_at = models.DateTimeField(null=True, blank=True)
    apply_started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    TRANSITIONS: ClassVar[Transitions] = {
        "queued": frozenset({"planning", "applying", "cancelled", "failed"}),
        "planning": frozenset({"planned", "applying", "succeeded", "failed", "cancelled", "queued"}),
        "planned": frozenset({"queued", "cancelled"}),
        "applying": frozenset({"succeeded", "failed", "cancelled", "queued"}),
        "succeeded": frozenset(),
        "failed": frozenset(),
        "cancelled": frozenset(),
    }
    WORKING: ClassVar[frozenset[str]] = frozenset({"planning", "applying"})
    FINAL: ClassVar[frozenset[str]] = frozenset({"succeeded", "failed", "cancelled"})

    def __str__(self) -> str:
        return f"{self.get_operation_display()} ({self.state})"

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken until now."""
        if self.started_at is None:
            return None
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()

    @property
    def settles(self) -> bool:
        """Whether it builds, and comes to its end without waiting for a person's yes."""
        builds = self.operation == self.Operation.APPLY and (not self.review or self.approved_at is not None)
        return builds and self.state in {self.State.QUEUED, *self.WORKING}

    @property
    def total_changes(self) -> int:
        return self.to_add + self.to_change + self.to_destroy


class TerraformLine(models.Model):
    """One thing that Terraform said, in order."""

    run = models.ForeignKey(TerraformRun, on_delete=models.CASCADE, related_name="lines")
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    level = models.CharField(max_length=8)
    kind = models.CharField(max_length=32)
    address = models.CharField(max_length=200, blank=True)
    text = models.TextField()

    class Meta:
        ordering: ClassVar[list[str]] = ["run", "number"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["run", "number"], name="terraform_lines_are_numbered"),
        ]

    def __str__(self) -> str:
        return self.text


class Instance(Identified):
    """An EC2 instance of a workspace, as its agent and EC2 report it."""

    class State(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        UNREACHABLE = "unreachable"
        STOPPING = "stopping"
        STOPPED = "stopped"
        TERMINATED = "terminated"

    class Engine(models.TextChoices):
        READY = "ready", "Docker engine"
        COMING = "coming", "Docker is being installed"
        NONE = "none", "no Docker engine"

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="instances")
    instance_id = models.CharField(max_length=32)
    boot_id = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=12, choices=State.choices, default=State.PENDING, db_index=True)
    instance_type = models.CharField(max_length=32, blank=True)
    public_ip = models.CharField(max_length=45, blank=True)
    private_ip = models.CharField(max_length=45, blank=True)
    agent_version = models.CharField(max_length=64, blank=True)
    slots = models.PositiveSmallIntegerField(default=0)
    cpus = models.PositiveSmallIntegerField(default=0)
    memory_mb = models.PositiveIntegerField(default=0)
    memory_free_mb = models.PositiveIntegerField(default=0)
    disk_free_mb = models.PositiveIntegerField(default=0)
    load = models.FloatField(default=0)
    engine = models.CharField(
        max_length=8, choices=Engine, blank=True, help_text="Whether it can run containers; empty until it has said so."
    )
    running = models.JSONField(default=list, blank=True, help_text="Ids of the steps that it said it works on.")
    ssh_host_keys = models.JSONField(default=list, blank=True)
    registered_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["workspace", "instance_id"], name="one_row_per_instance"),
        ]

    def __str__(self) -> str:
        return self.instance_id

    @property
    def silent_for(self) -> timedelta | None:
        """Time since the last heartbeat; nothing before the first."""
        return None if self.heartbeat_at is None else timezone.now() - self.heartbeat_at
