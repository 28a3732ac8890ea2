"""The local cloud keeps people apart as AWS does: signatures, policies, roles, and what leads round them."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fixtures.cloud import ACCOUNTS, REGION, Cloud

pytest_plugins = ["tests.fixtures.cloud"]
pytestmark = pytest.mark.cloud

PLATFORM, SECOND = ACCOUNTS["platform"], ACCOUNTS["second"]


def name() -> str:
    return f"access-{uuid.uuid4().hex[:12]}"


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str | list[str], resource: str | list[str], **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def refusal(act: Callable[..., Any], **parameters: Any) -> str:
    """The error code of a call that must fail."""
    with pytest.raises(ClientError) as refused:
        act(**parameters)
    return str(refused.value.response["Error"]["Code"])


def bucket_make(cloud: Cloud, account: str = "platform") -> str:
    made = name()
    cloud.client("s3", account).create_bucket(Bucket=made, CreateBucketConfiguration={"LocationConstraint": REGION})
    return made


def role_make(cloud: Cloud, account: str, trust: dict[str, Any], *statements: dict[str, Any]) -> str:
    """A role; its ARN."""
    made, iam = name(), cloud.client("iam", account)
    role = iam.create_role(
        RoleName=made, AssumeRolePolicyDocument=policy({"Effect": "Allow", "Action": "sts:AssumeRole", **trust})
    )
    if statements:
        iam.put_role_policy(RoleName=made, PolicyName="own", PolicyDocument=policy(*statements))
    return str(role["Role"]["Arn"])


def assumed(cloud: Cloud, role_arn: str, service: str, **parameters: Any) -> Any:
    """A client with the role's credentials, assumed by the platform's administrator."""
    keys = cloud.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="test", **parameters)["Credentials"]
    return cloud.client_with(service, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


def user_make(cloud: Cloud, *statements: dict[str, Any]) -> tuple[str, str]:
    """A user of the platform's account; access key and secret."""
    made, iam = name(), cloud.client("iam")
    iam.create_user(UserName=made)
    if statements:
        iam.put_user_policy(UserName=made, PolicyName="own", PolicyDocument=policy(*statements))
    key = iam.create_access_key(UserName=made)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


TRUSTS_PLATFORM: dict[str, Any] = {"Principal": {"AWS": f"arn:aws:iam::{PLATFORM}:root"}}


# Who is calling


def test_each_account_has_an_administrator_whose_files_nobody_else_reads(local_cloud: Cloud) -> None:
    for account, account_id in ACCOUNTS.items():
        assert local_cloud.client("sts", account).get_caller_identity()["Account"] == account_id
    for kept in ("credentials", "credentials.json", "sealing.key"):
        assert (local_cloud.data / kept).stat().st_mode & 0o777 == 0o600


def test_a_request_without_a_signature_or_with_a_wrong_one_is_refused(local_cloud: Cloud) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(
            urllib.request.Request(f"{local_cloud.endpoint}/", data=b"Action=ListUsers&Version=2010-05-08"), timeout=5
        )
    assert refused.value.code == 403
    keys = local_cloud.credentials()
    for service, code in {"s3": "SignatureDoesNotMatch", "sqs": "SignatureDoesNotMatch"}.items():
        wrong = local_cloud.client_with(service, keys["access_key_id"], "wrong")
        call = wrong.list_buckets if service == "s3" else wrong.list_queues
        assert refusal(call).startswith(code)
    assert refusal(local_cloud.client_with("s3", "AKIAIOSFODNN7EXAMPLE", "x").list_buckets) == "InvalidAccessKeyId"


