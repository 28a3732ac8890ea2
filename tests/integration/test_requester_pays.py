"""Buckets of others whose requesters pay, on a cloud that enforces IAM: read by who says so, and nothing else is."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from pytest_django import Settings

from portal.core.errors import CloudFault
from portal.gateways import aws, aws_catalogue, aws_linked, provisioner_policy
from portal.gateways.aws import Account
from portal.gateways.aws_catalogue import Place, Reach
from portal.jobs.sources import Access, Item, Unfound, checked, find
from tests.conftest import forget_clouds
from tests.fixtures.cloud import ACCOUNTS, REGION, Cloud

pytestmark = pytest.mark.cloud
PLATFORM, SECOND = ACCOUNTS["platform"], ACCOUNTS["second"]
SCENES = ("scenes/a.tif", "scenes/b.tif")
EXTERNAL_ID = "requester-pays-external-id"


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def bucket_make(cloud: Cloud, account: str, name: str) -> str:
    s3 = cloud.client("s3", account)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    for key in SCENES:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    return name


@pytest.fixture(scope="module")
def paid(local_cloud: Cloud) -> str:
    """A bucket of the second account that everybody may read, at their own cost."""
    name, s3 = f"payer-{uuid.uuid4().hex[:12]}", local_cloud.client("s3", "second")
    bucket_make(local_cloud, "second", name)
    read = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"]}
    arns = [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
    s3.put_bucket_policy(Bucket=name, Policy=policy({**read, "Resource": arns}))
    s3.put_bucket_request_payment(Bucket=name, RequestPaymentConfiguration={"Payer": "Requester"})
    return name


@pytest.fixture
def role(local_cloud: Cloud, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Account]:
    """Orca's role in its own account, with the policy that it builds with; this process is Orca."""
    for variable, value in local_cloud.environment().items():
        monkeypatch.setenv(variable, value)
    settings.S3_PATH_STYLE, settings.PUBLIC_AWS_ENDPOINT_URL = True, local_cloud.endpoint
    forget_clouds()
    aws_catalogue._public.cache_clear()
    name = f"orca-payer-{uuid.uuid4().hex[:8]}"
    trusted = {"AWS": f"arn:aws:iam::{PLATFORM}:root"}
    trust = {"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"}
    iam = local_cloud.client("iam")
    found = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]
    document = provisioner_policy.document(PLATFORM, name)
    iam.put_role_policy(RoleName=name, PolicyName="build-workspaces", PolicyDocument=json.dumps(document))
    yield Account(PLATFORM, REGION, found["Arn"], EXTERNAL_ID)
    forget_clouds()
    aws_catalogue._public.cache_clear()


def refusal(call: Callable[..., Any], **given: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**given)
    return str(refused.value.response["Error"]["Code"])


def search(reach: Reach, **data: Any) -> list[Item]:
    return list(find(checked(data), access=Access(reach=reach, probing=True)))


def test_who_does_not_say_that_they_pay_is_refused_and_the_owner_is_not(local_cloud: Cloud, paid: str) -> None:
    owner, other = local_cloud.client("s3", "second"), local_cloud.client("s3")
    scene = {"Bucket": paid, "Key": SCENES[0]}
    assert owner.get_bucket_request_payment(Bucket=paid)["Payer"] == "Requester"
    assert owner.get_object(**scene)["Body"].read() == SCENES[0].encode()
    assert refusal(other.get_object, **scene) == "AccessDenied"
    assert refusal(other.head_object, **scene) == "403"
    assert refusal(other.list_objects_v2, Bucket=paid) == "AccessDenied"
    assert other.get_object(**scene, RequestPayer="requester")["Body"].read() == SCENES[0].encode()
    assert other.list_objects_v2(Bucket=paid, RequestPayer="requester")["KeyCount"] == len(SCENES)
    nobody = httpx.get(
        f"{local_cloud.endpoint}/{paid}/{SCENES[0]}", headers={"x-amz-request-payer": "requester"}, trust_env=False
    )
    assert nobody.status_code == 403, "who does not sign cannot pay"


