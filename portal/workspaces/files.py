"""A person's own files in a workspace's bucket: all below ``files/``, moved by presigned links, never through Orca."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from portal.accounts.models import User
from portal.clouds.services import account_handle
from portal.core.audit import audit
from portal.core.errors import CloudFault, Conflict, Invalid, NotFound
from portal.gateways import aws_files, aws_storage
from portal.gateways.aws import Account
from portal.workspaces.models import Workspace

PREFIX = "files/"
LONGEST_PATH = 900  # bytes; a key of S3 has at most 1,024
PAGE = 1_000
MIB = 1 << 20
# What is larger comes in parts, each of which can be sent again by itself.
PART_BYTES = 64 * MIB
MOST_PARTS = 10_000
LARGEST = 5 * (1 << 40)
LINKS_AT_ONCE = 50
_NOT_OURS = {"cloud_refused", "cloud_client", "cloud_absent"}


@dataclass(frozen=True)
class FileEntry:
    """A file (``kind`` is ``file``, size in bytes) or a folder that has some below it (no size, no time)."""

    path: str
    kind: str
    size: int | None = None
    modified: datetime | None = None


@dataclass(frozen=True)
class FilePage:
    """Files and folders by name; ``next`` is the cursor of the page that follows, empty after the last."""

    entries: list[FileEntry]
    next: str


@dataclass(frozen=True)
class Upload:
    """Where to PUT a file: whole to the only url, or in ``part_count`` parts of ``part_bytes`` each but the last."""

    path: str
    upload_id: str
    part_bytes: int
    part_count: int
    urls: list[str]


def files_list(*, workspace: Workspace, prefix: str = "", recursive: bool = False, cursor: str = "") -> FilePage:
    """What is below ``prefix``, at most ``PAGE`` names. Raises ``Invalid`` for a cursor or prefix that cannot be."""
    _sayable(prefix, "prefix")
    with _bucket_of(workspace) as account:
        try:
            page = aws_files.listing(
                account, workspace.bucket, PREFIX + prefix, cursor=cursor, folders=not recursive, most=PAGE
            )
        except CloudFault as error:
            if cursor and error.code in _NOT_OURS:
                raise Invalid(
                    "This page does not exist.",
                    code="invalid_cursor",
                    hint="Take “next” as an answer gives it, or begin without a cursor.",
                    fields={"cursor": "not one of ours"},
                    status=400,
                ) from error
            raise
    entries = [_entry(found) for found in page.objects if found.key != PREFIX]
    entries += [FileEntry(folder.removeprefix(PREFIX), "folder") for folder in page.folders]
    return FilePage(sorted(entries, key=lambda entry: entry.path), page.next)


def file_link(*, workspace: Workspace, path: str) -> str:
    """An address, good for a quarter of an hour, to get a file from. Raises ``NotFound``."""
    key = _key(path)
    with _bucket_of(workspace) as account:
        _found(account, workspace, key)
        return aws_storage.link(account, workspace.bucket, key, filename=path.rpartition("/")[2])


def file_delete(*, workspace: Workspace, path: str, by: User) -> None:
    """Delete a file. Raises ``NotFound``."""
    key = _key(path)
    with _bucket_of(workspace) as account:
        _found(account, workspace, key)
        aws_files.delete(account, workspace.bucket, key)
    audit("file.delete", workspace, by=by, path=path)


def upload_begin(*, workspace: Workspace, path: str, size: int, by: User) -> Upload:
    """Links, good for a quarter of an hour, to PUT a file of ``size`` bytes to.

    Of one that comes in parts these are the links of the first; ``upload_links`` gives the others, ``upload_complete``
    makes the file of them.
    """
    key = _key(path)
    if not 0 <= size <= LARGEST:
        raise Invalid("A file has at most 5 TiB.", fields={"size": "too large"})
    with _bucket_of(workspace) as account:
        audit("file.upload", workspace, by=by, path=path, size=size)
        if size <= PART_BYTES:
            return Upload(path, "", PART_BYTES, 1, [aws_files.upload_link(account, workspace.bucket, key)])
        smallest = -(-size // MOST_PARTS)
        part_bytes = max(PART_BYTES, -(-smallest // MIB) * MIB)
        upload_id = aws_files.parts_begin(account, workspace.bucket, key)
        count = -(-size // part_bytes)
        numbers = range(1, 1 + min(count, LINKS_AT_ONCE))
        urls = aws_files.part_links(account, workspace.bucket, key, upload_id, numbers)
        return Upload(path, upload_id, part_bytes, count, urls)


def upload_links(*, workspace: Workspace, path: str, upload_id: str, first: int, count: int) -> list[str]:
    """Links to PUT the parts from number ``first`` (they count from 1) to, at most ``LINKS_AT_ONCE``."""
    key = _key(path)
    if not (first >= 1 and 1 <= count <= LINKS_AT_ONCE and first + count - 1 <= MOST_PARTS):
        message = f"Parts are numbered from 1 to {MOST_PARTS}; ask for at most {LINKS_AT_ONCE} at once."
        raise Invalid(message, fields={"first": message})
    with _bucket_of(workspace) as account:
        numbers = range(first, first + count)
        return aws_files.part_links(account, workspace.bucket, key, upload_id, numbers)


def upload_complete(*, workspace: Workspace, path: str, upload_id: str, etags: list[str]) -> FileEntry:
    """Make the file of its parts; ``etags`` are S3's answers to them, in order. Raises ``Conflict``."""
    key = _key(path)
    with _bucket_of(workspace) as account:
        try:
            aws_files.parts_complete(account, workspace.bucket, key, upload_id, etags)
        except CloudFault as error:
            if error.code not in _NOT_OURS:
                raise
            there = aws_files.described(account, workspace.bucket, key)
            if there is None:
                raise Conflict(
                    "The file cannot be made of these parts.",
                    code="upload_broken",
                    hint="Begin the upload again.",
                    fields={"upload_id": error.message},
                ) from error
            return _entry(there)  # asked again, after an answer that did not arrive
        return _entry(_found(account, workspace, key))


