"""Reading what a request carries."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.serializers import Serializer


def given(serializer: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    """The checked body of a request. Raises DRF's ``ValidationError``."""
    found = serializer(data=request.data)
    found.is_valid(raise_exception=True)
    values: dict[str, Any] = found.validated_data
    return values
