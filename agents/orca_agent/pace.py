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
MOST_SCRIPTS: Final = 200


@dataclass
class _Known:
    """Of one script: how long its latest steps took, and fetching what the last of them needed, in seconds."""

    took: Deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    preparation: float = 0.0


class Pace:
    """What steps have taken, by the checksum of their script. Any thread may ask and tell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripts: OrderedDict[str, _Known] = OrderedDict()
        self._short = False

    @property
    def short(self) -> bool:
        """Whether the latest step that ended was a short one: the next, whatever it is, is taken to be."""
        return self._short

    def prepared(self, script: str, seconds: float) -> None:
        """So long it took to have everything there that a step needs."""
        with self._lock:
            self._of(script).preparation = seconds

    def ended(self, script: str, seconds: float) -> None:
        """So long a step had its slot."""
        with self._lock:
            self._of(script).took.append(seconds)
            self._short = seconds < SHORT

    def window(self, script: str) -> Optional[Tuple[float, float]]:
        """When the next message may wait for a step's slot: from and until so many seconds after it began.

        None where nothing is known of such steps.
        """
        with self._lock:
            known = self._scripts.get(script)
            if known is None or not known.took:
                return (0.0, SHORT + PATIENCE) if self._short else None
            took = median(known.took)
            lead = min(LEAD + MORE * known.preparation, LONGEST_LEAD)
        begins = 0.0 if took <= SHORT else max(0.0, took - lead)
        return begins, took + max(PATIENCE, lead)

    def windows(self, steps: Iterable[Tuple[str, float]], now: float) -> List[Tuple[float, float]]:
        """In and for how many seconds from ``now`` the next may wait for each of these steps' slots.

        ``steps`` are scripts and when their steps began. Steps that are late have none, as those of unknown scripts.
        """
        known = [(began, self.window(script)) for script, began in steps]
        found = [(began + window[0] - now, began + window[1] - now) for began, window in known if window is not None]
        return [window for window in found if window[1] > 0]

    def _of(self, script: str) -> _Known:
        known = self._scripts.setdefault(script, _Known())
        self._scripts.move_to_end(script)
        if len(self._scripts) > MOST_SCRIPTS:
            self._scripts.popitem(last=False)
        return known
