"""How much is asked of each bucket and sent by each instance, by the hour: what CloudWatch says of it on AWS.

Counted of what was really served. Only what goes through the local cloud is seen: of an instance, what is signed with
its own credentials. Written down every few seconds; what was counted since is lost when the process is killed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from moto.s3.models import FakeBucket, s3_backends

from agents.local_cloud.access.enforcement import Call
from agents.local_cloud.access.s3_requests import address

KEPT_HOURS: Final = 15 * 24
WRITE_EVERY: Final = 5.0
_LISTS: Final = frozenset({"list-type", "prefix", "delimiter", "marker", "versions", "uploads", "max-keys"})
_BY_METHOD: Final = {"PUT": "PutRequests", "POST": "PostRequests", "DELETE": "DeleteRequests", "HEAD": "HeadRequests"}

#: Account, region, namespace, and the dimensions as pairs of name and value.
Series = tuple[str, str, str, tuple[tuple[str, str], ...]]


class Meter:
    """Sums by series, hour (since 1970) and metric. Any thread may count."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._sums: dict[Series, dict[int, dict[str, int]]] = {}
        self._changed = threading.Event()

    def restore(self) -> None:
        """Read what was written, and write from now on."""
        if self._path.exists():
            for (account, region, space, dimensions), hours in json.loads(self._path.read_text()):
                series = (account, region, space, tuple((name, value) for name, value in dimensions))
                self._sums[series] = {int(hour): metrics for hour, metrics in hours.items()}
        threading.Thread(target=self._write_late, name="meter", daemon=True).start()

    def flush(self) -> None:
        """Write all of it, less what is too old."""
        oldest = int(time.time()) // 3_600 - KEPT_HOURS
        with self._lock:
            self._changed.clear()
            for series, hours in list(self._sums.items()):
                self._sums[series] = {hour: metrics for hour, metrics in hours.items() if hour >= oldest}
                if not self._sums[series]:
                    del self._sums[series]
            text = json.dumps(list(self._sums.items()))
        draft = self._path.with_name(self._path.name + ".new")
        draft.write_text(text)
        draft.replace(self._path)

    def _write_late(self) -> None:
        while True:
            self._changed.wait()
            time.sleep(WRITE_EVERY)
            self.flush()

    def of(self, account: str, region: str) -> Iterator[tuple[Series, int, str, int]]:
        """Series, hour, metric and sum of everything in a region of an account."""
        with self._lock:
            found = [
                (series, hour, metric, value)
                for series, hours in self._sums.items()
                if series[:2] == (account, region)
                for hour, metrics in hours.items()
                for metric, value in metrics.items()
            ]
        yield from found

    def add(self, series: Series, counted: Mapping[str, int], *, hour: int | None = None) -> None:
        """Count these: now, unless an hour is named."""
        hour = int(time.time()) // 3_600 if hour is None else hour
        with self._lock:
            sums = self._sums.setdefault(series, {}).setdefault(hour, {})
            for metric, value in counted.items():
                sums[metric] = sums.get(metric, 0) + value
        self._changed.set()

    def served(
        self, service: str, environ: Mapping[str, Any], call: Call, *, came: int, went: int, status: int
    ) -> None:
        """A request has been answered: ``came`` and ``went`` are the bytes of its body and of its answer's."""
        if call.caller.session is not None and call.caller.session.source_instance_arn:
            self._sent(call.caller.session.source_instance_arn, _head(environ) + came)
        if service == "s3":
            went = 0 if environ["REQUEST_METHOD"] == "HEAD" or status >= 400 else went
            self._asked(environ, came, went)

    def _sent(self, instance_arn: str, size: int) -> None:
        _, _, _, region, account, resource = instance_arn.split(":", 5)
        dimensions = (("InstanceId", resource.partition("/")[2]),)
        self.add((account, region, "AWS/EC2", dimensions), {"NetworkOut": size})

    def _asked(self, environ: Mapping[str, Any], came: int, went: int) -> None:
        where = address(environ)
        partition, account = s3_backends.bucket_accounts.get(where.bucket, ("", ""))
        bucket = s3_backends[account][partition].buckets.get(where.bucket) if account else None
        if bucket is None:
            return
        counted = {"AllRequests": 1, **_kind(environ, where.key)}
        counted |= {name: size for name, size in (("BytesDownloaded", went), ("BytesUploaded", came)) if size}
        for filter_id in configurations(bucket):
            dimensions = (("BucketName", where.bucket), ("FilterId", filter_id))
            self.add((account, bucket.region_name, "AWS/S3", dimensions), counted)


def configurations(bucket: FakeBucket) -> dict[str, bytes]:
    """The metrics configurations of a bucket, by their ids, as they were put: see mends.metrics_configurations."""
    found: dict[str, bytes] = vars(bucket).setdefault("metrics_configurations", {})
    return found


def _kind(environ: Mapping[str, Any], key: str) -> dict[str, int]:
    """What S3 counts a request as, besides as one."""
    method = str(environ["REQUEST_METHOD"])
    if method == "GET" and not key:
        asked = {pair.partition("=")[0] for pair in str(environ.get("QUERY_STRING", "")).split("&") if pair}
        return {"ListRequests": 1} if not asked or asked & _LISTS else {}
    name = "GetRequests" if method == "GET" else _BY_METHOD.get(method)
    return {name: 1} if name else {}


def _head(environ: Mapping[str, Any]) -> int:
    """About how many bytes a request's head had."""
    lines = (len(name) + len(str(value)) for name, value in environ.items() if name.startswith("HTTP_"))
    return len(str(environ.get("RAW_URI", ""))) + sum(lines)
