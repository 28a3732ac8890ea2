"""Where a job's items come from: the one place where `portal.jobs.sources` is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from portal.jobs.models import Job

Alive = Callable[[], None]


class Item(Protocol):
    """One item: its line of the manifest, and how many bytes its assets have (0: not known)."""

    @property
    def size(self) -> int: ...

    def line(self) -> str: ...


def schema() -> Mapping[str, Any]:
    """The JSON Schema of a data description; empty where there is none."""
    return {}


def data_checked(data: Mapping[str, Any]) -> dict[str, Any]:
    """The description as it is kept. Raises ``Invalid`` whose fields begin with ``data.``."""
    return dict(data)


def items_found(job: Job, alive: Alive) -> Iterator[Item]:
    """The items of a job, one by one; ``alive`` is called again and again, and raises when nobody wants them.

    Raises ``Invalid`` for what cannot be found, ``CloudFault`` for what may be found later.
    """
    raise NotImplementedError
