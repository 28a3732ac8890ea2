"""What people type into pages. Forms read and tidy; whether it is allowed is for the services to say."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict

from portal.clouds.models import CloudAccount
from portal.core.errors import OrcaError
from portal.pipelines.bundles import PathUpload
from portal.pipelines.models import ScriptVersion
from portal.pipelines.services import LIMITS
from portal.web.states import WORKSPACE
from portal.workspaces.models import Workspace


def tell(form: forms.Form, error: OrcaError) -> None:
    """Put what a service refused where a person sees it: on the field that it concerns, else above the form."""
    for name, text in error.fields.items():
        if name in form.fields:
            form.add_error(name, text[:1].upper() + text[1:])
    homeless = [text for name, text in error.fields.items() if name not in form.fields]
    said = [] if error.message in error.fields.values() else [error.message]
    above = " ".join(filter(None, [*said, *homeless, error.hint]))
    if above:
        form.add_error(None, above)


class WorkspaceForm(forms.Form):
    """A workspace to be built."""

    name = forms.CharField(
        max_length=60, help_text="What you call it. You can have several, for different work.", initial="Research"
    )
    instance_type = forms.ChoiceField(label="Size", choices=Workspace.Size.choices, widget=forms.RadioSelect)
    volume_gb = forms.IntegerField(
        label="Disk in GB", min_value=8, max_value=1000, initial=20, help_text="Room for packages and working files."
    )
    cloud_account = forms.ChoiceField(
        label="Where", required=False, help_text="Orca's own cloud, or an account that you have linked."
    )
    review = forms.BooleanField(
        label="Show me the plan before anything is built",
        required=False,
        help_text="Terraform works out what it would make, and waits for your yes.",
    )

    def __init__(self, *args: Any, accounts: Iterable[CloudAccount], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        linked = [(account.pk, f"{account.name} ({account.account_id})") for account in accounts]
        _choose(self.fields["cloud_account"], [("", "Orca's own cloud"), *linked])
        self.has_linked = bool(linked)


class CloudForm(forms.Form):
    """A link to be begun."""

    name = forms.CharField(
        max_length=80, help_text="What you call it, to tell it from others.", initial="My AWS account"
    )


class CloudCheckForm(forms.Form):
    """The role that Orca is to use."""

    role = forms.CharField(
        label="Account id or role ARN",
        max_length=200,
        help_text="The twelve digits of the account, or the ARN that CloudFormation or Terraform put out.",
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false", "autocapitalize": "off"}),
    )


class UnlinkForm(forms.Form):
    """The end of a link."""

    abandon = forms.BooleanField(required=False)
    confirm_name = forms.CharField(required=False, max_length=100)


class DestroyForm(forms.Form):
    """Taking a workspace down."""

    delete_data = forms.BooleanField(required=False)
    confirm_name = forms.CharField(required=False, max_length=80)


class SecretForm(forms.Form):
    """A secret to keep."""

    name = forms.CharField(
        max_length=100,
        help_text="What the script finds it under: capital letters, digits and _.",
        widget=forms.TextInput(
            attrs={
                "class": "mono",
                "placeholder": "API_KEY",
                "autocapitalize": "characters",
                "autocomplete": "off",
                "spellcheck": "false",
            }
        ),
    )
    value = forms.CharField(
        max_length=100_000,
        strip=False,
        help_text="A word, or a whole file such as a key. Nobody is shown it again.",
        widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "autocomplete": "off", "spellcheck": "false"}),
    )

    def clean_name(self) -> str:
        """In capitals: that is what was meant."""
        return str(self.cleaned_data["name"]).upper()

    def clean_value(self) -> str:
        """With the ends of lines that the file had before a browser sent it, and a single line without its end."""
        value = str(self.cleaned_data["value"]).replace("\r\n", "\n")
        return value[:-1] if value.count("\n") == 1 and value.endswith("\n") else value

    def forget(self) -> None:
        """Do not send the value back to the page."""
        self.data = {"name": self.data.get("name", "")}


class SeveralFiles(forms.ClearableFileInput):
    """A file input that takes more than one."""

    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several uploaded files."""

    widget = SeveralFiles

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile[Any]]:
        """All of them, each checked as one would be."""
        given = data if isinstance(data, list | tuple) else [data]
        return [super(FilesField, self).clean(item, initial) for item in given]


