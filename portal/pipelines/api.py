"""Runs for programs."""

from __future__ import annotations

import json
from typing import Any

from django.http.response import HttpResponseBase
from django.urls import path
from django_filters.rest_framework import CharFilter, FilterSet, IsoDateTimeFilter
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents.orca_agent import protocol
from portal.accounts.current import current_user
from portal.accounts.models import User
from portal.core.idempotency import idempotent
from portal.core.requests import given
from portal.core.streams import Event, stream
from portal.pipelines import again, selectors, services
from portal.pipelines.models import FINAL, Run, Step
from portal.pipelines.scripts_api import FileOut
from portal.workspaces.selectors import workspace_get


class OutputOut(FileOut):
    content_type = serializers.CharField()


class StepOut(serializers.ModelSerializer[Step]):
    version = serializers.CharField(source="version_id")
    script_version = serializers.IntegerField(source="version.number")
    workspace = serializers.CharField(source="workspace_id")
    needs = serializers.ListField(
        child=serializers.CharField(), help_text="Keys of the steps that must end well first."
    )
    retries = serializers.DictField(help_text="count, backoff_seconds, exit_codes; empty for none.")
    tries = serializers.ListField(child=serializers.DictField(), help_text="How the earlier tries ended.")
    origin = serializers.CharField(
        source="origin_id", allow_null=True, help_text="The step that was done in its place."
    )
    outputs = serializers.SerializerMethodField()
    seconds = serializers.FloatField(allow_null=True)

    class Meta:
        model = Step
        fields = (
            "id",
            "position",
            "name",
            "key",
            "needs",
            "workspace",
            "version",
            "script_version",
            "arguments",
            "environment",
            "limits",
            "secrets",
            "retries",
            "tries",
            "retry_at",
            "origin",
            "state",
            "attempt",
            "instance_id",
            "created_at",
            "released_at",
            "started_at",
            "finished_at",
            "seconds",
            "exit_code",
            "signal",
            "reason",
            "message",
            "peak_memory_mb",
            "cpu_seconds",
            "log_lines",
            "log_bytes",
            "log_truncated",
            "outputs",
            "outputs_truncated",
        )

    @extend_schema_field(OutputOut(many=True))
    def get_outputs(self, step: Step) -> Any:
        return step.outputs


class RunBrief(serializers.ModelSerializer[Run]):
    workspace = serializers.CharField(source="workspace_id")
    script = serializers.CharField(source="script_id", allow_null=True)
    pipeline = serializers.CharField(source="pipeline_id", allow_null=True)
    again_of = serializers.CharField(source="again_of_id", allow_null=True)
    parameters = serializers.DictField()
    seconds = serializers.FloatField(allow_null=True)

    class Meta:
        model = Run
        fields = (
            "id",
            "name",
            "state",
            "workspace",
            "script",
            "pipeline",
            "again_of",
            "parameters",
            "held",
            "due_at",
            "via",
            "created_at",
            "started_at",
            "finished_at",
            "seconds",
            "cancel_requested_at",
        )


class RunOut(RunBrief):
    steps = StepOut(many=True)

    class Meta(RunBrief.Meta):
        fields = (*RunBrief.Meta.fields, "steps")  # type: ignore[assignment]


class RunIn(serializers.Serializer[Any]):
    workspace = serializers.CharField(max_length=26)
    script = serializers.CharField(max_length=26)
    version = serializers.IntegerField(required=False, min_value=1, help_text="The newest unless given.")
    name = serializers.CharField(required=False, default="", allow_blank=True, max_length=120)
    arguments = serializers.ListField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False, max_length=services.MOST_CHARACTERS),
        required=False,
        default=list,
        max_length=services.MOST_ARGUMENTS,
    )
    environment = serializers.DictField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False), required=False, default=dict
    )
    secrets = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        default=list,
        max_length=protocol.MAX_SECRETS,
        help_text="Names of secrets of the workspace, given as environment variables and as files in $ORCA_SECRETS.",
    )
    limits = serializers.DictField(
        child=serializers.IntegerField(),
        required=False,
        default=dict,
        help_text="Any of: "
        + ", ".join(f"{key} (default {default})" for key, (default, _, _) in services.LIMITS.items()),
    )


