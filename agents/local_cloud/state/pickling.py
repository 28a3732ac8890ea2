"""How moto's objects are written down: backends by name, locks as new ones, bodies of S3 objects by reference."""

from __future__ import annotations

import importlib
import io
import marshal
import pickle
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import CellType, FunctionType
from typing import Any
from weakref import WeakValueDictionary

from moto import backends
from moto.core.base_backend import BackendDict, BaseBackend
from moto.s3.models import FakeBucket, FakeKey
from moto.s3.utils import _VersionedKeyStore
from moto.sqs.models import Queue

#: (moto's package, account, region) of a backend.
Place = tuple[str, str, str]


def places() -> dict[int, Place]:
    """The place of every backend that exists, by ``id``."""
    return {
        id(backend): (module_of(known), account, region)
        for known in list(vars(BackendDict)["_instances"])
        for account, regions in list(known.items())
        for region, backend in list(regions.items())
    }


def dump(value: object, known: Mapping[int, Place], aside: Mapping[int, tuple[str, str]] | None = None) -> bytes:
    """``value`` as bytes; objects whose ``id`` is ``known`` or ``aside`` are named, not written."""
    out = io.BytesIO()
    _Pickler(out, known, aside or {}).dump(value)
    return out.getvalue()


def load(data: bytes, find_aside: Callable[[str, str], object] | None = None) -> Any:
    """The value of ``dump``; backends that it names are found, or made."""
    return _Unpickler(io.BytesIO(data), find_aside).load()


def _name(value: object, known: Mapping[int, Place], aside: Mapping[int, tuple[str, str]]) -> tuple[str, ...] | None:
    if isinstance(value, BaseBackend):
        place = known.get(id(value))
        return ("backend", *place) if place else None
    found = aside.get(id(value))
    return ("aside", *found) if found else None


def _reduce(value: Any) -> Any:
    """How the few objects are written that would not be, or not so; NotImplemented for all others."""
    kind = type(value)
    if kind in _MADE_ANEW:
        return _MADE_ANEW[kind], ()
    if kind is FunctionType and "<" in value.__qualname__:
        # A function made inside of a function has no name to be found by; its code is written instead.
        cells = tuple(cell.cell_contents for cell in value.__closure__ or ())
        return _make_function, (marshal.dumps(value.__code__), value.__module__, value.__defaults__, cells)
    if kind is WeakValueDictionary:
        return WeakValueDictionary, (dict(value),)
    if isinstance(value, defaultdict) and kind is not defaultdict:
        # Its constructor may want other arguments than a factory.
        return _make_defaults, (kind, value.default_factory, dict(value), vars(value))
    writer = _WRITERS.get(kind)
    return writer(value) if writer else NotImplemented


def _write_key(key: FakeKey) -> Any:
    return _make_key, ({name: part for name, part in vars(key).items() if name != "lock"},)


def _write_bucket(bucket: FakeBucket) -> Any:
    # Objects and uploads are kept apart: see state.objects.
    return _make_bucket, ({**vars(bucket), "keys": None, "multiparts": None},)


def _write_queue(queue: Queue) -> Any:
    # Messages are kept apart: see mends.queues.
    return _make_queue, ({**vars(queue), "held": None, "_messages": [], "_pending_messages": set()},)


_MADE_ANEW: dict[type[Any], Callable[[], object]] = {
    type(threading.Lock()): threading.Lock,
    type(threading.RLock()): threading.RLock,
    threading.Condition: threading.Condition,
    threading.Event: threading.Event,
}
_WRITERS: dict[type[Any], Callable[[Any], Any]] = {
    FakeKey: _write_key,
    FakeBucket: _write_bucket,
    Queue: _write_queue,
}


class _Pickler(pickle.Pickler):
    def __init__(self, out: io.BytesIO, known: Mapping[int, Place], aside: Mapping[int, tuple[str, str]]) -> None:
        super().__init__(out, protocol=5)
        self._known = known
        self._aside = aside

    def persistent_id(self, value: object) -> tuple[str, ...] | None:
        return _name(value, self._known, self._aside)

    def reducer_override(self, value: Any) -> Any:
        return _reduce(value)


class _Unpickler(pickle.Unpickler):
    def __init__(self, source: io.BytesIO, find_aside: Callable[[str, str], object] | None) -> None:
        super().__init__(source)
        self._find_aside = find_aside

    def persistent_load(self, name: tuple[str, ...]) -> object:
        if name[0] == "backend":
            _, module, account, region = name
            return backend_dict(module)[account][region]
        if self._find_aside is None:
            raise pickle.UnpicklingError(f"there is no {name}")
        return self._find_aside(name[1], name[2])


def module_of(known: BackendDict[Any]) -> str:
    """The name of moto's package for a service, which unlike the service's own name is unique."""
    return known.backend.__module__.split(".")[1]


def backend_dict(module: str) -> BackendDict[Any]:
    """All backends of one of moto's packages."""
    every: Any = backends
    found: BackendDict[Any] = every.get_backend(module)
    return found


def _make_defaults(kind: Any, factory: Any, items: dict[Any, Any], state: dict[str, Any]) -> Any:
    made = kind.__new__(kind)
    defaultdict.__init__(made, factory, items)
    made.__dict__.update(state)
    return made


def _make_function(code: bytes, module: str, defaults: tuple[Any, ...] | None, cells: tuple[Any, ...]) -> Any:
    scope = importlib.import_module(module).__dict__
    return FunctionType(marshal.loads(code), scope, None, defaults, tuple(map(CellType, cells)))  # noqa: S302


def _make_key(state: dict[str, Any]) -> Any:
    return _make(FakeKey, {**state, "lock": threading.Lock()})


def _make_bucket(state: dict[str, Any]) -> Any:
    from moto.s3.models import MultipartDict

    return _make(FakeBucket, {**state, "keys": _VersionedKeyStore(), "multiparts": MultipartDict()})


def _make_queue(state: dict[str, Any]) -> Any:
    return _make(Queue, state)


def _make(kind: type[Any], state: dict[str, Any]) -> Any:
    """An object of moto's without its constructor, which would do more than make it."""
    made = object.__new__(kind)
    made.__dict__.update(state)
    return made