def test_moto_s_own_control_pages_are_closed(local_cloud: Cloud) -> None:
    for path in ("moto-api/reset", "moto-api/reset-auth", "moto-api/data.json", "latest/meta-data/"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{local_cloud.endpoint}/{path}", data=b"0"), timeout=5)
        assert refused.value.code == 404
    assert local_cloud.client("sts").get_caller_identity()["Account"] == PLATFORM


def test_nobody_speaks_for_another_account_by_a_header_of_moto_s(local_cloud: Cloud) -> None:
    second = local_cloud.client("iam", "second")

    def claim(request: Any, **_: Any) -> None:
        request.headers["x-moto-account-id"] = PLATFORM

    second.meta.events.register("before-send", claim)
    made = name()
    second.create_user(UserName=made)
    assert made not in [user["UserName"] for user in local_cloud.client("iam").list_users()["Users"]]


def test_a_tampered_or_foreign_session_token_is_refused(local_cloud: Cloud) -> None:
    role = role_make(local_cloud, "platform", TRUSTS_PLATFORM, allow("s3:*", "*"))
    sts = local_cloud.client("sts")
    one, other = (sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"] for _ in range(2))
    mixed = local_cloud.client_with("s3", one["AccessKeyId"], one["SecretAccessKey"], other["SessionToken"])
    assert refusal(mixed.list_buckets) == "InvalidClientTokenId"
    bare = local_cloud.client_with("s3", one["AccessKeyId"], one["SecretAccessKey"])
    assert refusal(bare.list_buckets) == "InvalidAccessKeyId"


def test_a_session_ends_with_its_role(local_cloud: Cloud) -> None:
    role = role_make(local_cloud, "platform", TRUSTS_PLATFORM)
    sts = assumed(local_cloud, role, "sts")
    assert sts.get_caller_identity()["Arn"].endswith("/test")
    local_cloud.client("iam").delete_role(RoleName=role.rpartition("/")[2])
    assert refusal(sts.get_caller_identity) == "InvalidClientTokenId"


# Roles of other accounts


@pytest.fixture(scope="module")
def linked_role(local_cloud: Cloud) -> str:
    """A role that a person made in an account of their own, for Orca, as the link page tells them to."""
    condition = {"Condition": {"StringEquals": {"sts:ExternalId": "right"}}}
    return role_make(local_cloud, "second", {**TRUSTS_PLATFORM, **condition}, allow("s3:*", "*"))


def test_the_external_id_opens_a_role_of_another_account(local_cloud: Cloud, linked_role: str) -> None:
    sts = assumed(local_cloud, linked_role, "sts", ExternalId="right")
    assert sts.get_caller_identity()["Account"] == SECOND
    s3, made = assumed(local_cloud, linked_role, "s3", ExternalId="right"), name()
    s3.create_bucket(Bucket=made, CreateBucketConfiguration={"LocationConstraint": REGION})
    seen = [bucket["Name"] for bucket in local_cloud.client("s3", "second").list_buckets()["Buckets"]]
    assert made in seen


@pytest.mark.parametrize("external_id", [{"ExternalId": "wrong"}, {"ExternalId": "righ"}, {}])
def test_a_wrong_external_id_or_none_does_not(
    local_cloud: Cloud, linked_role: str, external_id: dict[str, str]
) -> None:
    sts = local_cloud.client("sts")
    code = refusal(sts.assume_role, RoleArn=linked_role, RoleSessionName="test", **external_id)
    assert code == "AccessDenied"


def test_only_principals_that_a_role_trusts_may_assume_it(local_cloud: Cloud) -> None:
    second_only = role_make(local_cloud, "platform", {"Principal": {"AWS": f"arn:aws:iam::{SECOND}:root"}})
    sts = local_cloud.client("sts")
    assert refusal(sts.assume_role, RoleArn=second_only, RoleSessionName="test") == "AccessDenied"
    by_second = local_cloud.client("sts", "second").assume_role(RoleArn=second_only, RoleSessionName="test")
    assert f":{PLATFORM}:" in by_second["AssumedRoleUser"]["Arn"]


def test_a_caller_needs_a_permission_of_its_own_across_accounts(local_cloud: Cloud) -> None:
    role = role_make(local_cloud, "second", TRUSTS_PLATFORM)
    for statements, may in (((), False), ((allow("sts:AssumeRole", role),), True)):
        sts = local_cloud.client_with("sts", *user_make(local_cloud, *statements))
        if may:
            assert sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        else:
            assert refusal(sts.assume_role, RoleArn=role, RoleSessionName="test") == "AccessDenied"


def test_nobody_gets_the_role_of_a_service_or_one_that_is_not_there(local_cloud: Cloud) -> None:
    role = role_make(local_cloud, "platform", {"Principal": {"Service": "ec2.amazonaws.com"}}, allow("*", "*"))
    sts = local_cloud.client("sts")
    for arn in (role, f"arn:aws:iam::{SECOND}:role/{name()}", f"arn:aws:iam::999999999999:role/{name()}"):
        assert refusal(sts.assume_role, RoleArn=arn, RoleSessionName="test") == "AccessDenied"


def test_a_session_policy_narrows_the_role(local_cloud: Cloud) -> None:
    mine, other = bucket_make(local_cloud), bucket_make(local_cloud)
    role = role_make(local_cloud, "platform", TRUSTS_PLATFORM, allow("s3:*", "*"))
    s3 = assumed(local_cloud, role, "s3", Policy=policy(allow("s3:*", [f"arn:aws:s3:::{mine}/*"])))
    s3.put_object(Bucket=mine, Key="a", Body=b"")
    assert refusal(s3.put_object, Bucket=other, Key="a", Body=b"") == "AccessDenied"


# What a workspace's roles may do


@pytest.fixture(scope="module")
def workspace(local_cloud: Cloud) -> tuple[str, Any, Any]:
    """Bucket (and queue) name, and S3 and SQS clients with a role that may use just these."""
    made = bucket_make(local_cloud)
    local_cloud.client("sqs").create_queue(QueueName=made)
    role = role_make(
        local_cloud,
        "platform",
        TRUSTS_PLATFORM,
        allow("s3:*", [f"arn:aws:s3:::{made}", f"arn:aws:s3:::{made}/*"]),
        {"Effect": "Deny", "Action": "s3:*", "Resource": f"arn:aws:s3:::{made}/control/*"},
        allow(["sqs:SendMessage", "sqs:ReceiveMessage"], f"arn:aws:sqs:{REGION}:{PLATFORM}:{made}"),
    )
    return made, assumed(local_cloud, role, "s3"), assumed(local_cloud, role, "sqs")


def test_a_role_reaches_its_own_bucket_and_no_other(local_cloud: Cloud, workspace: tuple[str, Any, Any]) -> None:
    mine, s3, _ = workspace
    other = bucket_make(local_cloud)
    s3.put_object(Bucket=mine, Key="runs/1/out.txt", Body=b"mine")
    assert s3.get_object(Bucket=mine, Key="runs/1/out.txt")["Body"].read() == b"mine"
    assert refusal(s3.put_object, Bucket=mine, Key="control/agent.json", Body=b"") == "AccessDenied"
    assert refusal(s3.list_objects_v2, Bucket=other) == "AccessDenied"
    assert refusal(s3.get_object, Bucket=other, Key="a") == "AccessDenied"
    assert refusal(s3.put_object, Bucket=other, Key="a", Body=b"") == "AccessDenied"
    stolen = {"Bucket": other, "Key": "control/agent.json"}
    local_cloud.client("s3").put_object(**stolen, Body=b"secret")
    assert refusal(s3.copy_object, Bucket=mine, Key="b", CopySource=stolen) == "AccessDenied"


def test_deleting_many_answers_for_each(local_cloud: Cloud, workspace: tuple[str, Any, Any]) -> None:
    mine, s3, _ = workspace
    for key in ("a", "control/b"):
        local_cloud.client("s3").put_object(Bucket=mine, Key=key, Body=b"")
    answer = s3.delete_objects(Bucket=mine, Delete={"Objects": [{"Key": "a"}, {"Key": "control/b"}]})
    assert [one["Key"] for one in answer["Deleted"]] == ["a"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("control/b", "AccessDenied")]
    left = local_cloud.client("s3").list_objects_v2(Bucket=mine, Prefix="control/")["Contents"]
    assert [one["Key"] for one in left] == ["control/b"]


def test_a_list_of_buckets_shows_what_one_may_list(local_cloud: Cloud, workspace: tuple[str, Any, Any]) -> None:
    mine, s3, _ = workspace
    other = bucket_make(local_cloud)
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [mine]
    assert {mine, other} <= {bucket["Name"] for bucket in local_cloud.client("s3").list_buckets()["Buckets"]}


def test_a_role_reaches_its_own_queue_and_no_other(local_cloud: Cloud, workspace: tuple[str, Any, Any]) -> None:
    mine, _, sqs = workspace
    admin = local_cloud.client("sqs")
    other = admin.create_queue(QueueName=name())["QueueUrl"]
    own = admin.get_queue_url(QueueName=mine)["QueueUrl"]
    sqs.send_message(QueueUrl=own, MessageBody="hello")
    assert sqs.receive_message(QueueUrl=own)["Messages"][0]["Body"] == "hello"
    for act, parameters in (
        (sqs.send_message, {"QueueUrl": other, "MessageBody": "x"}),
        (sqs.receive_message, {"QueueUrl": other}),
        (sqs.purge_queue, {"QueueUrl": own}),
        (sqs.create_queue, {"QueueName": name()}),
    ):
        assert refusal(act, **parameters) in ("AccessDenied", "AccessDeniedException")


def test_a_queue_of_another_account_takes_messages_when_both_sides_agree(local_cloud: Cloud) -> None:
    sqs, made = local_cloud.client("sqs"), name()
    url = sqs.create_queue(QueueName=made)["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{PLATFORM}:{made}"
    role = role_make(local_cloud, "second", TRUSTS_PLATFORM, allow("sqs:SendMessage", arn))
    sender = assumed(local_cloud, role, "sqs")
    assert refusal(sender.send_message, QueueUrl=url, MessageBody="x") in ("AccessDenied", "AccessDeniedException")
    opened = allow("sqs:SendMessage", arn, Principal={"AWS": f"arn:aws:iam::{SECOND}:root"})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy(opened)})
    sender.send_message(QueueUrl=url, MessageBody="from the second account")
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "from the second account"
    assert refusal(sender.receive_message, QueueUrl=url) in ("AccessDenied", "AccessDeniedException")


def test_a_bucket_policy_that_asks_for_tls_does_not_lock_anybody_out(local_cloud: Cloud) -> None:
    made, s3 = bucket_make(local_cloud), local_cloud.client("s3")
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{made}", f"arn:aws:s3:::{made}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket=made, Policy=policy(deny))
    s3.put_object(Bucket=made, Key="a", Body=b"a")
    assert s3.get_object(Bucket=made, Key="a")["Body"].read() == b"a"
    everyone = {**deny, "Condition": {"StringLike": {"aws:PrincipalArn": "*:user/administrator"}}}
    s3.put_bucket_policy(Bucket=made, Policy=policy(everyone))
    assert refusal(s3.get_object, Bucket=made, Key="a") == "AccessDenied"


