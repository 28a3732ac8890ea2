"""AWS Signature Version 4.

https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Dict, Mapping, Optional
from urllib.parse import quote, urlsplit

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Credentials:
    """Keys of a role; ``expires`` is in seconds since the epoch, None for keys that do not expire."""

    access_key: str
    secret_key: str
    token: Optional[str] = None
    expires: Optional[float] = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key})"


def encode(text: str, safe: str = "") -> str:
    """Percent-encoding as AWS wants it in paths (``safe="/"``) and queries."""
    return quote(text, safe=safe + "-._~")


def query_string(query: Mapping[str, str]) -> str:
    """The canonical query: encoded, then sorted."""
    pairs = sorted((encode(name), encode(value)) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def signed_headers(
    method: str,
    url: str,
    headers: Mapping[str, str],
    payload_sha256: str,
    credentials: Credentials,
    *,
    region: str,
    service: str,
    now: float,
) -> Dict[str, str]:
    """``headers`` with those added that authenticate a request whose body has the given SHA-256.

    ``url`` must be encoded already, its query by `query_string`.
    """
    parts = urlsplit(url)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    signed = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    signed["host"] = parts.netloc
    signed["x-amz-date"] = stamp
    if service == "s3":
        signed["x-amz-content-sha256"] = payload_sha256
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    request = f"{method}\n{parts.path or '/'}\n{parts.query}\n{lines}\n{names}\n{payload_sha256}"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = ("AWS4" + credentials.secret_key).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return signed
