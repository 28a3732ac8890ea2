"""A workspace's files for programs: names, and links that carry the bytes."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from portal.accounts.current import current_user
from portal.core.idempotency import idempotent
from portal.core.requests import given
from portal.workspaces import files
from portal.workspaces.models import Workspace
from portal.workspaces.selectors import workspace_get

_NO_STORE = {"Cache-Control": "no-store"}


class FileEntryOut(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="Below `files/` in the bucket; a folder's ends with a slash.")
    kind = serializers.ChoiceField(choices=[("file", "file"), ("folder", "folder")])
    size = serializers.IntegerField(allow_null=True, help_text="Bytes; none for a folder.")
    modified = serializers.DateTimeField(allow_null=True)


class FilePageOut(serializers.Serializer[Any]):
    next = serializers.CharField(allow_null=True, help_text="The address of the next page.")
    results = FileEntryOut(many=True)


class FileLinkOut(serializers.Serializer[Any]):
    url = serializers.CharField(help_text="Works for a quarter of an hour.")


class FilePathIn(serializers.Serializer[Any]):
    path = serializers.CharField(max_length=files.LONGEST_PATH, trim_whitespace=False)


class UploadIn(FilePathIn):
    size = serializers.IntegerField(min_value=0, max_value=files.LARGEST, help_text="Bytes.")


class UploadOut(serializers.Serializer[Any]):
    path = serializers.CharField()
    upload_id = serializers.CharField(allow_blank=True, help_text="Empty where the file is sent whole.")
    part_bytes = serializers.IntegerField(help_text="Bytes of each part but the last.")
    part_count = serializers.IntegerField()
    urls = serializers.ListField(
        child=serializers.CharField(), help_text="Where to PUT the first parts; each works for a quarter of an hour."
    )


class UploadedIn(FilePathIn):
    upload_id = serializers.CharField(max_length=1024)


class UploadLinksIn(UploadedIn):
    first = serializers.IntegerField(min_value=1, max_value=files.MOST_PARTS, help_text="Parts count from 1.")
    count = serializers.IntegerField(min_value=1, max_value=files.LINKS_AT_ONCE, default=1)


class UploadLinksOut(serializers.Serializer[Any]):
    urls = serializers.ListField(child=serializers.CharField())


class UploadCompleteIn(UploadedIn):
    etags = serializers.ListField(
        child=serializers.CharField(max_length=200),
        min_length=1,
        max_length=files.MOST_PARTS,
        help_text="The `ETag` header of the answer to each part, in order.",
    )


class _FilesView(APIView):
    def workspace(self, request: Request, workspace_id: str) -> Workspace:
        return workspace_get(owner=current_user(request), workspace_id=workspace_id)


class FileList(_FilesView):
    @extend_schema(
        parameters=[
            OpenApiParameter("prefix", str, description="How the paths begin; a folder ends with a slash."),
            OpenApiParameter("recursive", bool, description="Everything below, not only to the next slash."),
            OpenApiParameter("cursor", str, description="From `next` of the page before."),
        ],
        responses=FilePageOut,
    )
    def get(self, request: Request, workspace_id: str) -> Response:
        """Your files in the workspace's bucket, by name, 1,000 at a time."""
        asked = request.query_params
        page = files.files_list(
            workspace=self.workspace(request, workspace_id),
            prefix=asked.get("prefix", ""),
            recursive=asked.get("recursive", "").lower() in {"true", "1", "yes"},
            cursor=asked.get("cursor", ""),
        )
        following = replace_query_param(request.build_absolute_uri(), "cursor", page.next) if page.next else None
        return Response(FilePageOut({"next": following, "results": page.entries}).data)

    @extend_schema(
        parameters=[OpenApiParameter("path", str, required=True, description="The file.")], responses={204: None}
    )
    def delete(self, request: Request, workspace_id: str) -> Response:
        """Delete a file."""
        workspace, asked = self.workspace(request, workspace_id), request.query_params.get("path", "")
        files.file_delete(workspace=workspace, path=asked, by=current_user(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class FileLink(_FilesView):
    @extend_schema(
        parameters=[OpenApiParameter("path", str, required=True, description="The file.")], responses=FileLinkOut
    )
    def get(self, request: Request, workspace_id: str) -> Response:
        """A link to get a file from."""
        workspace, asked = self.workspace(request, workspace_id), request.query_params.get("path", "")
        return Response({"url": files.file_link(workspace=workspace, path=asked)}, headers=_NO_STORE)


class FileUpload(_FilesView):
    @extend_schema(request=UploadIn, responses={201: UploadOut})
    @idempotent
    def post(self, request: Request, workspace_id: str) -> Response:
        """Links to PUT a file to: whole, or in parts where `part_count` is more than 1."""
        workspace = self.workspace(request, workspace_id)
        begun = files.upload_begin(workspace=workspace, by=current_user(request), **given(UploadIn, request))
        return Response(UploadOut(begun).data, status=status.HTTP_201_CREATED, headers=_NO_STORE)


class FileUploadLinks(_FilesView):
    @extend_schema(request=UploadLinksIn, responses=UploadLinksOut)
    def post(self, request: Request, workspace_id: str) -> Response:
        """Links to PUT further parts to, or the same again."""
        workspace = self.workspace(request, workspace_id)
        urls = files.upload_links(workspace=workspace, **given(UploadLinksIn, request))
        return Response({"urls": urls}, headers=_NO_STORE)


class FileUploadComplete(_FilesView):
    @extend_schema(request=UploadCompleteIn, responses=FileEntryOut)
    def post(self, request: Request, workspace_id: str) -> Response:
        """Make the file of its parts."""
        workspace = self.workspace(request, workspace_id)
        return Response(
            FileEntryOut(files.upload_complete(workspace=workspace, **given(UploadCompleteIn, request))).data
        )


class FileUploadAbort(_FilesView):
    @extend_schema(request=UploadedIn, responses={204: None})
    def post(self, request: Request, workspace_id: str) -> Response:
        """Throw away the parts of an upload that will not be completed."""
        files.upload_abort(workspace=self.workspace(request, workspace_id), **given(UploadedIn, request))
        return Response(status=status.HTTP_204_NO_CONTENT)


_files = "workspaces/<slug:workspace_id>/files/"
urlpatterns = [
    path(_files, FileList.as_view(), name="api_files"),
    path(_files + "link/", FileLink.as_view(), name="api_file_link"),
    path(_files + "uploads/", FileUpload.as_view(), name="api_file_upload"),
    path(_files + "uploads/links/", FileUploadLinks.as_view(), name="api_file_upload_links"),
    path(_files + "uploads/complete/", FileUploadComplete.as_view(), name="api_file_upload_complete"),
    path(_files + "uploads/abort/", FileUploadAbort.as_view(), name="api_file_upload_abort"),
]
