"""Cloud accounts: where workspaces are placed. Orca's own and the ones that users link are the same thing."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from portal.core.models import Identified


class CloudAccount(Identified):
    """An AWS account in which Orca may build, through a role that trusts it."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="cloud_accounts",
        help_text="Empty for Orca's own accounts, which everybody's workspaces may be placed in.",
    )
    name = models.CharField(max_length=80)
    account_id = models.CharField(max_length=12, help_text="The twelve digits of the AWS account.")
    region = models.CharField(max_length=32)
    role_arn = models.CharField(max_length=200, help_text="The role that Orca assumes to build here.")
    external_id = models.CharField(max_length=64, help_text="Made by Orca; the role's trust policy demands it.")
    enabled = models.BooleanField(default=True, help_text="Whether new workspaces may be placed here.")

    class Meta(Identified.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["account_id", "role_arn"], name="one_row_per_role"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.account_id})"