class LineOut(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    stream = serializers.CharField(help_text="out, err, or orca")
    at = serializers.FloatField(help_text="Seconds since the epoch.")
    text = serializers.CharField()


class LinkOut(serializers.Serializer[Any]):
    url = serializers.CharField(help_text="Works for a quarter of an hour.")


class RunFilter(FilterSet):  # type: ignore[misc]  # django-filter has no types
    """Ids are compared, not looked up: what is another's is no other answer than what is not there."""

    workspace = CharFilter(field_name="workspace_id")
    script = CharFilter(field_name="script_id")
    pipeline = CharFilter(field_name="pipeline_id")
    name = CharFilter(lookup_expr="icontains", help_text="Part of its name.")
    since = IsoDateTimeFilter(field_name="created_at", lookup_expr="gte", help_text="Asked for then or later.")
    until = IsoDateTimeFilter(field_name="created_at", lookup_expr="lt", help_text="Asked for before.")

    class Meta:
        model = Run
        fields = ("state", "workspace", "script", "pipeline", "via")


class RunList(generics.ListAPIView[Run]):
    """Your runs, newest first."""

    serializer_class = RunBrief
    filterset_class = RunFilter

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Run.objects.none()
        return selectors.runs_of(current_user(self.request))

    @extend_schema(request=RunIn, responses={201: RunOut})
    @idempotent
    def post(self, request: Request) -> Response:
        """Run a script. It is accepted at once, and ends in a final state whatever happens."""
        owner, fields = current_user(request), given(RunIn, request)
        script = selectors.script_get(owner=owner, script_id=fields.pop("script"))
        run = services.run_create(
            owner=owner,
            workspace=workspace_get(owner=owner, workspace_id=fields.pop("workspace")),
            version=selectors.version_get(script=script, number=fields.pop("version", None)),
            via=Run.Via.API,
            **fields,
        )
        return Response(RunOut(selectors.with_steps(run)).data, status=status.HTTP_201_CREATED)


def _run_out(owner: User, run_id: str) -> Any:
    return RunOut(selectors.run_get(owner=owner, run_id=run_id)).data


class RunView(APIView):
    @extend_schema(responses=RunOut)
    def get(self, request: Request, run_id: str) -> Response:
        """One run with its steps."""
        return Response(_run_out(current_user(request), run_id))


class EventStream(BaseRenderer):
    """Lets a client ask for ``text/event-stream``; problems are told as JSON all the same."""

    media_type = "text/event-stream"
    format = "events"
    charset = None

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        """The body of a problem."""
        return json.dumps(data).encode()


class RunFollowed:
    """A run that a program follows: an event ``run`` with the whole run whenever it has changed, then ``end``."""

    def __init__(self, owner: User, run_id: str) -> None:
        self.topics = (f"run:{run_id}",)
        self.over = False
        self._ask = (owner, run_id)
        self._told: Any = None

    def news(self) -> list[Event]:
        """The run, if it is not as it was."""
        run = _run_out(*self._ask)
        self.over = run["state"] in FINAL
        clockless = {**run, "seconds": None, "steps": [{**step, "seconds": None} for step in run["steps"]]}
        if clockless == self._told:
            return []
        self._told = clockless
        return [Event("run", run)]


class RunEvents(APIView):
    renderer_classes = (EventStream, JSONRenderer)

    @extend_schema(responses={(200, "text/event-stream"): OpenApiTypes.STR})
    def get(self, request: Request, run_id: str) -> HttpResponseBase:
        """Follow a run: server-sent events `run` (as one run is answered) whenever it changes; `end` is the last."""
        owner = current_user(request)
        selectors.run_require(owner=owner, run_id=run_id)
        return stream(RunFollowed(owner, run_id))


class RunCancel(APIView):
    @extend_schema(request=None, responses={202: RunOut})
    def post(self, request: Request, run_id: str) -> Response:
        """Stop a run. What has begun is told to end, and killed if it does not."""
        owner = current_user(request)
        services.run_cancel(run=selectors.run_get(owner=owner, run_id=run_id), by=owner)
        return Response(_run_out(owner, run_id), status=status.HTTP_202_ACCEPTED)


class RunAgain(APIView):
    @extend_schema(request=None, responses={201: RunOut})
    @idempotent
    def post(self, request: Request, run_id: str) -> Response:
        """The same once more."""
        owner = current_user(request)
        run = again.run_again(run=selectors.run_get(owner=owner, run_id=run_id), by=owner, via=Run.Via.API)
        return Response(RunOut(selectors.with_steps(run)).data, status=status.HTTP_201_CREATED)


def _step(request: Request, run_id: str, step_id: str) -> Step:
    return selectors.step_get(run=selectors.run_get(owner=current_user(request), run_id=run_id), step_id=step_id)


def _number(asked: str) -> int | None:
    return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else None


class StepLog(APIView):
    @extend_schema(
        parameters=[
            OpenApiParameter("after", int, description="Only lines after this number."),
            OpenApiParameter("execution", int, description="Of this one of the step's `tries`; else of the latest."),
        ],
        responses=LineOut(many=True),
    )
    def get(self, request: Request, run_id: str, step_id: str) -> Response:
        """Lines of a step's log, at most 5,000 at a time; ask again with ``after``."""
        after, execution = (_number(request.query_params.get(name, "")) for name in ("after", "execution"))
        lines = selectors.log_lines(_step(request, run_id, step_id), after=after or 0, execution=execution)
        return Response([vars(line) for line in lines])


class StepLogLink(APIView):
    @extend_schema(responses=LinkOut)
    def get(self, request: Request, run_id: str, step_id: str) -> Response:
        """A link to the whole log, once the step has ended."""
        return Response({"url": services.log_link(step=_step(request, run_id, step_id))})


class StepOutputLink(APIView):
    @extend_schema(
        parameters=[OpenApiParameter("path", str, required=True, description="The output's path.")],
        responses=LinkOut,
    )
    def get(self, request: Request, run_id: str, step_id: str) -> Response:
        """A link to an output."""
        step = _step(request, run_id, step_id)
        return Response({"url": selectors.output_link(step, request.query_params.get("path", ""))})


_run = "runs/<slug:run_id>/"
_step_path = _run + "steps/<slug:step_id>/"
urlpatterns = [
    path("runs/", RunList.as_view(), name="api_runs"),
    path(_run, RunView.as_view(), name="api_run"),
    path(_run + "events/", RunEvents.as_view(), name="api_run_events"),
    path(_run + "cancel/", RunCancel.as_view(), name="api_run_cancel"),
    path(_run + "again/", RunAgain.as_view(), name="api_run_again"),
    path(_step_path + "log/", StepLog.as_view(), name="api_step_log"),
    path(_step_path + "log/link/", StepLogLink.as_view(), name="api_step_log_link"),
    path(_step_path + "outputs/link/", StepOutputLink.as_view(), name="api_step_output_link"),
]
