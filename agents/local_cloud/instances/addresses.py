"""The address of each instance: 127.x.y.z, the same for as long as the instance exists."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path

_PER_OCTET = 250
FIRST_USER_ID = 50000


@dataclass(frozen=True)
class Place:
    """What an instance is given for life: a loopback address, and the user id of its ``analyst``."""

    index: int
    address: str
    user_id: int

    @property
    def hostname(self) -> str:
        """``ip-127-x-y-z``, as EC2 names its instances."""
        return "ip-" + self.address.replace(".", "-")


class Addresses:
    """Places by instance id, kept in ``DATA/addresses.json``.

    The second octet comes from the data folder, so that two local clouds on one machine do not meet.
    """

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._path = data / "addresses.json"
        self._lock = threading.Lock()
        digest = hashlib.sha256(str(data.resolve()).encode()).digest()
        self._octet = 16 + digest[0] % 224
        self._places: dict[str, int] = {}
        if self._path.exists():
            kept = json.loads(self._path.read_text())
            self._octet = kept["octet"]
            self._places = kept["places"]

    def probe(self) -> str:
        """An address of this cloud that no instance has: to try ports on."""
        return f"127.{self._octet}.255.254"

    def place(self, instance_id: str) -> Place:
        """The instance's place, taken now if it has none."""
        with self._lock:
            index = self._places.get(instance_id)
            if index is None:
                taken = set(self._places.values())
                index = next(i for i in range(len(taken) + 1) if i not in taken)
                self._places[instance_id] = index
                self._save()
        third, fourth = divmod(index, _PER_OCTET)
        return Place(index, f"127.{self._octet}.{third}.{fourth + 1}", FIRST_USER_ID + index)

    def release(self, instance_id: str) -> None:
        """The instance has been terminated."""
        with self._lock:
            if self._places.pop(instance_id, None) is not None:
                self._save()

    def _save(self) -> None:
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps({"octet": self._octet, "places": self._places}))
        draft.replace(self._path)
