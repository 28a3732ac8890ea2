"""The public list prices that Orca comes with: see ``list_prices.json``. `import_prices` reads newer ones."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.db import migrations

from portal.core.ids import new_id

_FILE = Path(__file__).parent.parent / "list_prices.json"


def seed(apps: Any, _: Any) -> None:
    listed = json.loads(_FILE.read_text())
    price = apps.get_model("usage", "Price")
    rows = [("instance", size, dollars) for size, dollars in listed["instance_hour"].items()]
    rows += [(kind, "", listed[f"{kind}_gb_month"]) for kind in ("volume", "storage")]
    rows += [(kind, "", listed[f"{kind}_gb"]) for kind in ("egress", "ingress")]
    rows.append(("request", "", listed["request"]))
    price.objects.bulk_create(
        price(
            id=new_id(),
            region=listed["region"],
            kind=kind,
            size=size,
            nano=int(Decimal(dollars) * 1_000_000_000),
            valid_from=datetime.fromisoformat(listed["valid_from"]),
            source=f"list price, {listed['noted']}",
        )
        for kind, size, dollars in rows
    )


class Migration(migrations.Migration):
    dependencies = [("usage", "0001_metering")]
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