def test_conditions_of_a_person_s_own_policy_count(local_cloud: Cloud) -> None:
    made = bucket_make(local_cloud)
    only_mine = allow("s3:ListBucket", f"arn:aws:s3:::{made}", Condition={"StringLike": {"s3:prefix": "home/me/*"}})
    s3 = local_cloud.client_with("s3", *user_make(local_cloud, only_mine))
    assert s3.list_objects_v2(Bucket=made, Prefix="home/me/")["KeyCount"] == 0
    assert refusal(s3.list_objects_v2, Bucket=made, Prefix="home/you/") == "AccessDenied"
    assert refusal(s3.list_objects_v2, Bucket=made) == "AccessDenied"


def test_a_boundary_holds_whatever_is_allowed(local_cloud: Cloud) -> None:
    iam, made = local_cloud.client("iam"), name()
    limit = iam.create_policy(PolicyName=made, PolicyDocument=policy(allow("sqs:*", "*")))["Policy"]["Arn"]
    trust = policy({"Effect": "Allow", "Action": "sts:AssumeRole", **TRUSTS_PLATFORM})
    role = iam.create_role(RoleName=made, AssumeRolePolicyDocument=trust, PermissionsBoundary=limit)["Role"]["Arn"]
    iam.put_role_policy(RoleName=made, PolicyName="own", PolicyDocument=policy(allow("*", "*")))
    assert assumed(local_cloud, role, "sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert refusal(assumed(local_cloud, role, "iam").list_users) == "AccessDenied"


def test_giving_an_instance_a_role_needs_pass_role(local_cloud: Cloud) -> None:
    iam = local_cloud.client("iam")
    role = role_make(local_cloud, "platform", {"Principal": {"Service": "ec2.amazonaws.com"}}, allow("*", "*"))
    profile = role.rpartition("/")[2]
    iam.create_instance_profile(InstanceProfileName=profile)
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=profile)
    ec2 = local_cloud.client_with("ec2", *user_make(local_cloud, allow("ec2:*", "*")))
    code = refusal(
        ec2.run_instances, ImageId="ami-12c6146b", MinCount=1, MaxCount=1, IamInstanceProfile={"Name": profile}
    )
    assert code == "UnauthorizedOperation"


