"""What people type about their budget. Whether it is allowed is for the services to say."""

from __future__ import annotations

from typing import Any

from django import forms

from portal.core.errors import Invalid
from portal.usage import money
from portal.usage.budgets import UNCHANGED, Amount
from portal.usage.ledger import Standing


class BudgetForm(forms.Form):
    """The two amounts of a month, in dollars."""

    soft = forms.CharField(
        label="Tell me at, in dollars", required=False, max_length=20, help_text="You get one notice a month."
    )
    hard = forms.CharField(
        label="Never spend more than, in dollars",
        required=False,
        max_length=20,
        help_text="When it is reached, runs end, instances stop, and data stays. You can lower it; operators raise it.",
    )

    def __init__(self, *args: Any, standing: Standing, **kwargs: Any) -> None:
        self._standing = standing
        kwargs["initial"] = {"soft": money.written(standing.soft), "hard": money.written(standing.hard)}
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs |= {"inputmode": "decimal"}

    def clean_soft(self) -> int | None:
        return self._amount("soft")

    def clean_hard(self) -> int | None:
        return self._amount("hard")

    def given(self) -> dict[str, Amount]:
        """What the service takes: what was changed."""
        found: dict[str, Amount] = {}
        for name in ("soft", "hard"):
            amount = self.cleaned_data[name]
            found[name] = UNCHANGED if amount == getattr(self._standing, name) else amount
        return found

    def _amount(self, name: str) -> int | None:
        text = self.cleaned_data[name].strip()
        try:
            return money.read(text, name) if text else None
        except Invalid as error:
            raise forms.ValidationError(error.fields[name]) from error
