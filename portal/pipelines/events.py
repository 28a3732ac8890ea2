"""What others may want to know about runs. Receivers run in the transaction of the change."""

from django.dispatch import Signal

# Sends ``run``, which has come to a final state.
run_ended = Signal()
# Sends ``pipeline``, ``due_at`` (the slot of a schedule) and ``why``: it should have run, and did not.
run_refused = Signal()
