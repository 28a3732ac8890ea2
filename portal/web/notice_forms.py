"""What people type about notifications. Whether it is allowed is for the services to say."""

from __future__ import annotations

from typing import Any

from django import forms

from portal.accounts.models import User
from portal.notices.mail import addresses_of
from portal.notices.models import ASKED_FOR, Kind, Subscription
from portal.notices.services import MOST_HOURS, MOST_MINUTES
from portal.pipelines.selectors import pipelines_of, scripts_of

_WORDS = {
    Kind.SUCCESS: "A run succeeded",
    Kind.FAILURE: "A run failed, was lost, or ran longer than its limit",
    Kind.LATE: "A run is late",
    Kind.DID_NOT_RUN: "Something did not run",
    Kind.BUDGET: "Money runs out, mine of this month or a job's",
}


class NotificationForm(forms.Form):
    """A notification: where, of what, and of which runs."""

    name = forms.CharField(max_length=80, help_text="To tell it from others, and to name it in mails.")
    channel = forms.ChoiceField(
        choices=Subscription.Channel.choices, widget=forms.RadioSelect, initial=Subscription.Channel.EMAIL
    )
    email = forms.ChoiceField(label="Address", required=False, help_text="One that you have verified.")
    url = forms.CharField(
        label="Address",
        required=False,
        max_length=500,
        help_text="Orca posts JSON there, signed so that you can tell that it comes from here.",
    )
    on = forms.MultipleChoiceField(
        label="Tell me when",
        choices=[(kind.value, _WORDS[kind]) for kind in ASKED_FOR],
        widget=forms.CheckboxSelectMultiple,
        initial=[Kind.FAILURE],
        error_messages={"required": "Choose at least one."},
    )
    late_minutes = forms.IntegerField(
        label="Late after, in minutes",
        min_value=1,
        max_value=MOST_MINUTES,
        initial=60,
        help_text="Counted from its slot in the schedule, or from when it was asked for, until it has ended.",
    )
    silent_hours = forms.IntegerField(
        label="Also without a success for, in hours",
        required=False,
        min_value=1,
        max_value=MOST_HOURS,
        help_text="Empty: only when a schedule's time was missed or refused.",
    )
    everything = forms.TypedChoiceField(
        label="Of which runs",
        coerce=lambda chosen: chosen == "yes",
        choices=[("yes", "All of them"), ("no", "Those of what I choose")],
        widget=forms.RadioSelect,
        initial="yes",
    )
    pipelines = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    scripts = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(self, *args: Any, owner: User, subscription: Subscription | None = None, **kwargs: Any) -> None:
        self.subscription = subscription
        if subscription is not None:
            kwargs["initial"] = _initial(subscription)
        super().__init__(*args, **kwargs)
        _offer(self.fields["email"], [(address, address) for address in addresses_of(owner)])
        for name, things in (("pipelines", pipelines_of(owner)), ("scripts", scripts_of(owner))):
            _offer(self.fields[name], [(thing.pk, thing.name) for thing in things])
        if subscription is not None:
            del self.fields["channel"]

    @property
    def kind(self) -> str:
        """E-mail or webhook: as it is, or as it was chosen."""
        return self.subscription.channel if self.subscription else str(self["channel"].value())

    def given(self) -> dict[str, Any]:
        """What the services take."""
        fields = dict(self.cleaned_data)
        email, url = fields.pop("email"), fields.pop("url")
        channel = self.subscription.channel if self.subscription else fields["channel"]
        fields["address"] = url if channel == Subscription.Channel.WEBHOOK else email
        return fields

    def place(self, fields: dict[str, str]) -> dict[str, str]:
        """The names that services give to wrong fields, as they are called here."""
        own = "url" if self.kind == Subscription.Channel.WEBHOOK else "email"
        return {own if name == "address" else name: text for name, text in fields.items()}


def _initial(subscription: Subscription) -> dict[str, Any]:
    own = "url" if subscription.channel == Subscription.Channel.WEBHOOK else "email"
    same = ("name", "on", "late_minutes", "silent_hours", "pipelines", "scripts")
    return {
        own: subscription.address,
        "everything": "yes" if subscription.everything else "no",
        **{name: getattr(subscription, name) for name in same},
    }


def _offer(field: forms.Field, choices: list[tuple[str, str]]) -> None:
    if isinstance(field, forms.ChoiceField):
        field.choices = choices
