"""CloudFormation: a role's inline policies are text, as IAM keeps them; moto keeps the template's objects instead."""

from __future__ import annotations

import json

from moto.iam.models import Role

from agents.local_cloud.patching import replace


def apply() -> None:
    """Put the mend in place."""
    original = Role.put_policy

    def put_policy(role: Role, policy_name: str, policy_json: object) -> None:
        original(role, policy_name, policy_json if isinstance(policy_json, str) else json.dumps(policy_json))

    replace(Role, "put_policy", put_policy)
