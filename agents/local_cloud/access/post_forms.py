"""Uploads that a browser posts as a form: the policy in the form is checked as S3 checks it.

After "Browser-based uploads using POST" of the S3 reference. moto itself looks at neither signature nor policy.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from agents.local_cloud.access import signature
from agents.local_cloud.faults import Fault


@dataclass(frozen=True)
class PostForm:
    """A signed form: its fields by lower-case name, and the size of its file in bytes."""

    credential: signature.Credential
    fields: Mapping[str, str]
    size: int
    key: str

    def verify(self, secret: str) -> None:
        """Raise ``Fault`` unless the policy was signed with ``secret``, still holds, and fits the form."""
        key = signature.signing_key(secret, self.credential)
        expected = hmac.new(key, self.fields["policy"].encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, self.credential.signature):
            raise signature.mismatch()
        policy = json.loads(base64.b64decode(self.fields["policy"]))
        ends = datetime.fromisoformat(str(policy["expiration"]).replace("Z", "+00:00"))
        if ends < datetime.now(UTC):
            raise Fault("AccessDenied", "Invalid according to Policy: Policy expired.")
        for condition in policy.get("conditions", []):
            self._hold(condition)

    def _hold(self, condition: object) -> None:
        if isinstance(condition, dict):
            checks = [("eq", f"${name}", value) for name, value in condition.items()]
        elif isinstance(condition, list) and len(condition) == 3:
            checks = [(str(condition[0]), condition[1], condition[2])]
        else:
            checks = [("unknown", "", "")]
        for operator, name, value in checks:
            if operator == "content-length-range":
                if self.size > int(str(value)):
                    raise Fault("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", 400)
                if self.size < int(str(name)):
                    raise Fault("EntityTooSmall", "Your proposed upload is smaller than the minimum size", 400)
                continue
            found = self.fields.get(str(name).removeprefix("$").lower())
            fits = found == str(value) if operator == "eq" else (found or "").startswith(str(value))
            if operator not in ("eq", "starts-with") or found is None or not fits:
                raise Fault("AccessDenied", f'Invalid according to Policy: Policy Condition failed: ["{operator}"]')


def credential(environ: Mapping[str, Any], body: bytes) -> PostForm | None:
    """The signed form in a request's body; None if it is not one."""
    kind, options = parse_options_header(str(environ.get("CONTENT_TYPE", "")))
    if environ["REQUEST_METHOD"] != "POST" or kind != "multipart/form-data":
        return None
    _, form, files = FormDataParser().parse(io.BytesIO(body), kind, len(body), options)
    fields = {name.lower(): value for name, value in form.items()}
    if "policy" not in fields or "x-amz-signature" not in fields:
        return None
    scope = fields.get("x-amz-credential", "").split("/")
    if len(scope) != 5:
        raise Fault("AccessDenied", "The form's x-amz-credential is not of the expected shape.")
    uploaded = files.get("file")
    size = len(uploaded.read()) if uploaded else len(fields.get("file", "").encode())
    fields["bucket"] = str(environ["RAW_URI"]).split("?", 1)[0].strip("/").split("/", 1)[0]
    name = (uploaded.filename or "") if uploaded else ""
    key = fields.get("key", "").replace("${filename}", name)
    made = signature.Credential(
        scope[0],
        scope[1],
        scope[2],
        scope[3],
        (),
        fields["x-amz-signature"],
        fields.get("x-amz-security-token", ""),
        fields.get("x-amz-date", ""),
    )
    return PostForm(made, fields, size, key)
