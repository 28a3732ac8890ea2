"""Addresses that come from others do not lead to this machine's surroundings."""

from __future__ import annotations

import io
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from agents.orca_agent.cloud import transport
from agents.orca_agent.cloud.access import Cloud
from agents.orca_agent.cloud.metadata import FixedCredentials
from agents.orca_agent.cloud.signing import Credentials
from agents.orca_agent.cloud.transport import NotAllowed, Transport


class Opened:
    def __init__(self, peer: str) -> None:
        self.peer = peer

    def getpeername(self) -> tuple[str, int]:
        return self.peer, 80


@pytest.mark.parametrize("peer", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1%eth0", "fd00:ec2::254"])
def test_link_local_addresses_are_not_spoken_to(peer: str) -> None:
    with pytest.raises(NotAllowed):
        transport._judge(Opened(peer))  # type: ignore[arg-type]


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.0.7", "203.0.113.9", "2001:db8::1"])
def test_others_are(peer: str) -> None:
    transport._judge(Opened(peer))  # type: ignore[arg-type]


def test_links_are_judged_when_their_connection_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that a name leads to: what is judged is where the connection has gone."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    judged: list[str] = []

    def judge(opened: Opened) -> None:
        judged.append(opened.getpeername()[0])
        raise NotAllowed("NotAllowed", "no")

    monkeypatch.setattr(transport, "_judge", judge)
    keys = FixedCredentials(Credentials("AKIATEST", "secret"))
    cloud = Cloud("eu-central-1", "bucket", keys, None, Transport(), Transport())
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        with pytest.raises(NotAllowed):
            cloud.links().fetch(f"http://localhost:{server.server_port}/x", io.BytesIO(), start=0, length=1)
        server.shutdown()
        thread.join()
    assert (judged, asked) == (["127.0.0.1"], [])