class UploadForm(forms.Form):
    """The files of a version."""

    files = FilesField(label="Files", allow_empty_file=True)  # type: ignore[assignment]
    paths = forms.CharField(required=False, widget=forms.HiddenInput)
    entrypoint = forms.CharField(
        label="File to start",
        required=False,
        max_length=200,
        help_text="Found by itself when it is called main.py, main.sh, run.py or app.py, or is the only one.",
        widget=forms.TextInput(attrs={"placeholder": "main.py", "autocapitalize": "off", "spellcheck": "false"}),
    )

    def clean_paths(self) -> list[str]:
        """Where the files lie in their folder, in their order; empty when the page did not say."""
        try:
            paths = json.loads(self.cleaned_data["paths"] or "[]")
        except (ValueError, RecursionError):
            return []
        return paths if isinstance(paths, list) and all(isinstance(path, str) for path in paths) else []

    def uploads(self) -> list[PathUpload]:
        """The files with their paths."""
        files: list[UploadedFile[Any]] = self.cleaned_data["files"]
        paths: list[str] = self.cleaned_data["paths"]
        names = [upload.name or "" for upload in files]
        fitting = len(paths) == len(names) and all(
            PurePosixPath(path).name == name for path, name in zip(paths, names, strict=True)
        )
        chosen = paths if fitting else names
        return [PathUpload(upload, path) for upload, path in zip(files, chosen, strict=True)]


class ScriptForm(UploadForm):
    """A new script."""

    name = forms.CharField(max_length=80)
    description = forms.CharField(required=False, max_length=500, widget=forms.Textarea(attrs={"rows": 2}))
    field_order = ("files", "paths", "name", "description", "entrypoint")


class RunForm(forms.Form):
    """A run to be started."""

    workspace = forms.ChoiceField()
    version = forms.TypedChoiceField(coerce=int)
    arguments = forms.CharField(
        required=False,
        max_length=20_000,
        help_text="As on a command line: “two words” in quotes count as one.",
        widget=forms.TextInput(
            attrs={"class": "mono", "placeholder": "--year 2024 'two words'", "spellcheck": "false"}
        ),
        strip=False,
    )
    name = forms.CharField(
        label="Name of this run", required=False, max_length=120, help_text="To tell it from others. Else the script's."
    )
    secrets = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"})
    )
    seconds = forms.IntegerField(label="Longest time, in seconds", required=False)
    memory_mb = forms.IntegerField(label="Memory, in MB", required=False)
    output_mb = forms.IntegerField(label="Output, in MB", required=False)
    processes = forms.IntegerField(label="Processes", required=False)
    log_mb = forms.IntegerField(label="Log, in MB", required=False)

    def __init__(
        self,
        *args: Any,
        workspaces: Sequence[Workspace],
        versions: Iterable[ScriptVersion],
        secrets: Mapping[str, Collection[str]],
        **kwargs: Any,
    ) -> None:
        """``secrets`` are names, and the ids of the workspaces that have each."""
        super().__init__(*args, **kwargs)
        _choose(
            self.fields["workspace"], [(w.pk, f"{w.name} ({WORKSPACE[w.state].label.lower()})") for w in workspaces]
        )
        _choose(self.fields["version"], [(v.number, f"Version {v.number}, {v.entrypoint}") for v in versions])
        _choose(self.fields["secrets"], [(name, _where(name, having, workspaces)) for name, having in secrets.items()])
        self.fields["secrets"].initial = []
        for key, (default, least, most) in LIMITS.items():
            limit = self.fields[key]
            limit.widget.attrs |= {"placeholder": str(default), "min": least, "max": most}

    def clean_arguments(self) -> list[str]:
        """The words of the line, split as a shell does."""
        try:
            return shlex.split(self.cleaned_data["arguments"])
        except ValueError as error:
            raise forms.ValidationError("A quote is opened and not closed.") from error

    @property
    def environment_rows(self) -> list[tuple[str, str]]:
        """The rows of variables as they were typed, without those that have no name."""
        if not self.is_bound:
            rows: list[tuple[str, str]] = self.initial.get("environment", [])
            return rows
        if not isinstance(self.data, QueryDict):
            return []
        pairs = zip(self.data.getlist("variable"), self.data.getlist("value"), strict=False)
        return [(name.strip(), value) for name, value in pairs if name.strip()]

    def environment(self) -> dict[str, str]:
        """The variables; of two with one name the last counts."""
        return dict(self.environment_rows)

    @property
    def has_limits(self) -> bool:
        """Whether something was said about limits or the name, so that it is shown."""
        names = (*LIMITS, "name")
        return any(self[name].errors or self[name].value() not in (None, "") for name in names)

    def limits(self) -> dict[str, int]:
        """The limits that were given."""
        return {key: self.cleaned_data[key] for key in LIMITS if self.cleaned_data.get(key) is not None}


