"""What other apps may want to hear from this one, which must not know them."""

from django.dispatch import Signal

# Sent with ``owner_id`` once the transaction is through that changed keys, or switched the account on or off.
ssh_keys_changed = Signal()
