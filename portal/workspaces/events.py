"""What others may want to know about workspaces. Receivers run in the transaction of the change."""

from django.dispatch import Signal

# Both send ``workspace``.
workspace_ready = Signal()
workspace_gone = Signal()
# Sends ``workspace``, of which instances are about to be built or started. Receivers may refuse it, by what they raise.
instances_wanted = Signal()
