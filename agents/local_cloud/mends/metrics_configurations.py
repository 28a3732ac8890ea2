"""S3: the metrics configurations of buckets, which moto does not know. They are kept as they were put."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from moto.s3.responses import S3Response

from agents.local_cloud.metering import configurations
from agents.local_cloud.patching import replace

_SPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_Answer = tuple[int, dict[str, str], str]


def apply() -> None:
    """Put the mend in place."""
    get, put, delete = (getattr(S3Response, f"_bucket_response_{verb}") for verb in ("get", "put", "delete"))

    def answer_get(response: Any, bucket_name: str, querystring: dict[str, Any]) -> Any:
        asked = "metrics" in querystring
        return _get(response, bucket_name, querystring) if asked else get(response, bucket_name, querystring)

    def answer_put(response: Any, request: Any, bucket_name: str, querystring: dict[str, Any]) -> Any:
        asked = "metrics" in querystring
        return _put(response, bucket_name) if asked else put(response, request, bucket_name, querystring)

    def answer_delete(response: Any, bucket_name: str, querystring: dict[str, Any]) -> Any:
        asked = "metrics" in querystring
        return _delete(response, bucket_name, querystring) if asked else delete(response, bucket_name, querystring)

    replace(S3Response, "_bucket_response_get", answer_get)
    replace(S3Response, "_bucket_response_put", answer_put)
    replace(S3Response, "_bucket_response_delete", answer_delete)


def _of(response: Any, bucket_name: str) -> dict[str, bytes]:
    return configurations(response.backend.get_bucket(bucket_name))


def _get(response: Any, bucket_name: str, querystring: dict[str, Any]) -> _Answer:
    """One of them, or all."""
    found = _of(response, bucket_name)
    if "id" in querystring:
        asked = found.get(querystring["id"][0])
        return (200, {}, asked.decode()) if asked is not None else _absent()
    rows = "".join(body.decode().partition("?>")[2] or body.decode() for _, body in sorted(found.items()))
    name = "ListMetricsConfigurationsResult"
    return 200, {}, f"<{name} {_SPACE}><IsTruncated>false</IsTruncated>{rows}</{name}>"


def _put(response: Any, bucket_name: str) -> _Answer:
    body = response.body if isinstance(response.body, bytes) else response.body.encode()
    root = ElementTree.fromstring(body)  # noqa: S314 (expat expands no externals)
    name = next((child.text for child in root if child.tag.rpartition("}")[2] == "Id"), None)
    _of(response, bucket_name)[name or ""] = body
    return 200, {}, ""


def _delete(response: Any, bucket_name: str, querystring: dict[str, Any]) -> _Answer:
    gone = _of(response, bucket_name).pop(querystring["id"][0], None)
    return (204, {}, "") if gone is not None else _absent()


def _absent() -> _Answer:
    message = "<Message>The specified configuration does not exist.</Message>"
    return 404, {}, f"<Error><Code>NoSuchConfiguration</Code>{message}</Error>"
