"""Tasks that should rather be done on another instance: their message goes back for a while, so that it may take it.

A queue hands a message to whoever asks, and cannot choose. Whoever should not have it gives it back, for longer each
time, and does not ask in the moment in which it comes back. When that has not helped it is done here after all: better
here than never, and long before the queue puts a message aside because nobody could do it.
"""

from __future__ import annotations

import random
from typing import Callable, Container, Final, List, Sequence

from agents.orca_agent.orders import AnyTask, Task

TAKEN_AT: Final = 6
"""The receive at which a message is taken wherever it is. The queue's own bound is 10."""
LONGEST: Final = 16
HEAD_START: Final = 0.5
"""Seconds: whoever is waiting for a message has it by then."""


def seconds_elsewhere(
    tasks: Sequence[AnyTask], instance: str, receives: int, *, unwanted: Container[str] = frozenset()
) -> int:
    """For how long others may have the message of these tasks; 0 where it is to be done here.

    ``receives`` counts how often it was received, this time included. A step that is ``unwanted`` by now needs no other
    instance: whoever has it says so.
    """
    if receives >= TAKEN_AT:
        return 0
    if not any(isinstance(task, Task) and instance in task.avoid and task.step not in unwanted for task in tasks):
        return 0
    longest = min(2**receives, LONGEST)
    # Not as long each time: two that should not have it would else meet at it again and again.
    return random.randint(longest // 2, longest)  # noqa: S311 (jitter, not a secret)


class HeadStart:
    """When the messages that were left to others come back; then those others should be asking, and not we."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._returns: List[float] = []

    def note(self, seconds: int) -> None:
        """One comes back in so many seconds."""
        self._returns = sorted([*self._returns, self._clock() + seconds])

    def pause(self) -> float:
        """For how long not to ask for messages now; 0 unless one comes back within a second, or just did."""
        now = self._clock()
        self._returns = [at for at in self._returns if at + HEAD_START > now]
        if not self._returns or self._returns[0] - now >= 1:
            return 0.0
        return self._returns.pop(0) + HEAD_START - now

    def longest_wait(self, longest: int) -> int:
        """For how many seconds to ask for messages, ``longest`` at most, so as to be done when one comes back."""
        if not self._returns:
            return longest
        return max(0, min(longest, int(self._returns[0] - self._clock())))
