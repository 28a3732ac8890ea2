"""REST: jobs, their shards, and what comes out of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.urls import path
from django_filters import CharFilter, ChoiceFilter, FilterSet, NumberFilter
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.current import current_user
from portal.core.api import CursorPages
from portal.core.errors import Conflict, Invalid
from portal.core.idempotency import idempotent
from portal.core.requests import JsonParser
from portal.jobs import money, preview, selectors, services, submission
from portal.jobs.models import Job, Phase
from portal.pipelines.models import Run, State, Step
from portal.usage.money import written


@extend_schema_field({"type": "string", "description": "Dollars: 1.50."})
class DollarsField(serializers.IntegerField):
    """Nano-dollars, told in dollars."""

    def to_representation(self, value: Any) -> Any:
        """The amount as text."""
        return written(value)


class JobBrief(serializers.ModelSerializer[Job]):
    workspace = serializers.CharField(source="workspace_id")
    script = serializers.CharField(source="script_id")
    version = serializers.IntegerField(source="version.number", help_text="Of the script.")
    run = serializers.CharField(source="run_id", help_text="The run whose steps are the shards.")
    state = serializers.ChoiceField(State.choices)
    phase = serializers.ChoiceField(Phase.choices)
    input_job = serializers.CharField(source="input_job_id", allow_null=True)
    started_at = serializers.DateTimeField(source="run.started_at", allow_null=True)
    finished_at = serializers.DateTimeField(source="run.finished_at", allow_null=True)
    seconds = serializers.FloatField(source="run.seconds", allow_null=True)
    cancel_requested_at = serializers.DateTimeField(source="run.cancel_requested_at", allow_null=True)
    budget = DollarsField(allow_null=True, read_only=True)
    estimate = DollarsField(allow_null=True, read_only=True)
    estimate_most = DollarsField(allow_null=True, read_only=True)

    class Meta:
        model = Job
        fields = (
            "id",
            "name",
            "state",
            "phase",
            "reason",
            "message",
            "workspace",
            "script",
            "version",
            "run",
            "input_job",
            "nodes",
            "items",
            "bytes",
            "shards",
            "budget",
            "estimate",
            "estimate_most",
            "output_files",
            "output_bytes",
            "archive_bytes",
            "manifest_sha256",
            "expires_at",
            "outputs_deleted_at",
            "created_at",
            "started_at",
            "finished_at",
            "ended_at",
            "seconds",
            "cancel_requested_at",
        )


class ProgressOut(serializers.Serializer[Any]):
    shards = serializers.IntegerField()
    done = serializers.IntegerField(help_text="Have ended, well or ill.")
    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()
    percent = serializers.IntegerField()
    states = serializers.DictField(child=serializers.IntegerField(), help_text="How many shards are in which state.")


class JobOut(JobBrief):
    definition = serializers.DictField(help_text="The submission with all defaults.")
    progress = serializers.SerializerMethodField()
    cost = serializers.SerializerMethodField()

    class Meta(JobBrief.Meta):
        fields = (*JobBrief.Meta.fields, "cost", "definition", "progress")  # type: ignore[assignment]

    @extend_schema_field(ProgressOut)
    def get_progress(self, job: Job) -> Any:
        return ProgressOut(selectors.progress(job)).data

    @extend_schema_field({"type": "string", "description": "Dollars, until now; of all its runs where it was retried."})
    def get_cost(self, job: Job) -> Any:
        return written(money.cost(job).total)


class ShardOut(serializers.ModelSerializer[Step]):
    number = serializers.IntegerField(source="position")
    items = serializers.SerializerMethodField()
    tries = serializers.ListField(child=serializers.DictField(), help_text="How the earlier tries ended.")
    seconds = serializers.FloatField(allow_null=True)
    origin = serializers.CharField(source="origin_id", allow_null=True, help_text="It was done in an earlier run.")
    outputs = serializers.SerializerMethodField()

    class Meta:
        model = Step
        fields = (
            "id",
            "number",
            "name",
            "key",
            "state",
            "superseded",
            "items",
            "attempt",
            "executions",
            "tries",
            "origin",
            "instance_id",
            "exit_code",
            "reason",
            "message",
            "image",
            "bytes_in",
            "bytes_out",
            "outputs",
            "started_at",
            "finished_at",
            "seconds",
        )

    def get_items(self, step: Step) -> int:
        return int(step.data.get("items", 0))

    def get_outputs(self, step: Step) -> int:
        return len(step.outputs)


class FootprintOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    bbox = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    geometry = serializers.DictField(allow_null=True)
    datetime = serializers.CharField(allow_null=True)
    thumbnail = serializers.CharField(allow_null=True)


class PreviewOut(serializers.Serializer[Any]):
    items = serializers.IntegerField()
    bytes = serializers.IntegerField(help_text="As far as sizes are known.")
    sizes = serializers.ChoiceField(("told", "estimated", "unknown"), help_text="Where the bytes come from.")
    more = serializers.BooleanField(help_text="There are more: the search was ended early.")
    shards = serializers.IntegerField()
    bbox = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    begin = serializers.CharField(allow_null=True)
    end = serializers.CharField(allow_null=True)
    footprints = FootprintOut(many=True)
    histogram = serializers.ListField(child=serializers.DictField(), help_text="How many items are of which time.")
    assets = serializers.DictField(child=serializers.IntegerField(), help_text="How many items have which.")
    collections = serializers.DictField(child=serializers.IntegerField())
    warnings = serializers.ListField(child=serializers.CharField())
    estimate = DollarsField(allow_null=True, read_only=True)
    estimate_most = DollarsField(allow_null=True, read_only=True)


class JobLinkOut(serializers.Serializer[Any]):
    url = serializers.CharField(help_text="Works for an hour.")


class JobFilter(FilterSet):  # type: ignore[misc]  # django-filter has no types
    state = ChoiceFilter(field_name="run__state", choices=State.choices)
    workspace = CharFilter(field_name="workspace_id")
    script = CharFilter(field_name="script_id")
    name = CharFilter(lookup_expr="icontains", help_text="Part of its name.")

    class Meta:
        model = Job
        fields = ("phase",)


class ShardFilter(FilterSet):  # type: ignore[misc]
    number = NumberFilter(field_name="position", help_text="The shard with this number, and its twin if it has one.")

    class Meta:
        model = Step
        fields = ("state", "superseded")


class ShardPages(CursorPages):
    """In the order of the shards."""

    ordering = ("created_at", "id")


def _submitted(request: Request) -> Mapping[str, Any]:
    if not isinstance(request.data, Mapping):
        raise Invalid("A job is names with values.", fields={"": "This must be names with values."})
    return request.data


def _job(request: Request, job_id: str) -> Job:
    return selectors.job_get(owner=current_user(request), job_id=job_id)


def _out(request: Request, job_id: str) -> Any:
    return JobOut(_job(request, job_id)).data


class JobList(generics.ListAPIView[Job]):
    """Your jobs, newest first."""

    serializer_class = JobBrief
    filterset_class = JobFilter
    parser_classes = (JsonParser,)

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Job.objects.none()
        return selectors.jobs_of(current_user(self.request))

    @extend_schema(request=OpenApiTypes.OBJECT, responses={201: JobOut})
    @idempotent
    def post(self, request: Request) -> Response:
        """Submit a job, as `/jobs/schema/` says. It is accepted at once, and ends in a final state whatever happens."""
        job = services.job_submit(owner=current_user(request), submission=_submitted(request), via=Run.Via.API)
        return Response(_out(request, job.pk), status=status.HTTP_201_CREATED)


class JobSchema(APIView):
    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """The JSON Schema of a job."""
        return Response(submission.schema())


class JobPreview(APIView):
    parser_classes = (JsonParser,)

    @extend_schema(request=OpenApiTypes.OBJECT, responses=PreviewOut)
    def post(self, request: Request) -> Response:
        """What a job would work on and cost. Saves nothing."""
        found = preview.preview(owner=current_user(request), submission=_submitted(request))
        return Response(PreviewOut(found).data)


class JobErrorsOut(serializers.Serializer[Any]):
    errors = serializers.DictField(  # type: ignore[assignment]  # shadows what nobody reads of an answer
        child=serializers.CharField(), help_text="By field; empty, if it is good."
    )


class JobValidate(APIView):
    parser_classes = (JsonParser,)

    @extend_schema(request=OpenApiTypes.OBJECT, responses=JobErrorsOut)
    def post(self, request: Request) -> Response:
        """What is wrong with a job, field by field. Saves nothing, and looks for no data."""
        try:
            submission.submission_check(owner=current_user(request), submission=_submitted(request))
        except (Invalid, Conflict) as error:
            return Response({"errors": error.fields or {"": error.message}})
        return Response({"errors": {}})


class JobView(APIView):
    @extend_schema(responses=JobOut)
    def get(self, request: Request, job_id: str) -> Response:
        """One job, with how its shards fare."""
        return Response(_out(request, job_id))


class JobShards(generics.ListAPIView[Step]):
    """The shards of a job in their order."""

    serializer_class = ShardOut
    pagination_class = ShardPages
    filterset_class = ShardFilter

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Step.objects.none()
        return selectors.shards_of(_job(self.request, self.kwargs["job_id"]))


class JobCancel(APIView):
    @extend_schema(request=None, responses={202: JobOut})
    def post(self, request: Request, job_id: str) -> Response:
        """Stop a job. What came out so far is gathered."""
        services.job_cancel(job=_job(request, job_id), by=current_user(request))
        return Response(_out(request, job_id), status=status.HTTP_202_ACCEPTED)


class JobRetry(APIView):
    @extend_schema(request=None, responses={202: JobOut})
    @idempotent
    def post(self, request: Request, job_id: str) -> Response:
        """Try the shards again that did not end well, on the same data."""
        services.job_retry(job=_job(request, job_id), by=current_user(request), via=Run.Via.API)
        return Response(_out(request, job_id), status=status.HTTP_202_ACCEPTED)


class JobItems(APIView):
    @extend_schema(responses=JobLinkOut)
    def get(self, request: Request, job_id: str) -> Response:
        """A link to the list of items: JSON lines, in the order of the shards."""
        return Response({"url": selectors.manifest_link(_job(request, job_id))})


class JobOutputs(APIView):
    @extend_schema(responses=JobLinkOut)
    def get(self, request: Request, job_id: str) -> Response:
        """A link to the index of the outputs: which item gave which file."""
        return Response({"url": selectors.index_link(_job(request, job_id))})

    @extend_schema(responses={204: None})
    def delete(self, request: Request, job_id: str) -> Response:
        """Delete the outputs, and what the shards left."""
        services.outputs_delete(job=_job(request, job_id), by=current_user(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class JobArchive(APIView):
    @extend_schema(responses=JobLinkOut)
    def get(self, request: Request, job_id: str) -> Response:
        """A link to all outputs as one zip archive."""
        return Response({"url": selectors.archive_link(_job(request, job_id))})


_one = "jobs/<slug:job_id>/"
urlpatterns = [
    path("jobs/", JobList.as_view(), name="api_jobs"),
    path("jobs/schema/", JobSchema.as_view(), name="api_job_schema"),
    path("jobs/preview/", JobPreview.as_view(), name="api_job_preview"),
    path("jobs/validate/", JobValidate.as_view(), name="api_job_validate"),
    path(_one, JobView.as_view(), name="api_job"),
    path(_one + "shards/", JobShards.as_view(), name="api_job_shards"),
    path(_one + "cancel/", JobCancel.as_view(), name="api_job_cancel"),
    path(_one + "retry/", JobRetry.as_view(), name="api_job_retry"),
    path(_one + "items/", JobItems.as_view(), name="api_job_items"),
    path(_one + "outputs/", JobOutputs.as_view(), name="api_job_outputs"),
    path(_one + "archive/", JobArchive.as_view(), name="api_job_archive"),
]
