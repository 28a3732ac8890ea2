"""S3: who pays for what others fetch from a bucket, which moto neither takes nor tells: it lists objects instead.

That requesters of other accounts have to say so is seen to in ``access.enforcement``.
"""

from __future__ import annotations

import re
from typing import Any

from moto.s3.responses import S3Response

from agents.local_cloud.access.s3_requests import REQUESTER
from agents.local_cloud.faults import Fault
from agents.local_cloud.patching import replace

SUBRESOURCE = "requestPayment"
OWNER = "BucketOwner"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def apply() -> None:
    """Put the mend in place."""
    put, get = S3Response._bucket_response_put, S3Response._bucket_response_get

    def bucket_response_put(response: Any, request: Any, name: str, query: dict[str, Any]) -> Any:
        if SUBRESOURCE not in query:
            return put(response, request, name, query)
        response.backend.get_bucket(name).payer = payer(response.body)
        return 200, {}, ""

    def bucket_response_get(response: Any, name: str, query: dict[str, Any]) -> Any:
        if SUBRESOURCE not in query:
            return get(response, name, query)
        return 200, {}, document(response.backend.get_bucket(name).payer)

    replace(S3Response, "_bucket_response_put", bucket_response_put)
    replace(S3Response, "_bucket_response_get", bucket_response_get)


def payer(body: bytes) -> str:
    """Who pays, as a RequestPaymentConfiguration says. Raises ``Fault``."""
    found = re.search(rb"<Payer>\s*(\w+)\s*</Payer>", body)
    said = found[1].decode() if found else ""
    if said not in (REQUESTER, OWNER):
        raise Fault("MalformedXML", "The XML you provided was not well-formed or did not validate.", 400)
    return said


def document(said: str) -> str:
    """The same as S3 answers it."""
    return f'<RequestPaymentConfiguration xmlns="{_NAMESPACE}"><Payer>{said}</Payer></RequestPaymentConfiguration>'
