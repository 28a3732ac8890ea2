"""Cloud accounts: where workspaces are placed. Orca's own and the ones that users link are the same thing."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from portal.core.models import Identified
from portal.core.states import Transitions


class CloudAccount(Identified):
    """An AWS account in which Orca may build, through a role that trusts it."""

    class State(models.TextChoices):
        PENDING = "pending", "not linked yet"
        LINKED = "linked"
        BROKEN = "broken", "needs mending"
        UNLINKED = "unlinked"

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="cloud_accounts",
        help_text="Empty for Orca's own accounts, which everybody's workspaces may be placed in.",
    )
    name = models.CharField(max_length=80)
    # NULL frees the name: see Workspace.claimed_name.
    claimed_name = models.CharField(  # noqa: DJ001
        max_length=80, null=True, blank=True, editable=False, help_text="The name, until the account is unlinked."
    )
    state = models.CharField(max_length=12, choices=State.choices, default=State.LINKED, db_index=True)
    account_id = models.CharField(max_length=12, blank=True, help_text="The twelve digits of the AWS account.")
    region = models.CharField(max_length=32)
    role_arn = models.CharField(max_length=200, blank=True, help_text="The role that Orca assumes to build here.")
    claimed_role = models.CharField(
        max_length=240,
        null=True,
        blank=True,
        unique=True,
        editable=False,
        help_text="Owner and role, until the account is unlinked: nobody links a role twice.",
    )
    external_id = models.CharField(max_length=64, help_text="Made by Orca; the role's trust policy demands it.")
    next_external_id = models.CharField(
        max_length=64, blank=True, help_text="While it is exchanged: the one that takes its place once it works."
    )
    enabled = models.BooleanField(default=True, help_text="Whether new workspaces may be placed here.")
    registry = models.BooleanField(
        default=False, help_text="Whether the role may make repositories for container images; Orca's own may anyway."
    )
    checks = models.JSONField(default=list, blank=True, help_text="What the last look at the role found, step by step.")
    checked_at = models.DateTimeField(null=True, blank=True)
    linked_at = models.DateTimeField(null=True, blank=True)
    unlinked_at = models.DateTimeField(null=True, blank=True)

    TRANSITIONS: ClassVar[Transitions] = {
        "pending": frozenset({"pending", "linked", "unlinked"}),
        "linked": frozenset({"linked", "broken", "unlinked"}),
        "broken": frozenset({"linked", "broken", "unlinked"}),
        "unlinked": frozenset(),
    }

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner", "claimed_name"], name="link_names_differ_per_owner"),
        ]

    @staticmethod
    def claim(owner_id: str | None, role_arn: str) -> str:
        """What ``claimed_role`` holds. Two people may link one role: each proves it with an ExternalId."""
        return f"{owner_id or 'orca'}:{role_arn}"

    def __str__(self) -> str:
        return f"{self.name} ({self.account_id})" if self.account_id else self.name

    @property
    def role_name(self) -> str:
        """The role's own name, at the end of its ARN."""
        return self.role_arn.rsplit("/", 1)[-1]

    @property
    def has_registry(self) -> bool:
        """Whether workspaces here may have a repository for images. A role from before there were any may not."""
        return self.owner_id is None or self.registry

    @property
    def takes_workspaces(self) -> bool:
        """Whether something new may be built here."""
        return self.enabled and self.state == self.State.LINKED
