"""Scripts for programs."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.current import current_user
from portal.core.idempotency import idempotent
from portal.core.requests import given
from portal.pipelines import selectors, services
from portal.pipelines.bundles import PathUpload
from portal.pipelines.models import Script, ScriptVersion


class FileOut(serializers.Serializer[Any]):
    path = serializers.CharField()
    size = serializers.IntegerField(help_text="Bytes.")


class VersionOut(serializers.ModelSerializer[ScriptVersion]):
    script = serializers.CharField(source="script_id")
    files = FileOut(many=True)

    class Meta:
        model = ScriptVersion
        fields = (
            "id",
            "script",
            "number",
            "sha256",
            "size",
            "files",
            "entrypoint",
            "runtime",
            "requirements",
            "created_at",
        )


class ScriptOut(serializers.ModelSerializer[Script]):
    latest = serializers.IntegerField(allow_null=True, help_text="Number of the newest version.")
    run_count = serializers.IntegerField()
    last_run_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        model = Script
        fields = ("id", "name", "description", "latest", "run_count", "last_run_at", "created_at")


class VersionIn(serializers.Serializer[Any]):
    files = serializers.ListField(
        child=serializers.FileField(allow_empty_file=True),
        help_text="One file, several, or one zip.",
    )
    paths = serializers.ListField(
        child=serializers.CharField(trim_whitespace=False),
        required=False,
        default=list,
        help_text="Where each of the files lies, its own name included (`lib/a.py`): one path a file, in the files'"
        " order. Without paths all files lie side by side; a zip has its folders in it.",
    )
    entrypoint = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=200,
        help_text="The file to start, if not main.py.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The files under their paths, and no ``paths`` any more."""
        files, paths = attrs["files"], attrs.pop("paths")
        if not paths:
            return attrs
        if len(paths) != len(files):
            counted = f"Give one path for each file: these are {len(paths)} for {len(files)}."
            raise serializers.ValidationError({"paths": counted})
        placed = [PathUpload(file, path) for file, path in zip(files, paths, strict=True)]
        return attrs | {"files": placed}


class ScriptIn(VersionIn):
    name = serializers.CharField(max_length=80)
    description = serializers.CharField(required=False, default="", allow_blank=True, max_length=500)


class ScriptList(generics.ListAPIView[Script]):
    """Your scripts."""

    serializer_class = ScriptOut
    parser_classes = (MultiPartParser, FormParser)
    filterset_fields = ("name",)

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Script.objects.none()
        return selectors.scripts_of(current_user(self.request))

    @extend_schema(request={"multipart/form-data": ScriptIn}, responses={201: VersionOut})
    @idempotent
    def post(self, request: Request) -> Response:
        """Upload a new script."""
        fields = given(ScriptIn, request)
        version = services.script_create(owner=current_user(request), uploads=fields.pop("files"), **fields)
        return Response(VersionOut(version).data, status=status.HTTP_201_CREATED)


class ScriptView(APIView):
    @extend_schema(responses=ScriptOut)
    def get(self, request: Request, script_id: str) -> Response:
        """One script."""
        script = selectors.script_get(owner=current_user(request), script_id=script_id)
        return Response(ScriptOut(selectors.scripts_of(current_user(request)).get(pk=script.pk)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, script_id: str) -> Response:
        """Take a script out of sight. Its runs stay."""
        by = current_user(request)
        services.script_archive(script=selectors.script_get(owner=by, script_id=script_id), by=by)
        return Response(status=status.HTTP_204_NO_CONTENT)


class VersionList(generics.ListAPIView[ScriptVersion]):
    """The versions of a script, newest first."""

    serializer_class = VersionOut
    parser_classes = (MultiPartParser, FormParser)
    filterset_fields = ("number",)

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return ScriptVersion.objects.none()
        return selectors.script_get(owner=current_user(self.request), script_id=self.kwargs["script_id"]).versions.all()

    @extend_schema(request={"multipart/form-data": VersionIn}, responses={201: VersionOut})
    @idempotent
    def post(self, request: Request, script_id: str) -> Response:
        """Upload another version. The same files again give the version that is there."""
        script = selectors.script_get(owner=current_user(request), script_id=script_id)
        fields = given(VersionIn, request)
        version = services.script_version_add(
            script=script, by=current_user(request), uploads=fields["files"], entrypoint=fields["entrypoint"]
        )
        return Response(VersionOut(version).data, status=status.HTTP_201_CREATED)


urlpatterns = [
    path("scripts/", ScriptList.as_view(), name="api_scripts"),
    path("scripts/<slug:script_id>/", ScriptView.as_view(), name="api_script"),
    path("scripts/<slug:script_id>/versions/", VersionList.as_view(), name="api_script_versions"),
]
