"""CloudWatch: the request metrics of buckets that have them switched on, and ``NetworkOut`` of instances.

A value for each hour, growing while the hour lasts; AWS has one a minute, some minutes late. moto publishes neither,
and compares dimensions in an order that depends on their values.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from moto.cloudwatch.models import Dimension, MetricDatum
from moto.core.common_models import CloudWatchMetricProvider

from agents.local_cloud.metering import Meter
from agents.local_cloud.patching import replace


class Published(CloudWatchMetricProvider):
    """What moto's CloudWatch asks, as every subclass of this."""

    meter: ClassVar[Meter | None] = None

    @staticmethod
    def get_cloudwatch_metrics(account_id: str, region: str) -> list[MetricDatum]:
        """Everything that the meter has counted there."""
        if Published.meter is None:
            return []
        return [
            MetricDatum(
                namespace=namespace,
                name=metric,
                value=value,
                dimensions=[{"Name": name, "Value": which} for name, which in dimensions],
                timestamp=datetime.fromtimestamp(hour * 3_600, UTC).replace(tzinfo=None),  # as moto compares it
                unit="Count" if metric.endswith("Requests") else "Bytes",
            )
            for (_, _, namespace, dimensions), hour, metric, value in Published.meter.of(account_id, region)
        ]


def apply(meter: Meter) -> None:
    """Put the mend in place."""
    Published.meter = meter
    replace(Dimension, "__lt__", lambda one, other: (one.name, one.value or "") < (other.name, other.value or ""))