# Addresses that carry their permission


def test_a_presigned_address_works_until_it_ends_and_for_what_it_names(local_cloud: Cloud) -> None:
    made, s3 = bucket_make(local_cloud), local_cloud.client("s3")
    s3.put_object(Bucket=made, Key="a b+c.txt", Body=b"content")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": made, "Key": "a b+c.txt"}, ExpiresIn=2)
    assert urllib.request.urlopen(url, timeout=5).read() == b"content"
    for bad in (url.replace("a%20b", "a%20x"), url + "x"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(bad, timeout=5)
        assert refused.value.code == 403
    with pytest.raises(urllib.error.HTTPError) as bare:
        urllib.request.urlopen(url.partition("?")[0], timeout=5)
    assert bare.value.code == 403
    signed_at = time.time()
    while time.time() < signed_at + 2.1:
        time.sleep(0.1)
    with pytest.raises(urllib.error.HTTPError) as late:
        urllib.request.urlopen(url, timeout=5)
    assert late.value.code == 403


def test_a_form_uploads_what_its_policy_allows(local_cloud: Cloud) -> None:
    made, s3 = bucket_make(local_cloud), local_cloud.client("s3")
    form = s3.generate_presigned_post(
        made, "in/${filename}", Conditions=[["content-length-range", 1, 10], ["starts-with", "$key", "in/"]]
    )

    def post(fields: dict[str, str], body: bytes) -> int:
        parts = [f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}' for key, value in fields.items()]
        head = '--x\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n\r\n'
        data = "\r\n".join([*parts, head]).encode() + body + b"\r\n--x--\r\n"
        request = urllib.request.Request(form["url"], data=data)
        request.add_header("Content-Type", "multipart/form-data; boundary=x")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    assert post(form["fields"], b"short") == 204
    assert s3.get_object(Bucket=made, Key="in/f.txt")["Body"].read() == b"short"
    assert post(form["fields"], b"much too long") == 400
    assert post({**form["fields"], "key": "elsewhere"}, b"short") == 403
    assert post({**form["fields"], "x-amz-signature": "0" * 64}, b"short") == 403
