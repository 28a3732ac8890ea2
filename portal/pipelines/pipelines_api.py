"""REST: pipelines, as YAML; and what only their runs can: to be retried from where they failed."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.current import current_user
from portal.core.idempotency import idempotent
from portal.core.requests import given
from portal.pipelines import again, definitions, pipelines, selectors
from portal.pipelines.api import RunOut
from portal.pipelines.models import Pipeline, PipelineVersion, Run
from portal.pipelines.yaml_source import MOST_CHARACTERS


class SourceIn(serializers.Serializer[Any]):
    source = serializers.CharField(  # type: ignore[assignment]  # a field's own name for something else
        trim_whitespace=False, max_length=MOST_CHARACTERS, help_text="YAML, as `/pipelines/schema/` says."
    )


class ProblemOut(serializers.Serializer[Any]):
    line = serializers.IntegerField()
    column = serializers.IntegerField()
    field = serializers.CharField(help_text="`steps.2.needs`; empty where it is of the whole.")
    message = serializers.CharField()


class ProblemsOut(serializers.Serializer[Any]):
    errors = ProblemOut(many=True)  # type: ignore[assignment]  # as above


class PipelineOut(serializers.ModelSerializer[Pipeline]):
    workspace = serializers.CharField(source="workspace_id")
    latest = serializers.IntegerField(help_text="Number of the newest version.")
    last_run = serializers.CharField(allow_null=True)
    last_state = serializers.CharField(allow_null=True)
    last_run_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        model = Pipeline
        fields = (
            "id",
            "name",
            "description",
            "workspace",
            "concurrency",
            "latest",
            "last_run",
            "last_state",
            "last_run_at",
            "created_at",
        )


class PipelineVersionOut(serializers.ModelSerializer[PipelineVersion]):
    pipeline = serializers.CharField(source="pipeline_id")
    definition = serializers.DictField()

    class Meta:
        model = PipelineVersion
        fields = ("id", "pipeline", "number", "source", "definition", "created_at")


class PipelineRunIn(serializers.Serializer[Any]):
    parameters = serializers.DictField(
        child=serializers.CharField(trim_whitespace=False, allow_blank=True), required=False, default=dict
    )


class PipelineList(generics.ListAPIView[Pipeline]):
    """Your pipelines, newest first."""

    serializer_class = PipelineOut
    filterset_fields = ("name",)

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Pipeline.objects.none()
        return selectors.pipelines_of(current_user(self.request))

    @extend_schema(request=SourceIn, responses={200: PipelineVersionOut, 201: PipelineVersionOut})
    @idempotent
    def post(self, request: Request) -> Response:
        """Save a pipeline under the name that the YAML gives it. 200, and no new version, where nothing has changed."""
        _, version, changed = pipelines.pipeline_apply(owner=current_user(request), **given(SourceIn, request))
        code = status.HTTP_201_CREATED if changed else status.HTTP_200_OK
        return Response(PipelineVersionOut(version).data, status=code)


class PipelineValidate(APIView):
    @extend_schema(request=SourceIn, responses=ProblemsOut)
    def post(self, request: Request) -> Response:
        """Everything that is wrong with a pipeline's YAML, in the order of its lines. Saves nothing."""
        found = pipelines.pipeline_check(owner=current_user(request), **given(SourceIn, request))
        return Response({"errors": [vars(problem) for problem in found]})


class PipelineSchema(APIView):
    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """The JSON Schema of a pipeline."""
        return Response(definitions.schema())


class PipelineView(APIView):
    @extend_schema(responses=PipelineOut)
    def get(self, request: Request, pipeline_id: str) -> Response:
        """One pipeline."""
        found = selectors.pipeline_get(owner=current_user(request), pipeline_id=pipeline_id)
        return Response(PipelineOut(found).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pipeline_id: str) -> Response:
        """Take a pipeline out of sight. Its runs stay. Refused while one is open."""
        by = current_user(request)
        pipelines.pipeline_archive(pipeline=selectors.pipeline_get(owner=by, pipeline_id=pipeline_id), by=by)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PipelineVersions(generics.ListAPIView[PipelineVersion]):
    """The versions of a pipeline, newest first."""

    serializer_class = PipelineVersionOut
    filterset_fields = ("number",)

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return PipelineVersion.objects.none()
        owner = current_user(self.request)
        return selectors.pipeline_get(owner=owner, pipeline_id=self.kwargs["pipeline_id"]).versions.all()


class PipelineRuns(APIView):
    @extend_schema(request=PipelineRunIn, responses={201: RunOut})
    @idempotent
    def post(self, request: Request, pipeline_id: str) -> Response:
        """Run the newest version."""
        owner = current_user(request)
        run = pipelines.pipeline_run(
            pipeline=selectors.pipeline_get(owner=owner, pipeline_id=pipeline_id),
            by=owner,
            via=Run.Via.API,
            **given(PipelineRunIn, request),
        )
        return _made(run)


class RunRetry(APIView):
    @extend_schema(request=None, responses={201: RunOut})
    @idempotent
    def post(self, request: Request, run_id: str) -> Response:
        """Run again from where it failed: what had ended well is taken over."""
        owner = current_user(request)
        run = selectors.run_get(owner=owner, run_id=run_id)
        return _made(again.run_retry(run=run, by=owner, via=Run.Via.API))


class StepAgain(APIView):
    @extend_schema(request=None, responses={201: RunOut})
    @idempotent
    def post(self, request: Request, run_id: str, step_id: str) -> Response:
        """Do one step of a pipeline's run again, with what the steps before it had left."""
        owner = current_user(request)
        step = selectors.step_get(run=selectors.run_get(owner=owner, run_id=run_id), step_id=step_id)
        return _made(again.step_again(step=step, by=owner, via=Run.Via.API))


def _made(run: Run) -> Response:
    return Response(RunOut(selectors.with_steps(run)).data, status=status.HTTP_201_CREATED)


_pipeline = "pipelines/<slug:pipeline_id>/"
urlpatterns = [
    path("pipelines/", PipelineList.as_view(), name="api_pipelines"),
    path("pipelines/validate/", PipelineValidate.as_view(), name="api_pipeline_validate"),
    path("pipelines/schema/", PipelineSchema.as_view(), name="api_pipeline_schema"),
    path(_pipeline, PipelineView.as_view(), name="api_pipeline"),
    path(_pipeline + "versions/", PipelineVersions.as_view(), name="api_pipeline_versions"),
    path(_pipeline + "runs/", PipelineRuns.as_view(), name="api_pipeline_runs"),
    path("runs/<slug:run_id>/retry/", RunRetry.as_view(), name="api_run_retry"),
    path("runs/<slug:run_id>/steps/<slug:step_id>/again/", StepAgain.as_view(), name="api_step_again"),
]
