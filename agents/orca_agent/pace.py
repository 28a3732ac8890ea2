"""How long steps take here, so that the next message may be asked for shortly before a slot is free.

What one step needs is then fetched while another runs. A message that waits here is kept from other instances: so it is
asked for no earlier than fetching takes, and goes back where the step before it does not end when it was thought to.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from statistics import median
from typing import Deque, Final, Iterable, List, Optional, Tuple

from agents.orca_agent.orders import Task

SHORT: Final = 1.0
"""Seconds: where a step takes no longer than this, the next may come at its start."""
LEAD: Final = 0.25
"""Seconds that asking takes, with room to spare."""
MORE: Final = 1.5
"""As much of what fetching took the last time is left for the next."""
LONGEST_LEAD: Final = 60.0
PATIENCE: Final = 2.0
"""Seconds that a step may take longer than was thought, at least, before what waits behind it goes to others."""
REMEMBERED: Final = 5
MOST_KINDS: Final = 200


def kind_of(task: Task) -> str:
    """What a step is like: the shards of a job are, and those of one script that have no data."""
    return task.run if task.data is not None else task.script.sha256


@dataclass
class _Known:
    """Of steps of one kind: how long the latest took, and fetching what the last of them needed, in seconds."""

    took: Deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    preparation: float = 0.0


class Pace:
    """What steps have taken, by their kind. Any thread may ask and tell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: OrderedDict[str, _Known] = OrderedDict()
        self._short = False

    @property
    def short(self) -> bool:
        """Whether the latest step that ended was a short one: the next, whatever it is, is taken to be."""
        return self._short

    def prepared(self, kind: str, seconds: float) -> None:
        """So long it took to have everything there that a step needs."""
        with self._lock:
            self._of(kind).preparation = seconds

    def ended(self, kind: str, seconds: float) -> None:
        """So long a step had its slot."""
        with self._lock:
            self._of(kind).took.append(seconds)
            self._short = seconds < SHORT

    def window(self, kind: str) -> Optional[Tuple[float, float]]:
        """When the next message may wait for a step's slot: from and until so many seconds after it began.

        None where nothing is known of such steps.
        """
        with self._lock:
            known = self._kinds.get(kind)
            if known is None or not known.took:
                return (0.0, SHORT + PATIENCE) if self._short else None
            took = median(known.took)
            lead = min(LEAD + MORE * known.preparation, LONGEST_LEAD)
        begins = 0.0 if took <= SHORT else max(0.0, took - lead)
        return begins, took + max(PATIENCE, lead)

    def windows(self, steps: Iterable[Tuple[str, float]], now: float) -> List[Tuple[float, float]]:
        """In and for how many seconds from ``now`` the next may wait for each of these steps' slots.

        ``steps`` are kinds of steps and when they began. Those that are late have none, as those of an unknown kind.
        """
        known = [(began, self.window(kind)) for kind, began in steps]
        found = [(began + window[0] - now, began + window[1] - now) for began, window in known if window is not None]
        return [window for window in found if window[1] > 0]

    def _of(self, kind: str) -> _Known:
        known = self._kinds.setdefault(kind, _Known())
        self._kinds.move_to_end(kind)
        if len(self._kinds) > MOST_KINDS:
            self._kinds.popitem(last=False)
        return known
