"""What is run is counted, with the instance's start-up, and shown on the statement."""

from __future__ import annotations

from decimal import Decimal

import pytest

from scripts.orca.bench.installation import Lab

pytestmark = pytest.mark.cloud
# EC2 is asked every half minute.
SETTLED = 120


def test_what_runs_costs_money_and_so_did_the_instances_start(lab: Lab) -> None:
    run = lab.person.ended(lab.run("import time; time.sleep(3); print('done')"))
    cost = lab.person.get(f"/runs/{run['id']}/cost/")
    # Three seconds of a quarter of a t3.small: 3 x 6,667 / 4 nano-dollars, and what was sent.
    assert Decimal("0.000004") < Decimal(cost["compute"]) < Decimal("0.0001")
    month = lab.person.get("/usage/")["months"][0]["month"]

    def kinds(statement: object) -> set[str]:
        assert isinstance(statement, dict)
        return {line["kind"] for line in statement["kinds"]}

    path = f"/usage/{month}/"
    found = lab.person.until(path, lambda told: {"start_up", "idle"} <= kinds(told), seconds=SETTLED)
    assert {"compute", "start_up", "idle"} <= kinds(found)
    assert Decimal(found["used"]) == sum(Decimal(line["cost"]) for line in found["kinds"])
    assert "lab" in {line["name"] for line in found["workspaces"]}
