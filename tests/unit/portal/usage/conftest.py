"""A ready workspace with a script, an agent's pen, and what CloudWatch says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps

from agents.local_cloud.mends.traffic_metrics import Published
from agents.local_cloud.metering import Meter
from portal.usage.models import Price
from portal.usage.prices import forget_prices
from portal.workspaces.models import Workspace
from tests.unit.portal.pipelines.conftest import INSTANCE, run_started, version, workspace

__all__ = ["run_started", "version", "workspace"]


@pytest.fixture(autouse=True)
def _fresh_prices() -> Iterator[None]:
    """Prices are kept for a while, tests are shorter."""
    forget_prices()
    yield
    forget_prices()


@pytest.fixture
def list_prices(db: None) -> None:
    """For tests of prices themselves."""
    prices_restored()


def prices_restored() -> None:
    """The list prices that a migration made: a test with transactions of its own may follow one that emptied them."""
    if not Price.objects.exists():
        for name in ("0002_list_prices", "0005_price_of_reading"):
            import_module(f"portal.usage.migrations.{name}").seed(apps, None)
    forget_prices()


class Measured:
    """What CloudWatch says of a workspace's bucket and instance, as the local cloud lets it."""

    def __init__(self, meter: Meter, workspace: Workspace) -> None:
        self._meter, self._workspace = meter, workspace
        self._place = (workspace.cloud_account.account_id, workspace.cloud_account.region)

    def bucket(self, at: datetime, **counted: int) -> None:
        """``BytesDownloaded=…``, ``GetRequests=…``: requests are counted among all as well."""
        asked = sum(count for name, count in counted.items() if name.endswith("Requests"))
        dimensions = (("BucketName", self._workspace.bucket), ("FilterId", "EntireBucket"))
        series = (*self._place, "AWS/S3", dimensions)
        self._meter.add(series, {"AllRequests": asked, **counted}, hour=int(at.timestamp()) // 3_600)

    def instance(self, at: datetime, sent: int) -> None:
        series = (*self._place, "AWS/EC2", (("InstanceId", INSTANCE),))
        self._meter.add(series, {"NetworkOut": sent}, hour=int(at.timestamp()) // 3_600)


@pytest.fixture
def measured(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measured:
    meter = Meter(tmp_path / "metrics.json")
    monkeypatch.setattr(Published, "meter", meter)
    return Measured(meter, workspace)
