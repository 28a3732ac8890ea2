"""The form of a schedule: what is to be started, and when. Whether it is allowed is for the services to say."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from zoneinfo import ZoneInfo

from django import forms

from portal.accounts.models import User
from portal.pipelines.selectors import pipelines_of, scripts_of
from portal.schedules.models import Schedule
from portal.schedules.targets import Target
from portal.schedules.times import zone_names
from portal.schedules.timing import Timing
from portal.web.states import WORKSPACE
from portal.workspaces.models import Workspace
from portal.workspaces.selectors import workspaces_of

_LOCAL = "%Y-%m-%dT%H:%M:%S"


def _lines(rows: int, placeholder: str) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, "class": "mono", "placeholder": placeholder, "spellcheck": "false"})


class TimingForm(forms.Form):
    """When. Each kind has fields of its own; those of the others are not looked at."""

    kind = forms.ChoiceField(
        label="When", choices=Schedule.Kind.choices, initial=Schedule.Kind.CRON, widget=forms.RadioSelect
    )
    expression = forms.CharField(
        label="Cron expression",
        max_length=200,
        initial="0 6 * * 1-5",
        help_text="Minute, hour, day of the month, month, day of the week: <code>*/15 * * * *</code> is every quarter"
        " of an hour, <code>30 2 * * MON</code> half past two on Mondays, <code>0 8 L * *</code> at eight on the last"
        " day of each month.",
        widget=forms.TextInput(attrs={"class": "mono", "autocapitalize": "off", "spellcheck": "false"}),
    )
    every = forms.IntegerField(label="Every", required=False, initial=1, min_value=1, max_value=31_622_400)
    unit = forms.ChoiceField(label="Unit", required=False, choices=Schedule.Unit.choices, initial=Schedule.Unit.HOURS)
    at = forms.DateTimeField(
        label="Moment",
        input_formats=[_LOCAL, "%Y-%m-%dT%H:%M"],
        help_text="On the clocks of the time zone below. An interval is counted from it; without it, from now.",
        widget=forms.DateTimeInput(format=_LOCAL, attrs={"type": "datetime-local", "step": 1}),
    )
    zone = forms.CharField(
        label="Time zone",
        max_length=64,
        initial="UTC",
        widget=forms.TextInput(attrs={"list": "zones", "autocomplete": "off", "spellcheck": "false"}),
    )

    use_required_attribute = False  # browsers would wait for what is not shown

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.is_bound:
            kind = self["kind"].value()
            self.fields["expression"].required = kind == Schedule.Kind.CRON
            self.fields["at"].required = kind == Schedule.Kind.ONCE

    def clean_at(self) -> Any:
        """What the clock of the chosen zone shows: without the zone that Django gives it."""
        at = self.cleaned_data["at"]
        return at.replace(tzinfo=None) if at else None

    def timing(self) -> Timing:
        """What was said, of a form that is valid."""
        given = self.cleaned_data
        names = ("kind", "expression", "every", "unit", "at", "zone")
        return Timing(**{name: given[name] for name in names})


class ScheduleForm(TimingForm):
    """A schedule to be made or changed."""

    name = forms.CharField(max_length=80, help_text="What you call it.")
    action = forms.ChoiceField(
        label="What it does", choices=Schedule.Action.choices, widget=forms.RadioSelect, initial=Schedule.Action.SCRIPT
    )
    pipeline = forms.ChoiceField(required=False)
    parameters = forms.CharField(
        required=False,
        max_length=200_000,
        help_text="One <code>name=value</code> a line. What is not named has its default.",
        widget=_lines(2, "day=today"),
    )
    script = forms.ChoiceField(required=False)
    version = forms.IntegerField(
        required=False, min_value=1, help_text="The newest at that time, unless you say which."
    )
    workspace = forms.ChoiceField(required=False)
    arguments = forms.CharField(
        required=False,
        max_length=20_000,
        help_text="As on a command line: “two words” in quotes count as one.",
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": "--year 2024", "spellcheck": "false"}),
        strip=False,
    )
    environment = forms.CharField(
        label="Environment variables",
        required=False,
        max_length=200_000,
        help_text="One <code>NAME=value</code> a line. Do not put passwords here.",
        widget=_lines(2, "LEVEL=info"),
    )
    secrets = forms.CharField(
        required=False,
        max_length=6_000,
        help_text="Names of the workspace's secrets that the script is given, with spaces between them.",
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": "API_KEY", "spellcheck": "false"}),
    )
    missed = forms.ChoiceField(
        label="If Orca was not running then",
        choices=[(value, label.capitalize()) for value, label in Schedule.Missed.choices],
        initial=Schedule.Missed.SKIP,
    )

    def __init__(self, *args: Any, owner: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        usable = workspaces_of(owner).exclude(state=Workspace.State.DESTROYED)
        self._choose("workspace", {w.pk: f"{w.name} ({WORKSPACE[w.state].label.lower()})" for w in usable})
        self._choose("script", {script.pk: script.name for script in scripts_of(owner)})
        self._choose("pipeline", {pipeline.pk: pipeline.name for pipeline in pipelines_of(owner)})

    def _choose(self, name: str, found: Mapping[str, str]) -> None:
        field = self.fields[name]
        if isinstance(field, forms.ChoiceField):
            field.choices = list(found.items()) or [("", f"You have no {name} yet")]

    def clean_arguments(self) -> list[str]:
        """The words of the line, split as a shell does."""
        try:
            return shlex.split(self.cleaned_data["arguments"])
        except ValueError as error:
            raise forms.ValidationError("A quote is opened and not closed.") from error

    def clean_parameters(self) -> dict[str, str]:
        """Names and their values."""
        return _pairs(self.cleaned_data["parameters"])

    def clean_environment(self) -> dict[str, str]:
        """The same."""
        return _pairs(self.cleaned_data["environment"])

    def clean_secrets(self) -> list[str]:
        """The names."""
        return str(self.cleaned_data["secrets"]).replace(",", " ").split()

    def target(self, *, limits: Mapping[str, int] | None = None) -> Target:
        """What was said, of a form that is valid."""
        names = {field.name for field in fields(Target)} - {"limits"}
        return Target(**{name: self.cleaned_data[name] for name in names}, limits=limits or {})


def _pairs(text: str) -> dict[str, str]:
    found = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, sign, value = line.partition("=")
        if not sign or not name.strip():
            raise forms.ValidationError(f"“{line[:40]}” is not like name=value.")
        found[name.strip()] = value
    return found


def initial_of(schedule: Schedule) -> dict[str, Any]:
    """A schedule as the form shows it."""
    names = ("name", "kind", "expression", "every", "unit", "zone", "missed", "action", "version")
    at = schedule.at.astimezone(ZoneInfo(schedule.zone)).replace(tzinfo=None) if schedule.at else None
    return {
        **{name: getattr(schedule, name) for name in names},
        "expression": schedule.expression or TimingForm.base_fields["expression"].initial,
        "unit": schedule.unit or Schedule.Unit.HOURS,
        "every": schedule.every or 1,
        "at": at,
        "pipeline": schedule.pipeline_id,
        "script": schedule.script_id,
        "workspace": schedule.workspace_id,
        "arguments": shlex.join(schedule.arguments),
        "parameters": _text(schedule.parameters),
        "environment": _text(schedule.environment),
        "secrets": " ".join(schedule.secrets),
    }


def _text(pairs: Mapping[str, str]) -> str:
    return "\n".join(f"{name}={value}" for name, value in pairs.items())


def zones() -> list[str]:
    """The names of all time zones, for the page to offer."""
    return sorted(name for name in zone_names() if "/" in name or name == "UTC")
