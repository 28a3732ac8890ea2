"""What others may want to know about schedules. Receivers run in the transaction of the change."""

from django.dispatch import Signal

# Sends ``schedule`` and ``fire``: a slot that was missed, refused or failed. It should have started something.
slot_not_run = Signal()
