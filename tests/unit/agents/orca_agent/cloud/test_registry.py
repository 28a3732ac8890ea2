"""The password for the image registry: asked for once, and again before it expires."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.cloud.registry import RegistryTokens
from agents.orca_agent.cloud.transport import Response


class Ecr:
    """In the place of a client; notes what it is asked."""

    region = "eu-central-1"

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: list[tuple[str, str]] = []

    def call(self, method: str, url: str, headers: dict[str, str], body: bytes, **more: Any) -> Response:
        self.asked.append((url, headers["x-amz-target"]))
        return Response(200, {}, self.body)


def tokens(ecr: Ecr, now: list[float]) -> RegistryTokens:
    client: Any = ecr
    return RegistryTokens(client, environment={}, clock=lambda: now[0])


def test_a_password_is_kept_until_it_nears_its_end() -> None:
    token = base64.b64encode(b"AWS:very:secret").decode()
    ecr, now = Ecr(json.dumps({"authorizationData": [{"authorizationToken": token}]}).encode()), [0.0]
    found = tokens(ecr, now)
    assert found.get() == found.get() == ("AWS", "very:secret")
    target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    assert ecr.asked == [("https://api.ecr.eu-central-1.amazonaws.com/", target)]
    now[0] = 7 * 3600
    found.get()
    assert len(ecr.asked) == 2
    found.forget()
    found.get()
    assert len(ecr.asked) == 3


@pytest.mark.parametrize("body", [b"{}", b"nonsense", b'{"authorizationData": [{"authorizationToken": "%%%"}]}'])
def test_nonsense_is_an_error_of_the_cloud(body: bytes) -> None:
    with pytest.raises(CloudError):
        tokens(Ecr(body), [0.0]).get()
