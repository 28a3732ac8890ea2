"""A signature that botocore makes is accepted; one over anything else is not."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from agents.local_cloud.access import signature
from agents.local_cloud.faults import Fault

SECRET = "secret"
KEYS = Credentials("AKIATEST", SECRET, "token")


def signed(kind: Any, service: str, method: str, url: str, body: bytes = b"") -> dict[str, Any]:
    """The WSGI environment of a request that botocore has signed."""
    request = AWSRequest(
        method=method, url=url, data=body, headers={"Host": urlsplit(url).netloc, "X-Custom": " a  b "}
    )
    kind(KEYS, service, "eu-central-1").add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "RAW_URI": target}
    for name, value in prepared.headers.items():
        text = value.decode() if isinstance(value, bytes) else str(value)
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = text
    return environ


def query(environ: dict[str, Any]) -> list[tuple[str, str]]:
    raw = environ["RAW_URI"].partition("?")[2]
    return [(unquote(n), unquote(v)) for n, _, v in (pair.partition("=") for pair in raw.split("&") if pair)]


def check(environ: dict[str, Any], body: bytes = b"", secret: str = SECRET) -> signature.Credential:
    found = signature.from_request(environ, query(environ))
    assert found is not None
    signature.verify(found, secret, environ, query(environ), body)
    return found


URLS = [
    "http://127.0.0.1:5566/",
    "http://127.0.0.1:5566/bucket/a%20b/%C3%A9%2B~.txt?versionId=1&prefix=a%2Fb&acl",
    "http://127.0.0.1:5566/b//double/./dots/../k",
]


@pytest.mark.parametrize("url", URLS)
def test_what_botocore_signs_for_s3_is_accepted(url: str) -> None:
    found = check(signed(S3SigV4Auth, "s3", "PUT", url, b"body"), b"body")
    assert (found.access_key_id, found.service, found.token) == ("AKIATEST", "s3", "token")


def test_what_botocore_signs_for_another_service_is_accepted() -> None:
    check(signed(SigV4Auth, "sqs", "POST", "http://127.0.0.1:5566/2015-03-31/functions/a%3Ab/x", b"{}"), b"{}")


@pytest.mark.parametrize("url", URLS[:2])
def test_a_presigned_url_is_accepted(url: str) -> None:
    found = check(signed(S3SigV4QueryAuth, "s3", "GET", url))
    assert found.expires == 3600


@pytest.mark.parametrize("what", ["method", "path", "query", "header", "body", "secret"])
def test_anything_else_is_refused(what: str) -> None:
    environ = signed(S3SigV4Auth, "s3", "PUT", URLS[1], b"body")
    body, secret = b"body", SECRET
    if what == "method":
        environ["REQUEST_METHOD"] = "GET"
    elif what == "path":
        environ["RAW_URI"] = environ["RAW_URI"].replace("bucket", "other")
    elif what == "query":
        environ["RAW_URI"] += "&x=1"
    elif what == "header":
        environ["HTTP_X_CUSTOM"] = "other"
    elif what == "body":
        body = b"other"
    else:
        secret = "wrong"
    with pytest.raises(Fault):
        check(environ, body, secret)


def test_an_old_signature_is_refused() -> None:
    environ = signed(SigV4Auth, "sqs", "POST", URLS[0])
    found = signature.from_request(environ, [])
    assert found is not None
    old = signature.Credential(**{**vars(found), "moment": "20200101T000000Z", "date": "20200101"})
    with pytest.raises(Fault) as refused:
        signature.verify(old, SECRET, environ, [], b"")
    assert refused.value.code == "RequestTimeTooSkewed"


def test_a_request_without_a_signature_has_no_credential() -> None:
    assert signature.from_request({"REQUEST_METHOD": "GET", "RAW_URI": "/"}, []) is None
