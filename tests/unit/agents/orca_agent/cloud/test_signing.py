"""Our signatures and endpoints are those of botocore, whatever the request."""

from __future__ import annotations

import datetime
import hashlib
from typing import Any
from unittest import mock

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from botocore.session import get_session
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.orca_agent.cloud.client import dns_suffix
from agents.orca_agent.cloud.signing import Credentials, encode, query_string, signed_headers

NOW = 1_790_000_000.0
KEYS = Credentials("AKIDEXAMPLE", "secret/with+signs", "token==")


def botocore_authorization(
    service: str, method: str, url: str, headers: dict[str, str], body: bytes, token: str | None
) -> str:
    request = AWSRequest(method=method, url=url, headers=dict(headers), data=body)
    request.context["payload_signing_enabled"] = True
    keys = BotoCredentials(KEYS.access_key, KEYS.secret_key, token)
    auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(keys, service, "eu-central-1")
    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC).replace(tzinfo=None)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        auth.add_auth(request)
    return str(request.headers["Authorization"])


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@settings(deadline=None)
@given(
    key=names.filter(lambda name: name not in {".", ".."}),
    query=st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"))),
    body=st.binary(max_size=64),
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    token=st.sampled_from([None, "token=="]),
)
def test_s3_requests_are_signed_as_botocore_does(
    key: str, query: dict[str, str], body: bytes, method: str, token: str | None
) -> None:
    url = f"https://orca-x.s3.eu-central-1.amazonaws.com/{encode(key, safe='/')}"
    url += f"?{query_string(query)}" if query else ""
    headers = {"content-type": "text/plain;  charset=utf-8", "content-length": str(len(body))}
    keys = Credentials(KEYS.access_key, KEYS.secret_key, token)
    signed = signed_headers(
        method,
        url,
        {"content-type": headers["content-type"]},
        hashlib.sha256(body).hexdigest(),
        keys,
        region="eu-central-1",
        service="s3",
        now=NOW,
    )
    expected = botocore_authorization("s3", method, url, {"content-type": headers["content-type"]}, body, token)
    assert signed["authorization"] == expected


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_sqs_requests_are_signed_as_botocore_does(body: bytes) -> None:
    url = "https://sqs.eu-central-1.amazonaws.com/"
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessage"}
    signed = signed_headers(
        "POST",
        url,
        headers,
        hashlib.sha256(body).hexdigest(),
        KEYS,
        region="eu-central-1",
        service="sqs",
        now=NOW,
    )
    assert signed["authorization"] == botocore_authorization("sqs", "POST", url, headers, body, KEYS.token)


def test_credentials_do_not_show_when_printed() -> None:
    assert "secret" not in repr(KEYS)
    assert "token" not in repr(KEYS)


def regions() -> list[Any]:
    return [*get_session().get_available_regions("sqs"), "cn-north-1", "us-gov-west-1"]


@pytest.mark.parametrize("region", regions())
def test_the_domain_of_a_region_is_botocores(region: str) -> None:
    client = get_session().create_client("sqs", region_name=region, aws_access_key_id="a", aws_secret_access_key="b")
    assert client.meta.endpoint_url == f"https://sqs.{region}.{dns_suffix(region)}"
