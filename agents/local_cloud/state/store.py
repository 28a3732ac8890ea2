"""Everything but messages and objects: each of moto's backends is a file, written before the caller is answered.

A backend that has become expensive to write is written for several callers at once, who wait for it together.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from moto.core.common_models import BaseModel
from moto.ec2.models import EC2Backend

from agents.local_cloud.patching import replace
from agents.local_cloud.state.pickling import Place, backend_dict, dump, load, places

#: A backend that takes more of the processor than this to write is written for several callers at once.
PROMPT_SECONDS = 0.010
GATHER_SECONDS = 0.020
LONGEST_WAIT_SECONDS = 10.0

#: Parts of EC2 that are large and hardly ever change: every image that moto offers.
_ASIDE = ("amis", "snapshots")


def forget_instances() -> None:
    """Keep moto from keeping a list of every model object that ever was: messages and objects would never go."""
    replace(BaseModel, "__new__", staticmethod(lambda cls, *_, **__: object.__new__(cls)))


class Store:
    """Saves backends below ``folder``. Who calls ``changed`` holds the lock of that backend's service."""

    def __init__(self, folder: Path, lock_of: Callable[[str], AbstractContextManager[object]]) -> None:
        self._folder = folder
        self._lock_of = lock_of
        self._cost: dict[Place, float] = {}
        self._late: set[Place] = set()
        self._round = 1
        self._written = 0
        self._rounds = threading.Condition()
        self._wake = threading.Event()
        self._refused: set[str] = set()
        self.saves = 0
        self.seconds = 0.0
        threading.Thread(target=self._write_late, name="store", daemon=True).start()

    def restore(self) -> list[Place]:
        """Fill moto with what is on disk; the places that were."""
        files = {
            (path.parts[-3], path.parts[-2], path.stem): path for path in sorted(self._folder.glob("*/*/*.pickle"))
        }
        for module, account, region in files:
            known = backend_dict(module)
            if dict.get(known[account], region) is None:
                shell = object.__new__(known.backend)
                dict.__setitem__(known[account], region, shell)
        for place, path in files.items():
            backend = backend_dict(place[0])[place[1]][place[2]]
            try:
                _fill(backend, path)
            except Exception as error:
                raise RuntimeError(f"{path} cannot be read ({error}); move it away to go on without it") from error
        return list(files)

    def changed(self, module: str, account: str, region: str) -> int:
        """A backend has changed. 0: it is on disk; else what to give to ``wait`` when the lock is released."""
        place = (module, account, region)
        if self._cost.get(place, 0.0) > PROMPT_SECONDS:
            return self._put_off([place])
        self._save(place)
        return 0

    def everything_changed(self) -> int:
        """Some service reached into others. What to give to ``wait``."""
        return self._put_off(set(places().values()))

    def _put_off(self, found: Iterable[Place]) -> int:
        with self._rounds:
            self._late.update(found)
            self._wake.set()
            return self._round

    def wait(self, number: int) -> None:
        """Until that round of writing is over. The caller holds no lock."""
        if number:
            with self._rounds:
                self._rounds.wait_for(lambda: self._written >= number, LONGEST_WAIT_SECONDS)

    def flush(self) -> None:
        """Write what is waiting to be written: one round."""
        with self._rounds:
            late, self._late = self._late, set()
            number = self._round
            self._round += 1
        for place in late:
            with self._lock_of(place[0]):
                self._save(place)
        with self._rounds:
            self._written = max(self._written, number)
            self._rounds.notify_all()

    def _write_late(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            time.sleep(GATHER_SECONDS)
            self.flush()

    def _save(self, place: Place) -> None:
        module, account, region = place
        backend = dict.get(backend_dict(module)[account], region)
        if backend is None or module in self._refused:
            return
        began = time.thread_time()
        path = self._folder / module / account / f"{region}.pickle"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            data, aside = _dump(backend)
        except Exception:
            self._refused.add(module)
            sys.stderr.write(f"what {module} holds cannot be kept: it is lost when the local cloud ends\n")
            traceback.print_exc()
            return
        if aside is not None:
            _write(path.with_suffix(".aside"), aside)
        _write(path, data)
        taken = time.thread_time() - began
        # The first save of a backend may write its aside part too and says nothing about the next ones.
        self._cost[place] = 0.0 if aside is not None else taken
        self.saves += 1
        self.seconds += taken


def _dump(backend: Any) -> tuple[bytes, bytes | None]:
    """The backend's main part, and its aside part if that has changed since it was last written."""
    known = places()
    if not isinstance(backend, EC2Backend):
        return dump(backend.__dict__, known), None
    parts = {name: _public(backend, name) for name in _ASIDE}
    names = {id(value): (name, key) for name, part in parts.items() for key, value in part.items()}
    main = {name: value for name, value in backend.__dict__.items() if name != "_aside_size"}
    for name in _ASIDE:
        main[name] = {key: value for key, value in getattr(backend, name).items() if key not in parts[name]}
    size = sum(map(len, parts.values()))
    written = None
    if getattr(backend, "_aside_size", None) != size:
        vars(backend)["_aside_size"] = size
        written = dump(parts, known)
    return dump(main, known, names), written


def _public(backend: Any, name: str) -> dict[str, Any]:
    """The images that moto brings along, or their snapshots."""
    if name == "amis":
        return {key: image for key, image in backend.amis.items() if image.instance_id is None}
    return {key: snapshot for key, snapshot in backend.snapshots.items() if snapshot.from_ami in backend.amis}


def _fill(backend: Any, path: Path) -> None:
    aside = path.with_suffix(".aside")
    if not aside.exists():
        backend.__dict__.update(load(path.read_bytes()))
        return
    parts = load(aside.read_bytes())
    backend.__dict__.update(load(path.read_bytes(), lambda name, key: parts[name][key]))
    for name, part in parts.items():
        setattr(backend, name, {**part, **getattr(backend, name)})
    backend._aside_size = sum(map(len, parts.values()))


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(data)
    draft.replace(path)
