"""Data in S3: the workspace's own bucket, public ones, those whose requester pays; never Orca's own."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import boto3
import pytest

from portal.core.errors import CloudFault
from portal.gateways import aws_catalogue
from portal.gateways.aws_catalogue import Place, Reach, place
from portal.jobs.sources import Access, Item, Report, Unfound, checked, find
from tests.fixtures.catalogues import catalog, collection, scene

OWN = "orca-0mine"
ACCESS = Access(reach=Reach(None, OWN), pause=0.01, tries=2)


@pytest.fixture
def s3(paper_cloud: None) -> Any:
    """S3 with the workspace's bucket, another's, and one of somebody else's."""
    aws_catalogue._public.cache_clear()
    made = boto3.client("s3")
    for bucket in (OWN, "orca-0other", "open-data"):
        made.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return made


def search(**data: Any) -> list[Item]:
    return list(find(checked(data), access=ACCESS))


def put(s3: Any, bucket: str, pages: dict[str, Any]) -> None:
    for key, page in pages.items():
        s3.put_object(Bucket=bucket, Key=key, Body=page if isinstance(page, bytes) else json.dumps(page).encode())


def test_the_own_bucket_by_prefix_and_pattern(s3: Any) -> None:
    keys = ["scenes/a.tif", "scenes/b/c.tif", "scenes/b/c.xml", "scenes/b/d1.tif", "other.tif", "scenes/folder/"]
    put(s3, OWN, dict.fromkeys(keys, b"x" * 7))
    found = search(kind="bucket", prefix="scenes/", pattern="**/*.tif")
    assert [item.id for item in found] == ["a.tif", "b/c.tif", "b/d1.tif"]
    assert json.loads(found[0].line())["assets"] == {"file": {"key": "scenes/a.tif", "size": 7}}
    assert found[0].size == 7
    assert [item.id for item in search(kind="bucket", prefix="scenes/", pattern="*.tif")] == ["a.tif"]
    assert [item.id for item in search(kind="bucket", prefix="scenes/", pattern="b/d?.tif")] == ["b/d1.tif"]
    assert len(search(kind="bucket", prefix="scenes")) == 4


def test_what_tells_instances_what_to_do_is_no_data(s3: Any) -> None:
    put(s3, OWN, {"control/desired.json": b"{}", "a.tif": b"x"})
    assert [item.id for item in search(kind="bucket", prefix="")] == ["a.tif"]
    assert search(kind="bucket", prefix="control/") == []


def test_a_limit_ends_the_listing(s3: Any) -> None:
    put(s3, OWN, {f"{number:02}": b"" for number in range(9)})
    report = Report()
    asked = checked({"kind": "bucket", "prefix": "", "limit": 5})
    assert len(list(find(asked, access=ACCESS, report=report))) == 5
    assert not report.complete


def test_a_bucket_whose_requester_pays(s3: Any) -> None:
    put(s3, "open-data", {"x/a.tif": b"1"})
    found = search(kind="bucket", url="s3://open-data/x/", requester_pays=True)
    assert json.loads(found[0].line())["assets"]["file"] == {
        "href": "s3://open-data/x/a.tif",
        "requester_pays": True,
        "size": 1,
    }


def test_a_catalogue_in_a_bucket(s3: Any) -> None:
    put(
        s3,
        "open-data",
        {
            "stac/catalog.json": catalog("root", [("child", "./MUX/collection.json"), ("item", "gone.json")]),
            "stac/MUX/collection.json": collection("MUX", [("item", "../items/one.json")]),
            "stac/items/one.json": scene("one", assets={"B5": {"href": "../../data/b5.tif"}}),
        },
    )
    report = Report()
    asked = checked({"kind": "stac", "url": "s3://open-data/stac/catalog.json", "requester_pays": True})
    (item,) = find(asked, access=ACCESS, report=report)
    assert item.source == "s3://open-data/stac/items/one.json"
    written = json.loads(item.line())["assets"]["B5"]
    assert written == {"href": "s3://open-data/data/b5.tif", "requester_pays": True}
    assert report.failed == 1


@pytest.mark.parametrize("bucket", ["orca-0other", "orca-platform-123456789012", "orca-state-123456789012"])
def test_the_role_never_serves_to_look_into_what_is_orcas_or_anothers(s3: Any, bucket: str) -> None:
    put(s3, "orca-0other", {"catalog.json": catalog("root"), "a.tif": b"secret"})
    for data in (
        {"kind": "bucket", "url": f"s3://{bucket}/"},
        {"kind": "stac", "url": f"s3://{bucket}/catalog.json"},
    ):
        with pytest.raises(Unfound, match="no bucket"):
            search(**data, requester_pays=True)
    with pytest.raises(CloudFault, match="no bucket"):
        aws_catalogue.link(Place(bucket, "a.tif"), dataclasses.replace(ACCESS.reach, requester_pays=True))


def test_without_requester_pays_nothing_is_signed(s3: Any) -> None:
    found = aws_catalogue.link(Place("open-data", "a b.tif"), ACCESS.reach)
    assert "Signature" not in found
    signed = aws_catalogue.link(Place("open-data", "a.tif"), dataclasses.replace(ACCESS.reach, requester_pays=True))
    assert "Signature" in signed
    assert "x-amz-request-payer=requester" in signed, "in the address itself, which no header goes with"
    assert "SignedHeaders=host&" in signed
    own = aws_catalogue.link(Place(OWN, "a.tif"), ACCESS.reach)
    assert "Signature" in own
    assert "payer" not in own


def test_a_link_is_signed_for_the_region_that_the_bucket_is_in(s3: Any) -> None:
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="far-data")
    reach = dataclasses.replace(ACCESS.reach, requester_pays=True)
    assert "%2Fus-east-1%2Fs3%2F" in aws_catalogue.link(Place("far-data", "a.tif"), reach)
    assert "%2Feu-central-1%2Fs3%2F" in aws_catalogue.link(Place("open-data", "a.tif"), reach)


def test_a_bucket_that_is_not_there_is_told(s3: Any) -> None:
    with pytest.raises(Unfound) as raised:
        search(kind="bucket", url="s3://nobody-has-this/x", requester_pays=True)
    assert "data.url" in raised.value.fields


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("s3://a-bucket/x/y.tif", Place("a-bucket", "x/y.tif")),
        ("s3://a-bucket/x/y z.tif?a#b", Place("a-bucket", "x/y z.tif?a#b")),
        ("s3://a-bucket", Place("a-bucket", "")),
        ("https://stac.example/catalog.json", None),
    ],
)
def test_addresses_of_s3_are_known(url: str, found: Place | None) -> None:
    assert place(url) == found


def test_a_list_of_addresses() -> None:
    asked = checked(
        {"kind": "urls", "urls": ["https://a.example/1/x.tif?v=2", "https://b.example/x.tif", "s3://open-data/y"]}
    )
    found = list(find(asked, access=ACCESS))
    assert [item.id for item in found] == ["x.tif", "x-2.tif", "y"]
    assert json.loads(found[0].line())["assets"] == {"file": {"href": "https://a.example/1/x.tif?v=2"}}
    assert found[0].size is None
