"""The objects of S3 on disk: one log for each bucket, appended to before the caller is answered.

Records: ("key", name, versions, tags by ARN), ("uploads", {id: upload}), ("upload", id, upload or None),
("part", upload id, number, part). A log that has grown far past what lives in it is written anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moto.s3.models import FakeBucket, FakeKey, s3_backends

from agents.local_cloud.accounts import PARTITION
from agents.local_cloud.state.bodies import BodyFolder
from agents.local_cloud.state.pickling import dump, load
from agents.local_cloud.state.record_log import RecordLog

REWRITE_BYTES = 1 << 20


class ObjectLogs:
    """Writes down what a request did to the objects of a bucket. The caller holds the lock of S3."""

    def __init__(self, folder: Path, bodies: BodyFolder) -> None:
        self._folder = folder
        self._bodies = bodies
        self._logs: dict[str, RecordLog] = {}
        self._rewritten: dict[str, int] = {}

    def restore(self) -> None:
        """Fill every bucket that moto knows."""
        for account, regions in list(s3_backends.items()):
            for bucket in regions[PARTITION].buckets.values():
                s3_backends.bucket_accounts[bucket.name] = (PARTITION, account)
                for record in self._log(bucket.name).read():
                    self._replay(regions[PARTITION], bucket, load(record))
        self._bodies.sweep_all()

    def _replay(self, backend: Any, bucket: FakeBucket, record: tuple[Any, ...]) -> None:
        kind = record[0]
        if kind == "key":
            _, name, versions, tags = record
            if versions:
                bucket.keys.setlist(name, versions)
            elif name in bucket.keys:
                bucket.keys.pop(name)
            for arn, pairs in tags.items():
                backend.tagger.delete_all_tags_for_resource(arn)
                backend.tagger.tag_resource(arn, [{"Key": key, "Value": value} for key, value in pairs.items()])
        elif kind == "upload":
            if record[2] is None:
                bucket.multiparts.pop(record[1], None)
            else:
                bucket.multiparts[record[1]] = record[2]
        elif kind == "part" and record[1] in bucket.multiparts:
            upload = bucket.multiparts[record[1]]
            upload.parts[record[2]] = record[3]
            upload.partlist = sorted({*upload.partlist, record[2]})

    def key_changed(self, bucket: FakeBucket, name: str) -> None:
        """Some version of an object was put, deleted, tagged, ..."""
        self._append(bucket, self._key_record(bucket, name))

    def _key_record(self, bucket: FakeBucket, name: str) -> tuple[Any, ...]:
        versions = bucket.keys.getlist(name, [])
        tagger = s3_backends[bucket.account_id][PARTITION].tagger
        arns = [version.arn for version in versions if isinstance(version, FakeKey)]
        return ("key", name, versions, {arn: tagger.get_tag_dict_for_resource(arn) for arn in arns})

    def upload_changed(self, bucket: FakeBucket, upload_id: str) -> None:
        """A multipart upload was begun, completed or aborted."""
        self._append(bucket, ("upload", upload_id, bucket.multiparts.get(upload_id)))

    def part_changed(self, bucket: FakeBucket, upload_id: str, number: int) -> None:
        """A part was uploaded."""
        upload = bucket.multiparts.get(upload_id)
        if upload is not None and number in upload.parts:
            self._append(bucket, ("part", upload_id, number, upload.parts[number]))

    def bucket_deleted(self, name: str) -> None:
        """The bucket has gone."""
        self._log(name).delete()
        self._logs.pop(name, None)

    def _append(self, bucket: FakeBucket, record: tuple[Any, ...]) -> None:
        log = self._log(bucket.name)
        log.append(dump(record, {}))
        if log.size > max(REWRITE_BYTES, 4 * self._rewritten.get(bucket.name, 0)):
            records = [dump(self._key_record(bucket, name), {}) for name in list(bucket.keys)]
            records += [dump(("upload", key, upload), {}) for key, upload in bucket.multiparts.items()]
            log.rewrite(records)
            self._rewritten[bucket.name] = log.size
        self._bodies.sweep()

    def _log(self, bucket: str) -> RecordLog:
        return self._logs.setdefault(bucket, RecordLog(self._folder / f"{bucket}.log"))
