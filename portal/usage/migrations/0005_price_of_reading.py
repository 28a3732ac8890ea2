"""What a request costs that only reads: see ``list_prices.json``. An empty table stays empty: then the list holds."""

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
    if not price.objects.exists():
        return
    price.objects.get_or_create(
        region=listed["region"],
        kind="read",
        size="",
        valid_from=datetime.fromisoformat(listed["valid_from"]),
        defaults={
            "id": new_id(),
            "nano": int(Decimal(listed["read"]) * 1_000_000_000),
            "source": f"list price, {listed['noted']}",
        },
    )


class Migration(migrations.Migration):
    dependencies = [("usage", "0004_traffic")]
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
