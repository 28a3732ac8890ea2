"""Tasks that should rather be done on another instance: their message goes back for a while, so that it may take it.

A queue hands a message to whoever asks, and cannot choose. Whoever should not have it gives it back, for longer each
time. When that has not helped it is done here after all: better here than never, and long before the queue puts a
message aside because nobody could do it.
"""

from __future__ import annotations

import random
from typing import Container, Final, Sequence

from agents.orca_agent.orders import AnyTask, Task

TAKEN_AT: Final = 6
"""The receive at which a message is taken wherever it is. The queue's own bound is 10."""
LONGEST: Final = 16


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