def _where(name: str, having: Collection[str], workspaces: Sequence[Workspace]) -> str:
    """A secret's name, and the workspaces that have it where not all have."""
    if len(having) == len(workspaces):
        return name
    return f"{name} ({', '.join(w.name for w in workspaces if w.pk in having)})"


def _choose(field: forms.Field, choices: list[tuple[Any, str]]) -> None:
    if isinstance(field, forms.ChoiceField):
        field.choices = choices
        if len(choices) > 0:
            field.initial = choices[0][0]


class RunFilter(forms.Form):
    """What of the runs to show."""

    q = forms.CharField(
        label="Search", required=False, widget=forms.TextInput(attrs={"placeholder": "Name", "type": "search"})
    )
    state = forms.ChoiceField(required=False)
    pipeline = forms.ChoiceField(required=False)
    script = forms.ChoiceField(required=False)
    workspace = forms.ChoiceField(required=False)
    span = forms.ChoiceField(label="When", required=False)

    def __init__(self, *args: Any, choices: Mapping[str, list[tuple[str, str]]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, pairs in choices.items():
            _choose(self.fields[name], [("", "All"), *pairs])


class SourceForm(forms.Form):
    """A pipeline as it is written. Whether it can be read is for the services to say, with line and field."""

    source = forms.CharField(
        label="YAML",
        strip=False,
        required=False,
        widget=forms.Textarea(
            attrs={
                "id": "source",
                "class": "editor-text",
                "rows": 26,
                "cols": False,
                "wrap": "off",
                "spellcheck": "false",
                "autocapitalize": "off",
                "autocomplete": "off",
                "aria-describedby": "problems",
                "data-editor-text": True,
            }
        ),
    )


class NameForm(forms.Form):
    """What one is called."""

    name = forms.CharField(
        required=False, max_length=120, widget=forms.TextInput(attrs={"autocomplete": "name"}), label="Your name"
    )


class SshKeyForm(forms.Form):
    """A key to add."""

    public_key = forms.CharField(
        max_length=20_000,
        widget=forms.Textarea(
            attrs={"rows": 3, "class": "mono", "placeholder": "ssh-ed25519 AAAA… you@laptop", "spellcheck": "false"}
        ),
        help_text="The one line in <code>~/.ssh/id_ed25519.pub</code>. "
        "No key yet? <code>ssh-keygen -t ed25519</code> makes one.",
    )
    key_name = forms.CharField(label="Name", max_length=80, required=False, help_text="Else the key's own comment.")


class TokenForm(forms.Form):
    """A token to make."""

    token_name = forms.CharField(label="What is it for?", max_length=80, initial="")
    days = forms.TypedChoiceField(
        label="It works for",
        coerce=lambda days: int(days) if days else None,
        empty_value=None,
        required=False,
        choices=[("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "as long as it is not revoked")],
        initial="90",
    )


class DeviceForm(forms.Form):
    """The code that a program showed."""

    code = forms.CharField(
        label="The code in your terminal",
        max_length=20,
        widget=forms.TextInput(
            attrs={
                "class": "mono",
                "placeholder": "ABCD-EFGH",
                "autocomplete": "off",
                "autocapitalize": "characters",
                "spellcheck": "false",
            }
        ),
    )
