"""Posting to an address that a person gave: to nowhere inside, whatever names and redirects say, and not for ever."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from portal.gateways import webhook
from portal.gateways.webhook import Undelivered, allowed, post
from tests.unit.portal.notices.conftest import Receiver, receiver

__all__ = ["receiver"]


def sent(url: str, *, private: bool = True, within: float = 5) -> Any:
    return post(url, body=b"{}", headers={"Content-Type": "application/json"}, private=private, within=within)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "fd12:3456::1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "240.0.0.1",
    ],
)
def test_what_is_inside_is_reached_only_where_that_is_allowed(address: str) -> None:
    assert not allowed(ipaddress.ip_address(address), private=False)
    assert allowed(ipaddress.ip_address(address), private=True)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "224.0.0.1"]
)
def test_the_metadata_of_this_machine_is_never_reached(address: str) -> None:
    assert not allowed(ipaddress.ip_address(address), private=True)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_what_is_outside_is_reached(address: str) -> None:
    assert allowed(ipaddress.ip_address(address), private=False)


def test_a_private_address_is_refused_before_anything_is_sent(receiver: Receiver) -> None:
    with pytest.raises(Undelivered, match="private network") as raised:
        sent(receiver.url, private=False)
    assert not raised.value.retryable
    assert not receiver.heard


def test_a_name_is_judged_by_what_it_means_when_it_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means something outside at first and something inside afterwards: the first judgement counts for
    nothing but its own connection."""
    port = int(receiver.url.rsplit(":", 1)[1].split("/")[0])
    asked: list[str] = []

    def rebinding(host: str, port: int, **_: Any) -> Any:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with pytest.raises(Undelivered, match="private network"):
        sent(f"http://rebinding.example:{port}/", private=False)
    assert asked == ["rebinding.example"]
    assert not receiver.heard


def test_the_connection_goes_to_the_address_that_was_judged(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(receiver.url.rsplit(":", 1)[1].split("/")[0])
    asked: list[str] = []
    real = socket.getaddrinfo

    def once(host: str, *rest: Any, **more: Any) -> Any:
        if host == "rebinding.example":
            assert not asked, "the name was resolved a second time"
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    assert sent(f"http://rebinding.example:{port}/x").status == 204
    assert receiver.heard[0].headers["host"] == f"rebinding.example:{port}"


def test_of_several_addresses_one_that_answers_is_enough(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(receiver.url.rsplit(":", 1)[1].split("/")[0])
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.9.9.9", "127.0.0.1")]
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda h, *r, **m: both if h == "two.example" else real(h, *r, **m))
    assert sent(f"http://two.example:{port}/").status == 204


def test_a_redirect_is_an_answer_and_not_followed(receiver: Receiver) -> None:
    receiver.answer(302, Location=receiver.url + "/elsewhere")
    assert sent(receiver.url).status == 302
    assert [heard.path for heard in receiver.heard] == ["/orca"]


def test_a_receiver_that_hangs_is_left_in_time(receiver: Receiver) -> None:
    receiver.hangs = 30
    began = time.monotonic()
    with pytest.raises(Undelivered, match="did not answer") as raised:
        sent(receiver.url, within=0.4)
    assert time.monotonic() - began < 2
    assert raised.value.retryable


def test_so_is_one_that_answers_a_byte_at_a_time(receiver: Receiver) -> None:
    receiver.trickles = True
    began = time.monotonic()
    with pytest.raises(Undelivered, match="did not answer"):
        sent(receiver.url, within=0.5)
    assert time.monotonic() - began < 2


def test_nobody_there_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Undelivered, match="refused") as raised:
        sent(f"http://127.0.0.1:{port}/")
    assert raised.value.retryable


def test_tls_is_not_talked_to_by_who_does_not_speak_it(receiver: Receiver) -> None:
    with pytest.raises(Undelivered) as raised:
        sent(receiver.url.replace("http:", "https:"))
    assert raised.value.retryable
    assert not receiver.heard


@pytest.mark.parametrize(
    ("said", "seconds"), [("120", 120), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", None), ("-5", None)]
)
def test_how_long_to_wait_is_read(receiver: Receiver, said: str, seconds: float | None) -> None:
    receiver.answer(503, Retry_After=said)
    assert sent(receiver.url).retry_after == seconds


def test_no_proxy_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert sent(receiver.url).status == 204


def certificate(path: Path, name: str) -> Path:
    """A certificate for a name that says so itself, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(pem))
    return path


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Path]]:
    """A receiver with a certificate for ``hooks.example``; its port and that certificate. All names mean it."""
    pem = certificate(tmp_path / "hooks.pem", "hooks.example")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    class Server(HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Who does not trust it goes away."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.server_port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: here)
    webhook.trust.cache_clear()
    yield server.server_port, pem
    webhook.trust.cache_clear()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(tls: tuple[int, Path]) -> None:
    with pytest.raises(Undelivered, match="certificate is not trusted"):
        sent(f"https://hooks.example:{tls[0]}/")


def test_a_certificate_counts_for_its_name_wherever_that_leads(
    tls: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    assert sent(f"https://hooks.example:{tls[0]}/").status == 204
    with pytest.raises(Undelivered, match="certificate is not trusted"):
        sent(f"https://other.example:{tls[0]}/")
