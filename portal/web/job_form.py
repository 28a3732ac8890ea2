"""The form of a job: it makes a submission of what was typed. Whether that is accepted is for the services to say."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from django import forms

from portal.accounts.models import User
from portal.jobs.selectors import jobs_of
from portal.pipelines.selectors import script_names
from portal.pipelines.services import LIMITS
from portal.web.job_words import conditions, lines, pairs, words
from portal.web.states import WORKSPACE
from portal.workspaces.models import Workspace
from portal.workspaces.selectors import workspaces_of

_INPUT_JOBS = 50
CORNERS = ("west", "south", "east", "north")
# How a field of a submission's shards is called here.
SHARD_FIELDS = {"number": "shard_number", "most_items": "most_items", "most_mb": "most_mb"}


def _line(placeholder: str = "", **attributes: Any) -> forms.TextInput:
    return forms.TextInput(attrs={"class": "mono", "placeholder": placeholder, "spellcheck": "false", **attributes})


def _lines(rows: int, placeholder: str) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, "class": "mono", "placeholder": placeholder, "spellcheck": "false"})


def _degrees(label: str, most: int) -> forms.FloatField:
    return forms.FloatField(
        label=label,
        required=False,
        min_value=-most,
        max_value=most,
        widget=forms.NumberInput(attrs={"step": "any", "class": "number", "inputmode": "text"}),
    )


class JobForm(forms.Form):
    """A job to be submitted. Each kind of data has fields of its own; those of the others are not looked at."""

    name = forms.CharField(max_length=80, help_text="What you call it.")
    workspace = forms.ChoiceField()
    script = forms.ChoiceField()
    version = forms.IntegerField(required=False, min_value=1, help_text="The newest, unless you say which.")
    arguments = forms.CharField(
        required=False,
        max_length=20_000,
        strip=False,
        help_text="As on a command line; every shard is started with the same.",
        widget=_line("--width 400"),
    )
    container = forms.ChoiceField(
        label="It runs in",
        required=False,
        initial="none",
        choices=[
            ("none", "The instance: as a plain script"),
            ("image", "A base image: one of Orca's"),
            ("dockerfile", "Its Dockerfile: built once"),
        ],
        widget=forms.RadioSelect,
    )
    image = forms.CharField(
        required=False,
        max_length=200,
        initial="orca/python",
        help_text="Ready on every node, offline too.",
        widget=_line("orca/python", list="images", autocapitalize="off"),
    )
    dockerfile = forms.CharField(
        required=False,
        max_length=200,
        initial="Dockerfile",
        help_text="Its path among the files of the script.",
        widget=_line("Dockerfile"),
    )
    network = forms.BooleanField(
        label="Let it reach the network", required=False, help_text="Without this it reaches nothing at all."
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
        help_text="Names of the workspace's secrets, with spaces between them.",
        widget=_line("API_KEY"),
    )

    kind = forms.ChoiceField(
        label="The data",
        initial="stac",
        choices=[
            ("stac", "A catalogue: STAC, by place and time"),
            ("bucket", "A bucket: files below a prefix"),
            ("urls", "Addresses: one file each"),
            ("job", "An earlier job: what it made"),
        ],
        widget=forms.RadioSelect,
    )
    url = forms.CharField(
        label="Catalogue",
        max_length=2_000,
        help_text="A STAC API, or the first file of a static catalogue. Orca finds out which.",
        widget=_line("https://example.org/stac/catalog.json", inputmode="url", autocapitalize="off"),
    )
    collections = forms.CharField(
        required=False, max_length=20_000, help_text="All of them, unless you name some.", widget=_line("CBERS4MUX")
    )
    west = _degrees("West", 180)
    south = _degrees("South", 90)
    east = _degrees("East", 180)
    north = _degrees("North", 90)
    since = forms.CharField(
        label="From", required=False, max_length=64, widget=_line("2024-06-01T00:00:00Z", autocomplete="off")
    )
    until = forms.CharField(
        label="To", required=False, max_length=64, widget=_line("2024-06-30T23:59:59Z", autocomplete="off")
    )
    query = forms.CharField(
        label="Properties",
        required=False,
        max_length=50_000,
        help_text="One condition a line: <code>eo:cloud_cover &lt;= 20</code>. "
        "Also <code>= != &lt; &gt; &gt;= ^= $= *=</code> and <code>in a, b</code>.",
        widget=_lines(2, "eo:cloud_cover <= 20"),
    )
    assets = forms.CharField(
        required=False,
        max_length=20_000,
        help_text="By name or role; all, unless you say which.",
        widget=_line("thumbnail"),
    )
    limit = forms.IntegerField(
        label="At most so many items", required=False, min_value=1, max_value=100_000, initial=1_000
    )
    key_prefix = forms.CharField(
        label="Prefix",
        required=False,
        max_length=1_200,
        help_text="In the workspace's own bucket, or <code>s3://bucket/prefix</code> of one that is public "
        "or lets you pay.",
        widget=_line("files/scenes/"),
    )
    pattern = forms.CharField(
        required=False,
        max_length=500,
        help_text="<code>*</code> within a folder, <code>**</code> across folders. All files, unless you say which.",
        widget=_line("**/*.tif"),
    )
    urls = forms.CharField(
        label="Addresses",
        max_length=5_000_000,
        help_text="One a line; http, https or s3.",
        widget=_lines(5, "https://example.org/scenes/0001.tif"),
    )
    requester_pays = forms.BooleanField(
        label="The workspace's account pays for reading from S3",
        required=False,
        help_text="Some buckets demand it.",
    )
    input_job = forms.ChoiceField(label="Job", required=False)

    nodes = forms.IntegerField(min_value=1, initial=2, help_text="Instances that work on it side by side.")
    by = forms.CharField(
        label="Split by",
        required=False,
        max_length=100,
        initial="count",
        help_text="<code>count</code>, <code>size</code>, or a property: then items of one value stay together.",
        widget=_line("count", list="splits", autocapitalize="off"),
    )
    shard_number = forms.IntegerField(label="Number of shards", required=False, min_value=1)
    most_items = forms.IntegerField(label="Most items in one", required=False, min_value=1)
    most_mb = forms.FloatField(
        label="Most MB in one", required=False, min_value=0, widget=forms.NumberInput(attrs={"step": "any"})
    )
    retries = forms.IntegerField(
        label="Tries again", required=False, min_value=0, max_value=20, initial=1, help_text="Of a shard that failed."
    )
    seconds = forms.IntegerField(label="Longest time, in seconds", required=False)
    memory_mb = forms.IntegerField(label="Memory, in MB", required=False)
    output_mb = forms.IntegerField(label="Output, in MB", required=False)
    processes = forms.IntegerField(label="Processes", required=False)
    log_mb = forms.IntegerField(label="Log, in MB", required=False)
    budget = forms.CharField(
        label="Budget, in dollars",
        required=False,
        max_length=20,
        help_text="It never costs more. What is done by then is kept.",
        widget=_line("1.50", inputmode="decimal", autocomplete="off"),
    )
    keep_days = forms.IntegerField(
        label="Keep outputs, in days", required=False, min_value=1, max_value=365, initial=30
    )

    use_required_attribute = False  # browsers would wait for what is not shown

    def __init__(self, *args: Any, owner: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        usable = workspaces_of(owner).filter(state__in=Workspace.TAKES_RUNS)
        scripts = script_names(owner)
        self._names = {workspace.pk: workspace.name for workspace in usable} | dict(scripts)
        self._choose("workspace", [(w.pk, f"{w.name} ({WORKSPACE[w.state].label.lower()})") for w in usable])
        self._choose("script", scripts)
        done = jobs_of(owner).exclude(index_key="").filter(outputs_deleted_at=None)[:_INPUT_JOBS]
        self._choose("input_job", [(job.pk, f"{job.name} ({job.output_files} files)") for job in done])
        if self.is_bound:
            self.fields["url"].required = self["kind"].value() == "stac"
            self.fields["urls"].required = self["kind"].value() == "urls"
        for key, (default, least, most) in LIMITS.items():
            self.fields[key].widget.attrs |= {"placeholder": str(default), "min": least, "max": most}

    def _choose(self, name: str, found: Sequence[tuple[str, str]]) -> None:
        field = self.fields[name]
        if isinstance(field, forms.ChoiceField):
            field.choices = list(found)

    def clean_arguments(self) -> list[str]:
        """The words of the line, split as a shell does."""
        try:
            return shlex.split(self.cleaned_data["arguments"])
        except ValueError as error:
            raise forms.ValidationError("A quote is opened and not closed.") from error

    def clean_environment(self) -> dict[str, str]:
        """Names and their values."""
        return _read(pairs, self.cleaned_data["environment"])

    def clean_query(self) -> dict[str, Any]:
        """What properties must be."""
        return _read(conditions, self.cleaned_data["query"])

    def clean(self) -> dict[str, Any]:
        """All four sides of a box, or none."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        sides = [given.get(side) for side in CORNERS]
        if given.get("kind") == "stac" and any(side is not None for side in sides):
            for side in CORNERS:
                if given.get(side) is None and side not in self.errors:
                    self.add_error(side, "A box needs all four sides.")
        return given

    def submission(self) -> dict[str, Any]:
        """What is submitted, of a form that is valid: what was said, and no more."""
        given = self.cleaned_data
        shards = {key: given[name] for key, name in SHARD_FIELDS.items() if given[name] is not None}
        if given["by"] not in ("", "count"):
            shards = {"by": given["by"], **shards}
        parts = {
            "name": given["name"],
            "workspace": given["workspace"],
            "script": given["script"],
            "version": given["version"],
            "arguments": given["arguments"],
            "environment": given["environment"],
            "secrets": words(given["secrets"]),
            "container": self._container(),
            **self._data(),
            "nodes": given["nodes"],
            "shards": shards,
            "limits": {key: given[key] for key in LIMITS if given.get(key) is not None},
            "retries": {} if given["retries"] in (None, 1) else {"count": given["retries"]},
            "budget": given["budget"],
            "keep_days": None if given["keep_days"] == 30 else given["keep_days"],
        }
        return {name: value for name, value in parts.items() if value not in (None, "", [], {})}

    def written(self) -> dict[str, Any]:
        """The same as a person writes it: names instead of ids."""
        found = self.submission()
        return found | {name: self._names.get(found[name], found[name]) for name in ("workspace", "script")}

    def _container(self) -> dict[str, Any]:
        given = self.cleaned_data
        kind = given["container"]
        if kind not in {"image", "dockerfile"}:
            return {}
        return {kind: given[kind], **({"network": True} if given["network"] else {})}

    def _data(self) -> dict[str, Any]:
        given = self.cleaned_data
        kind = given["kind"]
        if kind == "job":
            return {"input_job": given["input_job"] or "none"}
        pays = {"requester_pays": True} if given["requester_pays"] else {}
        if kind == "urls":
            return {"data": {"kind": kind, "urls": lines(given["urls"]), **pays}}
        limit = {"limit": given["limit"]} if given["limit"] else {}
        if kind == "bucket":
            where = "url" if given["key_prefix"].startswith("s3://") else "prefix"
            pattern = {"pattern": given["pattern"]} if given["pattern"] else {}
            return {"data": {"kind": kind, where: given["key_prefix"], **pattern, **limit, **pays}}
        return {"data": {"kind": kind, "url": given["url"], **self._wanted(), **limit, **pays}}

    def _wanted(self) -> dict[str, Any]:
        """Which items of a catalogue."""
        given = self.cleaned_data
        box = [given[side] for side in CORNERS]
        times = [given["since"], given["until"]]
        parts = {
            "collections": words(given["collections"]),
            "bbox": [] if None in box else box,
            "time": [time.strip() or ".." for time in times] if any(times) else [],
            "query": given["query"],
            "assets": words(given["assets"]),
        }
        return {name: value for name, value in parts.items() if value}

    @property
    def has_more(self) -> bool:
        """Whether something was said about variables, so that it is shown."""
        return self._says("environment", "secrets")

    @property
    def has_limits(self) -> bool:
        """The same for limits."""
        return self._says(*LIMITS, "shard_number", "most_items", "most_mb", "retries")

    def _says(self, *names: str) -> bool:
        usual = {name: self.fields[name].initial for name in names}
        return any(self[name].errors or str(self[name].value() or "") not in ("", str(usual[name])) for name in names)


def _read(parse: Callable[[str], dict[str, Any]], text: str) -> dict[str, Any]:
    try:
        return parse(text)
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error
