"""Reading OpenSSH public keys and refusing everything else.

The format: https://man.openbsd.org/sshd#AUTHORIZED_KEYS_FILE_FORMAT and RFC 4253, section 6.6.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from portal.core.errors import Invalid

LEAST_RSA_BITS = 2048
ADVISED_RSA_BITS = 3072
# The part of a key's blob after its type: how many length-prefixed fields each type has.
_SECURITY_KEY_FIELDS = {"sk-ssh-ed25519@openssh.com": 2, "sk-ecdsa-sha2-nistp256@openssh.com": 3}
_TYPES = {
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    *_SECURITY_KEY_FIELDS,
}
_MAKE_ONE = "Make a key with “ssh-keygen -t ed25519” and paste the one line of the file that ends in .pub."


@dataclass(frozen=True)
class PublicKey:
    """A key that was read: ``line`` is type and base64, ``advice`` is empty or says what would be better."""

    key_type: str
    line: str
    fingerprint: str
    comment: str
    advice: str = ""


def public_key_read(text: str) -> PublicKey:
    """The key in ``text``, one line as ``ssh-keygen`` writes it.

    Raises Invalid (field ``public_key``) with a sentence that says what to do instead.
    """
    _refuse_other_files(text)
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines:
        raise _refused("Paste your public key.", "empty_key")
    if len(lines) > 1:
        raise _refused("This is more than one line. Add one key at a time, each on a single line.", "several_lines")
    words = lines[0].split(None, 2)
    if words[0] == "ssh-dss":
        raise _refused("DSA keys are no longer safe, and SSH servers refuse them.", "weak_key")
    if words[0] not in _TYPES:
        if any(f" {name} " in f" {lines[0]} " for name in _TYPES):
            raise _refused(
                "Leave out the options in front of the key: begin with its type, such as ssh-ed25519.",
                "options",
            )
        raise _refused("This is not an OpenSSH public key.", "not_a_key")
    if len(words) < 2:
        raise _refused("The key is cut off: only its type is there.", "not_a_key")
    key_type, body = words[0], words[1]
    blob = _blob_of(body, key_type)
    advice = _checked_strength(key_type, body, blob)
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    comment = words[2] if len(words) > 2 else ""
    return PublicKey(key_type, f"{key_type} {body}", f"SHA256:{digest}", comment, advice)


def _refuse_other_files(text: str) -> None:
    if "PRIVATE KEY" in text or text.lstrip().startswith("PuTTY-User-Key-File"):
        raise _refused(
            "Stop: this is a PRIVATE key. It was not stored, but never paste it anywhere: "
            "whoever has it can log in as you.",
            "private_key",
            hint="Paste the file that ends in .pub. If others may have seen this private key, replace it.",
        )
    if "BEGIN SSH2 PUBLIC KEY" in text or "BEGIN PUBLIC KEY" in text or "BEGIN CERTIFICATE" in text:
        raise _refused(
            "This key is in another format. Convert it with “ssh-keygen -i -f FILE” "
            "(or “-m PKCS8”) and paste the result.",
            "wrong_format",
        )
    if len(text) > 20_000 or "\0" in text:
        raise _refused("This is not an OpenSSH public key.", "not_a_key")


def _blob_of(body: str, key_type: str) -> bytes:
    """The decoded key, whose own type must be the one in front of it."""
    try:
        blob = base64.b64decode(body, validate=True)
        fields = _fields(blob)
    except (binascii.Error, ValueError, struct.error) as error:
        raise _refused("The key is damaged or cut off. Copy the whole line again.", "not_a_key") from error
    if not fields or fields[0] != key_type.encode():
        raise _refused("The key is damaged: its type does not fit its content.", "not_a_key")
    if key_type in _SECURITY_KEY_FIELDS and len(fields) != 1 + _SECURITY_KEY_FIELDS[key_type]:
        raise _refused("The key is damaged or cut off. Copy the whole line again.", "not_a_key")
    if key_type == "sk-ssh-ed25519@openssh.com" and len(fields[1]) != 32:
        raise _refused("The key is damaged or cut off. Copy the whole line again.", "not_a_key")
    return blob


def _fields(blob: bytes) -> list[bytes]:
    """The length-prefixed strings of an SSH wire message (RFC 4251, section 5)."""
    found: list[bytes] = []
    while blob:
        (length,) = struct.unpack(">I", blob[:4])
        if length > len(blob) - 4:
            raise ValueError("a field is longer than what is left")
        found.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return found


def _checked_strength(key_type: str, body: str, blob: bytes) -> str:
    if key_type in _SECURITY_KEY_FIELDS:
        return ""
    try:
        key = load_ssh_public_key(f"{key_type} {body}".encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refused("The key is damaged or cut off. Copy the whole line again.", "not_a_key") from error
    if not isinstance(key, rsa.RSAPublicKey):
        return ""
    if key.key_size < LEAST_RSA_BITS:
        raise _refused(f"This RSA key has {key.key_size} bits; it needs at least {LEAST_RSA_BITS}.", "weak_key")
    if key.key_size < ADVISED_RSA_BITS:
        return f"This RSA key has {key.key_size} bits. It works; {ADVISED_RSA_BITS} or an ed25519 key is better."
    return ""


def _refused(message: str, code: str, *, hint: str = _MAKE_ONE) -> Invalid:
    return Invalid(message, code=code, hint=hint, fields={"public_key": message})
