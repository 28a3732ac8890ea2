"""A person's files in their workspace's bucket: listed, got, put and deleted, and nothing else of the bucket."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote, urlsplit

import boto3
import pytest
import requests
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.workspaces import files
from portal.workspaces.models import Workspace
from tests.unit.portal.pipelines.conftest import ready_workspace


@pytest.fixture
def workspace(owner: User, cloud_account: CloudAccount) -> Workspace:
    return ready_workspace(owner, cloud_account)


@pytest.fixture
def address(workspace: Workspace) -> str:
    return f"/api/v1/workspaces/{workspace.pk}/files/"


def put(workspace: Workspace, *paths: str, prefix: str = "files/") -> None:
    for path in paths:
        boto3.client("s3").put_object(Bucket=workspace.bucket, Key=prefix + path, Body=path.encode())


def paths(answer: Any) -> list[tuple[str, str]]:
    return [(entry["path"], entry["kind"]) for entry in answer.json()["results"]]


def test_a_listing_shows_files_and_folders_below_a_prefix(api: APIClient, workspace: Workspace, address: str) -> None:
    put(workspace, "b.txt", "a/1.csv", "a/deep/2.csv", "ab.txt")
    put(workspace, "desired.json", prefix="control/")
    assert paths(api.get(address)) == [("a/", "folder"), ("ab.txt", "file"), ("b.txt", "file")]
    assert paths(api.get(address, {"prefix": "a/"})) == [("a/1.csv", "file"), ("a/deep/", "folder")]
    assert [path for path, _ in paths(api.get(address, {"prefix": "a", "recursive": "true"}))] == [
        "a/1.csv",
        "a/deep/2.csv",
        "ab.txt",
    ]
    entry = api.get(address, {"prefix": "b"}).json()["results"][0]
    assert entry["size"] == 5
    assert entry["modified"].endswith("Z")
    assert paths(api.get(address, {"prefix": "../control/"})) == []


def test_long_listings_come_in_pages(
    api: APIClient, workspace: Workspace, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PAGE", 2)
    put(workspace, *"abcde")
    found, following = [], address
    while following:
        answer = api.get(following)
        found += [path for path, _ in paths(answer)]
        following = answer.json()["next"]
    assert found == list("abcde")


@pytest.mark.parametrize("path", ["a.txt", "new folder/ä & +%41?#.txt", "x" * 900])
def test_links_carry_a_file_there_and_back(api: APIClient, workspace: Workspace, address: str, path: str) -> None:
    begun = api.post(address + "uploads/", {"path": path, "size": 5})
    assert begun.status_code == 201, begun.content
    assert (begun.json()["part_count"], begun.json()["upload_id"], len(begun.json()["urls"])) == (1, "", 1)
    assert unquote(urlsplit(begun.json()["urls"][0]).path).endswith(f"files/{path}")
    assert requests.put(begun.json()["urls"][0], data=b"hello", timeout=5).ok
    got = api.get(address + "link/", {"path": path})
    assert got.headers["Cache-Control"] == "no-store"
    assert requests.get(got.json()["url"], timeout=5).content == b"hello"
    assert api.delete(f"{address}?path={quote(path)}").status_code == 204
    gone = api.get(address + "link/", {"path": path})
    assert (gone.status_code, gone.json()["code"]) == (404, "no_such_file")


def test_a_large_file_comes_in_parts(
    api: APIClient, workspace: Workspace, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = 5 * files.MIB  # S3 takes no smaller ones but the last
    monkeypatch.setattr(files, "PART_BYTES", part)
    monkeypatch.setattr(files, "LINKS_AT_ONCE", 1)
    content = b"a" * part + b"b" * 10
    begun = api.post(address + "uploads/", {"path": "large", "size": len(content)}).json()
    assert (begun["part_bytes"], begun["part_count"], len(begun["urls"])) == (part, 2, 1)
    upload = {"path": "large", "upload_id": begun["upload_id"]}
    second = api.post(address + "uploads/links/", {**upload, "first": 2}).json()["urls"]
    etags = [
        requests.put(url, data=piece, timeout=10).headers["ETag"]
        for url, piece in zip([*begun["urls"], *second], [content[:part], content[part:]], strict=True)
    ]
    made = api.post(address + "uploads/complete/", {**upload, "etags": etags})
    assert (made.status_code, made.json()["size"]) == (200, len(content))
    assert boto3.client("s3").get_object(Bucket=workspace.bucket, Key="files/large")["Body"].read() == content
    again = api.post(address + "uploads/complete/", {**upload, "etags": etags})
    assert (again.status_code, again.json()["size"]) == (200, len(content))


def test_an_upload_that_is_given_up_leaves_nothing(api: APIClient, workspace: Workspace, address: str) -> None:
    begun = api.post(address + "uploads/", {"path": "large", "size": files.PART_BYTES + 1}).json()
    upload = {"path": "large", "upload_id": begun["upload_id"]}
    for _ in range(2):
        assert api.post(address + "uploads/abort/", upload).status_code == 204
    assert not boto3.client("s3").list_multipart_uploads(Bucket=workspace.bucket).get("Uploads")
    broken = api.post(address + "uploads/complete/", {**upload, "etags": ["x"]})
    assert (broken.status_code, broken.json()["code"]) == (409, "upload_broken")


def test_the_number_of_parts_is_bounded(api: APIClient, workspace: Workspace, address: str) -> None:
    begun = api.post(address + "uploads/", {"path": "huge", "size": files.LARGEST}).json()
    assert begun["part_count"] <= files.MOST_PARTS
    assert begun["part_bytes"] * begun["part_count"] >= files.LARGEST
    assert len(begun["urls"]) == files.LINKS_AT_ONCE


@pytest.mark.parametrize("path", ["../control/desired.json", "a//b", "/etc/passwd", "a/./b", "a/", "a\nb", "x" * 901])
def test_paths_that_mean_something_else_are_refused(
    api: APIClient, workspace: Workspace, address: str, path: str
) -> None:
    asked = {"path": path, "size": 1}
    assert api.post(address + "uploads/", asked).status_code == 400
    assert api.get(address + "link/", {"path": path}).status_code == 400


def test_a_workspace_that_is_not_built_says_so(api: APIClient, owner: User, cloud_account: CloudAccount) -> None:
    unbuilt = Workspace.objects.create(owner=owner, name="later", claimed_name="later", cloud_account=cloud_account)
    address = f"/api/v1/workspaces/{unbuilt.pk}/files/"
    for answer in (api.get(address), api.post(address + "uploads/", {"path": "a", "size": 1})):
        assert (answer.status_code, answer.json()["code"]) == (409, "not_built")


def test_another_persons_files_are_not_there(outsider_api: APIClient, workspace: Workspace, address: str) -> None:
    put(workspace, "secret.txt")
    upload = {"path": "secret.txt", "upload_id": "x", "size": 1, "first": 1, "etags": ["x"]}
    answers = [
        outsider_api.get(address),
        outsider_api.delete(f"{address}?path=secret.txt"),
        outsider_api.get(address + "link/", {"path": "secret.txt"}),
        *(outsider_api.post(address + f"uploads/{way}", upload) for way in ("", "links/", "complete/", "abort/")),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert boto3.client("s3").head_object(Bucket=workspace.bucket, Key="files/secret.txt")