def test_who_pays_outlives_a_restart(local_cloud_alone: Cloud) -> None:
    bucket_make(local_cloud_alone, "second", "payer-kept")
    paid = {"Payer": "Requester"}
    local_cloud_alone.client("s3", "second").put_bucket_request_payment(
        Bucket="payer-kept", RequestPaymentConfiguration=paid
    )
    local_cloud_alone.kill()
    local_cloud_alone.start()
    found = local_cloud_alone.client("s3", "second").get_bucket_request_payment(Bucket="payer-kept")
    assert found["Payer"] == "Requester"


def test_it_is_searched_and_handed_out_as_links_that_say_who_pays(role: Account, paid: str) -> None:
    reach = Reach(role, "orca-0mine", requester_pays=True)
    found = search(reach, kind="bucket", url=f"s3://{paid}/scenes/", requester_pays=True)
    assert [(item.id, item.size) for item in found] == [(key.removeprefix("scenes/"), len(key)) for key in SCENES]
    link = aws_catalogue.link(Place(paid, SCENES[1]), reach)
    assert httpx.get(link, trust_env=False).text == SCENES[1]
    signer, scene = aws.link_client(aws_catalogue._reader(role)), {"Bucket": paid, "Key": SCENES[1]}
    silent = signer.generate_presigned_url("get_object", Params=scene)
    assert httpx.get(silent, trust_env=False).status_code == 403
    assert search(reach, kind="urls", urls=[f"s3://{paid}/{SCENES[0]}"], requester_pays=True)


@pytest.mark.parametrize("kind", ["bucket", "urls", "stac"])
def test_without_saying_so_it_is_refused_by_field(role: Account, paid: str, kind: str) -> None:
    data: Any = {
        "bucket": {"url": f"s3://{paid}/scenes/"},
        "urls": {"urls": [f"s3://{paid}/{key}" for key in SCENES]},
        "stac": {"url": f"s3://{paid}/{SCENES[0]}"},
    }[kind]
    with pytest.raises(Unfound, match="not open to everybody") as refused:
        search(Reach(role, "orca-0mine"), kind=kind, **data)
    assert list(refused.value.fields) == ["data.requester_pays"]
    assert "requester_pays: true" in refused.value.hint


def test_what_is_in_the_account_is_no_data_of_others(local_cloud: Cloud, role: Account) -> None:
    workspace = bucket_make(local_cloud, "platform", f"orca-0{uuid.uuid4().hex[:12]}")
    besides = bucket_make(local_cloud, "platform", f"payer-{uuid.uuid4().hex[:12]}")
    reach = Reach(role, "orca-0mine", requester_pays=True)
    with pytest.raises(CloudFault, match="no bucket"):
        aws_catalogue.read(Place(workspace, SCENES[0]), reach, most=100)
    with pytest.raises(CloudFault, match="does not let the workspace's cloud account"):
        aws_catalogue.read(Place(besides, SCENES[0]), reach, most=100)
    whole, narrowed = aws.client("s3", role), aws.client("s3", aws_catalogue._reader(role))
    assert whole.get_object(Bucket=workspace, Key=SCENES[0])["ContentLength"]
    assert refusal(narrowed.get_object, Bucket=workspace, Key=SCENES[0]) == "AccessDenied", "whatever name is asked for"
    link = aws.link_client(aws_catalogue._reader(role)).generate_presigned_url(
        "get_object", Params={"Bucket": workspace, "Key": SCENES[0]}
    )
    assert httpx.get(link, trust_env=False).status_code == 403


def test_a_role_from_before_is_told_what_it_is_missing(local_cloud: Cloud, role: Account, paid: str) -> None:
    name = role.role_arn.rsplit("/", 1)[-1]
    document = provisioner_policy.document(PLATFORM, name)
    document["Statement"] = [each for each in document["Statement"] if each["Sid"] != "DataOfOthers"]
    iam = local_cloud.client("iam")
    iam.put_role_policy(RoleName=name, PolicyName="build-workspaces", PolicyDocument=json.dumps(document))
    with pytest.raises(Unfound, match=r"Missing: s3:GetObject, s3:ListBucket\.") as refused:
        search(Reach(role, "orca-0mine"), kind="urls", urls=[f"s3://{paid}/{SCENES[0]}"], requester_pays=True)
    assert list(refused.value.fields) == ["data.requester_pays"]
    outside = {"aws:ResourceAccount": SECOND}
    assert aws_linked.denied(role, ["s3:GetObject"], [f"arn:aws:s3:::{paid}/x"], outside)
