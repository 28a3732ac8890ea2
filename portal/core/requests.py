"""Reading what a request carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.serializers import Serializer

DEEPEST = 32


class JsonParser(JSONParser):
    """JSON as deep as anything of ours is nested: what is deeper breaks the parser, or whoever reads it next."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The value. Raises ``ParseError``."""
        try:
            value = super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise _too_deep() from error
        except LookupError as error:
            raise ParseError("The charset of this request is not known.") from error
        level = [value]
        for _ in range(DEEPEST):
            level = [part for whole in level for part in _parts(whole)]
            if not level:
                return value
        raise _too_deep()


def _parts(whole: Any) -> list[Any]:
    if isinstance(whole, dict):
        return list(whole.values())
    return whole if isinstance(whole, list) else []


def _too_deep() -> ParseError:
    return ParseError(f"JSON may be nested {DEEPEST} deep.")


def given(serializer: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    """The checked body of a request. Raises DRF's ``ValidationError``."""
    found = serializer(data=request.data)
    found.is_valid(raise_exception=True)
    values: dict[str, Any] = found.validated_data
    return values
