"""EC2: a security group rule for all protocols is changed without ports; moto asks for ports whatever the protocol."""

from __future__ import annotations

from typing import Any

from moto.ec2.models import EC2Backend

from agents.local_cloud.patching import replace

_ALL = "-1"


def apply() -> None:
    """Put the mend in place."""
    original = EC2Backend.modify_security_group_rules

    def modify_security_group_rules(backend: EC2Backend, group_id: str, rules: dict[str, dict[str, Any]]) -> None:
        # EC2 shows the ports of such a rule as -1.
        covering_all = {"FromPort": -1, "ToPort": -1}
        given = {
            rule_id: ({**rule, **covering_all} if rule.get("IpProtocol") == _ALL else rule)
            for rule_id, rule in rules.items()
        }
        original(backend, group_id, given)

    replace(EC2Backend, "modify_security_group_rules", modify_security_group_rules)
