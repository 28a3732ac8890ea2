"""Which SSH keys are let in, and what is said about the others."""

from __future__ import annotations

import base64
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from portal.accounts.ssh import public_key_read
from portal.core.errors import Invalid

Line = Callable[..., str]


def refusal(text: str) -> Invalid:
    with pytest.raises(Invalid) as caught:
        public_key_read(text)
    assert caught.value.fields == {"public_key": caught.value.message}
    assert caught.value.hint
    return caught.value


def blob(*fields: bytes) -> str:
    return base64.b64encode(b"".join(struct.pack(">I", len(field)) + field for field in fields)).decode()


@pytest.mark.parametrize(
    ("kind", "bits", "key_type"),
    [
        ("ed25519", 0, "ssh-ed25519"),
        ("ecdsa", 256, "ecdsa-sha2-nistp256"),
        ("ecdsa", 384, "ecdsa-sha2-nistp384"),
        ("ecdsa", 521, "ecdsa-sha2-nistp521"),
        ("rsa", 3072, "ssh-rsa"),
    ],
)
def test_what_ssh_keygen_makes_is_read_as_ssh_keygen_reads_it(
    key_pair: Callable[..., Path], public_key: Line, kind: str, bits: int, key_type: str
) -> None:
    path = key_pair(kind, bits, "ada@laptop").with_suffix(".pub")
    said = subprocess.run(["ssh-keygen", "-lf", path], check=True, capture_output=True, text=True).stdout
    line = public_key(kind, bits, "ada@laptop")

    key = public_key_read(f"  {line}\r\n")

    assert key.key_type == key_type
    assert key.fingerprint == said.split()[1]
    assert key.line == " ".join(line.split()[:2])
    assert key.comment == "ada@laptop"
    assert key.advice == ""


def test_a_comment_may_hold_spaces_and_be_missing(public_key: Line) -> None:
    line = " ".join(public_key().split()[:2])
    assert public_key_read(f"{line} Ada's  big laptop").comment == "Ada's  big laptop"
    assert public_key_read(line).comment == ""


def test_keys_on_security_keys_are_read() -> None:
    ed25519 = blob(b"sk-ssh-ed25519@openssh.com", b"k" * 32, b"ssh:")
    ecdsa = blob(b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\x04" + b"p" * 64, b"ssh:")
    assert public_key_read(f"sk-ssh-ed25519@openssh.com {ed25519}").fingerprint.startswith("SHA256:")
    assert public_key_read(f"sk-ecdsa-sha2-nistp256@openssh.com {ecdsa} stick").comment == "stick"


def test_a_short_rsa_key_is_taken_with_advice_and_a_shorter_one_is_not(public_key: Line) -> None:
    assert "3072" in public_key_read(public_key("rsa", 2048)).advice
    refused = refusal(public_key("rsa", 1024))
    assert refused.code == "weak_key"
    assert "1024" in refused.message


def test_a_private_key_is_refused_with_alarm_and_is_not_repeated(key_pair: Callable[..., Path]) -> None:
    text = key_pair().read_text()
    refused = refusal(text)
    assert refused.code == "private_key"
    assert "PRIVATE" in refused.message
    assert ".pub" in refused.hint
    assert text.splitlines()[1] not in f"{refused.message}{refused.hint}"


def test_a_putty_private_key_is_refused_with_the_same_alarm() -> None:
    assert refusal("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n").code == "private_key"


def test_dsa_is_refused() -> None:
    assert refusal(f"ssh-dss {blob(b'ssh-dss', b'p', b'q', b'g', b'y')}").code == "weak_key"


@pytest.mark.parametrize("options", ['command="rm -rf /"', "no-pty,restrict", 'from="10.0.0.0/8",no-pty'])
def test_options_in_front_are_refused(public_key: Line, options: str) -> None:
    assert refusal(f"{options} {public_key()}").code == "options"


def test_several_lines_are_refused(public_key: Line) -> None:
    assert refusal(f"{public_key()}\n{public_key('ecdsa', 256)}").code == "several_lines"


def test_a_key_in_another_format_is_told_how_to_convert(key_pair: Callable[..., Path]) -> None:
    path = key_pair("rsa", 2048).with_suffix(".pub")
    for form in ("RFC4716", "PKCS8"):
        command = ["ssh-keygen", "-e", "-m", form, "-f", str(path)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert "ssh-keygen -i" in refusal(text).message


def test_a_damaged_key_is_refused_wherever_it_is_cut(public_key: Line) -> None:
    for kind, bits in (("ed25519", 0), ("ecdsa", 256), ("rsa", 2048)):
        name, body = public_key(kind, bits).split()[:2]
        for length in range(0, len(body) - 4, 16):
            assert refusal(f"{name} {body[:length]}").code == "not_a_key"


def test_a_type_that_does_not_fit_the_content_is_refused(public_key: Line) -> None:
    body = public_key().split()[1]
    assert "type" in refusal(f"ssh-rsa {body}").message


@pytest.mark.parametrize("text", ["hello", "ssh-ed25519", "ssh-ed25519 !!!!", "\0", "ssh-ed25519 " + "A" * 30_000])
def test_garbage_is_refused(text: str) -> None:
    assert refusal(text).code == "not_a_key"


@pytest.mark.parametrize("text", ["", "  \n \n"])
def test_nothing_is_refused(text: str) -> None:
    assert refusal(text).code == "empty_key"
