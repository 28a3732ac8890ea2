"""What is run is counted, with the instance's start-up, and shown on the statement."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from scripts.orca.bench.installation import Lab

pytestmark = pytest.mark.cloud
# EC2 is asked every half minute.
SETTLED = 120


def test_what_runs_costs_money_and_so_did_the_instances_start(lab: Lab) -> None:
    run = lab.person.ended(lab.run("import time; time.sleep(3); print('done')"))
    cost = lab.person.get(f"/runs/{run['id']}/cost/")
    # Three seconds of a quarter of a t3.small: 3 x 6,667 / 4 nano-dollars.
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


def test_what_is_downloaded_by_link_is_data_out(lab: Lab) -> None:
    size = 20_000_000
    run = lab.person.ended(lab.run(f"open('output/large', 'wb').write(b'x' * {size})"))
    month = lab.person.get("/usage/")["months"][0]["month"]

    def of_kind(statement: Any, kind: str) -> Decimal:
        return Decimal(next((line["quantity"] for line in statement["kinds"] if line["kind"] == kind), "0"))

    before = lab.person.get(f"/usage/{month}/")
    assert of_kind(before, "sent") >= Decimal(size) / 2**30 - Decimal("0.0001")
    assert Decimal(lab.person.get(f"/runs/{run['id']}/cost/")["egress"]) == 0
    link = lab.person.get(f"runs/{run['id']}/steps/{run['steps'][0]['id']}/outputs/link/", path="large")["url"]
    assert len(httpx.get(link, trust_env=False).content) == size
    least = of_kind(before, "egress") + Decimal(size) / 2**30 - Decimal("0.0002")
    found = lab.person.until(f"/usage/{month}/", lambda told: of_kind(told, "egress") >= least, seconds=SETTLED)
    assert of_kind(found, "egress") < least + Decimal("0.015")
    assert of_kind(found, "read") > 0
    assert of_kind(found, "request") > 0
