"""``python -m scripts.orca.bench.provision_variables``: what Orca would tell Terraform about one more workspace.

Runs in a process of its own with the environment of a running Orca. Prints ``{"variables": …, "backend": …}``.
"""

from __future__ import annotations

import json
import sys

import django

django.setup()

from portal.clouds.selectors import account_for_new_workspace  # noqa: E402 (only after django.setup())
from portal.workspaces.models import TerraformRun, Workspace  # noqa: E402
from portal.workspaces.terraform_director import terraform_settings, terraform_variables  # noqa: E402


def main() -> None:
    workspace = Workspace(name="by hand", cloud_account=account_for_new_workspace())
    variables = terraform_variables(workspace, TerraformRun.Operation.APPLY)
    sys.stdout.write(json.dumps({"variables": variables, "backend": terraform_settings().backend}) + "\n")


if __name__ == "__main__":
    main()
