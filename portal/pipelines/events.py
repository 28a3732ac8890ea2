"""What others may want to know about runs. Receivers run in the transaction of the change."""

from django.dispatch import Signal

# Sends ``run``, which has come to a final state.
run_ended = Signal()
# Sends ``run``, which is being made, and its ``steps``. Receivers may refuse it, by what they raise.
run_accepted = Signal()
# Sends ``run_ids``, bounded runs of which steps have changed; their states are worked out right after.
runs_settling = Signal()
# Sends ``owner`` and ``draft`` (`definitions.Draft`): whoever knows what is wrong with it refuses that.
pipeline_checked = Signal()
# Sends ``pipeline`` and its new ``version``.
pipeline_saved = Signal()
# Sends ``attempts``, a list of `attempts.Attempt`: tries at steps that an instance had begun, and that are over.
attempts_ended = Signal()
