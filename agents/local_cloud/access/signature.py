"""AWS Signature Version 4, checked: in the Authorization header, in a presigned URL, or in a browser's POST form.

After "Signing AWS API requests" and "Authenticating requests (AWS Signature Version 4)" of the S3 reference.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from agents.local_cloud.faults import Fault

ALGORITHM = "AWS4-HMAC-SHA256"
MAXIMUM_SKEW_SECONDS = 15 * 60


@dataclass(frozen=True)
class Credential:
    """What a request says of its signature. ``expires`` in seconds for a presigned URL, else None."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    token: str
    moment: str
    expires: int | None = None


def from_request(environ: Mapping[str, Any], query: list[tuple[str, str]]) -> Credential | None:
    """The credential that a request carries in its header or its URL; None if it is not signed at all."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if header.startswith(ALGORITHM):
        parts = dict(re.findall(r"(Credential|SignedHeaders|Signature)=([^,\s]+)", header))
        moment = environ.get("HTTP_X_AMZ_DATE", "")
        token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
        return _credential(parts, token, moment, None)
    values = dict(query)
    if values.get("X-Amz-Algorithm") == ALGORITHM:
        parts = {name: values.get(f"X-Amz-{name}", "") for name in ("Credential", "SignedHeaders", "Signature")}
        lifetime = int(values.get("X-Amz-Expires", "604800"))
        return _credential(parts, values.get("X-Amz-Security-Token", ""), values.get("X-Amz-Date", ""), lifetime)
    if header:
        raise Fault("InvalidRequest", "Only Signature Version 4 is accepted here.", 400)
    return None


def _credential(parts: Mapping[str, str], token: str, moment: str, expires: int | None) -> Credential:
    scope = parts.get("Credential", "").split("/")
    if len(scope) != 5 or not moment or "Signature" not in parts:
        raise Fault("IncompleteSignature", "The request's signature does not have all its parts.", 400)
    signed = tuple(parts.get("SignedHeaders", "").split(";"))
    return Credential(scope[0], scope[1], scope[2], scope[3], signed, parts["Signature"], token, moment, expires)


def verify(
    credential: Credential, secret: str, environ: Mapping[str, Any], query: list[tuple[str, str]], body: bytes
) -> None:
    """Raise ``Fault`` unless the request was signed with ``secret``, recently, over this very body."""
    _check_time(credential)
    payload = _payload_hash(credential, environ, body)
    canonical = "\n".join(
        (
            environ["REQUEST_METHOD"],
            _canonical_path(environ, credential.service),
            _canonical_query(query),
            "".join(f"{name}:{_header(environ, name)}\n" for name in credential.signed_headers),
            ";".join(credential.signed_headers),
            payload,
        )
    )
    scope = f"{credential.date}/{credential.region}/{credential.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join((ALGORITHM, credential.moment, scope, digest))
    expected = hmac.new(signing_key(secret, credential), to_sign.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, credential.signature):
        raise mismatch()


def mismatch() -> Fault:
    """The refusal of a signature that was made with another secret, or over something else."""
    return Fault(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided.",
    )


def signing_key(secret: str, credential: Credential) -> bytes:
    """The key of the day, region and service, derived from the secret."""
    return _derived(secret, credential.date, credential.region, credential.service)


@functools.lru_cache(maxsize=1024)
def _derived(secret: str, date: str, region: str, service: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _check_time(credential: Credential) -> None:
    try:
        made = datetime.strptime(credential.moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Fault("IncompleteSignature", "The date of the signature is not in ISO 8601 basic form.", 400) from None
    if not credential.moment.startswith(credential.date):
        raise mismatch()
    now = time.time()
    if credential.expires is not None:
        if now > made + credential.expires:
            raise Fault("AccessDenied", "Request has expired")
    elif abs(now - made) > MAXIMUM_SKEW_SECONDS:
        raise Fault("RequestTimeTooSkewed", "The difference between the request time and the server's is too large.")


def _payload_hash(credential: Credential, environ: Mapping[str, Any], body: bytes) -> str:
    declared = environ.get("HTTP_X_AMZ_CONTENT_SHA256")
    if credential.expires is not None:
        return declared or "UNSIGNED-PAYLOAD"
    if declared is None:
        return hashlib.sha256(body).hexdigest()
    plain = re.fullmatch(r"[0-9a-f]{64}", declared)
    if plain and hashlib.sha256(body).hexdigest() != declared:
        raise Fault("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' is not the body's.", 400)
    return str(declared)


def _canonical_path(environ: Mapping[str, Any], service: str) -> str:
    raw: str = environ["RAW_URI"].split("?", 1)[0] or "/"
    if service in ("s3", "s3-outposts", "s3express"):
        return quote(unquote(raw), safe="/-_.~")
    return quote(raw, safe="/-_.~")


def _canonical_query(query: list[tuple[str, str]]) -> str:
    encoded = [
        (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query if name != "X-Amz-Signature"
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def _header(environ: Mapping[str, Any], name: str) -> str:
    key = name.upper().replace("-", "_")
    value = environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}", "")
    return " ".join(str(value).split())
