"""What others may want to know about cloud accounts. Receivers run in the transaction of the change."""

from django.dispatch import Signal

# Sends ``account`` and ``by``: Orca lets go of whatever it still has in the account.
account_unlinked = Signal()