def upload_abort(*, workspace: Workspace, path: str, upload_id: str) -> None:
    """Throw away what has come of an upload in parts."""
    key = _key(path)
    with _bucket_of(workspace) as account:
        aws_files.parts_abort(account, workspace.bucket, key, upload_id)


@contextmanager
def _bucket_of(workspace: Workspace) -> Iterator[Account]:
    """The account to reach the bucket with. Where there is no bucket, that is said in words of ours."""
    try:
        yield account_handle(workspace.cloud_account)
    except CloudFault as error:
        if error.code != "cloud_absent":
            raise
        raise Conflict(
            f"The workspace {workspace.name} has no bucket now.",
            code="not_built",
            hint="It has one as soon as it is built, and until it is destroyed with its data.",
        ) from error


def _found(account: Account, workspace: Workspace, key: str) -> aws_storage.StoredObject:
    found = aws_files.described(account, workspace.bucket, key)
    if found is None:
        raise NotFound("There is no such file.", code="no_such_file", fields={"path": key.removeprefix(PREFIX)})
    return found


def _entry(found: aws_storage.StoredObject) -> FileEntry:
    return FileEntry(found.key.removeprefix(PREFIX), "file", found.size, found.modified)


def _key(path: str) -> str:
    """The object's key. Raises ``Invalid``: such names break programs, or mean something else than they say."""
    _sayable(path, "path")
    if not path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise Invalid(
            "A file's path is relative, without empty parts and without “..”.",
            code="bad_path",
            fields={"path": "such as data/2026/measured.csv"},
            status=400,
        )
    return PREFIX + path


def _sayable(text: str, field: str) -> None:
    unseen = any(unicodedata.category(c) in {"Cc", "Cs"} for c in text)
    if unseen or len(text.encode("utf-8", "replace")) > LONGEST_PATH:
        raise Invalid(
            f"A path has at most {LONGEST_PATH} bytes and no invisible characters.",
            code="bad_path",
            fields={field: "too long" if not unseen else "has invisible characters"},
            status=400,
        )
