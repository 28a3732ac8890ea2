"""``Idempotency-Key`` on POST: the same key gets the same answer, and what it asked for is done once."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction
from django.http import QueryDict
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from portal.core.errors import Invalid
from portal.core.models import IdempotencyKey

HEADER = "Idempotency-Key"
View = Callable[..., Response]


def idempotent(view: View) -> View:
    """Wrap a view method that creates something.

    The key is written in the transaction that does the work: a rival with the same key waits for it and then reads its
    answer, and a failure takes the key back with everything else. The same key with another request is refused.
    """

    @functools.wraps(view)
    def answer_once(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER, "")
        if not key:
            return view(self, request, *args, **kwargs)
        if len(key) > 128:
            raise Invalid(f"{HEADER} is longer than 128 characters.", fields={HEADER: "at most 128 characters"})
        owner_id, digest = str(request.user.pk), _digest(request)
        try:
            with transaction.atomic():
                row = IdempotencyKey.objects.create(owner_id=owner_id, key=key, request=digest)
                response = view(self, request, *args, **kwargs)
                row.status = response.status_code
                row.answer = json.loads(JSONRenderer().render(response.data))
                row.save(update_fields=["status", "answer"])
                return response
        except IntegrityError:
            earlier = IdempotencyKey.objects.filter(owner_id=owner_id, key=key).first()
            if earlier is None or earlier.status is None:
                raise
        if earlier.request != digest:
            raise Invalid(
                f"This {HEADER} was already used for a different request.",
                code="idempotency_key_reused",
                hint="Use a fresh key for each thing that you ask for.",
            )
        return Response(earlier.answer, status=earlier.status, headers={"Idempotent-Replay": "true"})

    return answer_once


def _digest(request: Request) -> str:
    """What makes two requests the same; of an uploaded file its name and its contents count."""
    files = [(name, file.name, _hash(file)) for name, sent in request.FILES.lists() for file in sent]
    fields = request.data
    if isinstance(fields, QueryDict):
        fields = {name: fields.getlist(name) for name in fields if name not in request.FILES}
    said = json.dumps([request.method, request.path, fields, files], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()


def _hash(file: UploadedFile[Any]) -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return digest.hexdigest()
