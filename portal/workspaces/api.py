"""Workspaces for programs."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.current import current_user
from portal.clouds.selectors import account_chosen
from portal.core.idempotency import idempotent
from portal.core.requests import given
from portal.workspaces import files_api, secrets, selectors, services, terraform_runs
from portal.workspaces.models import Instance, Secret, TerraformRun, Workspace


class InstanceOut(serializers.ModelSerializer[Instance]):
    class Meta:
        model = Instance
        fields = (
            "instance_id",
            "state",
            "instance_type",
            "public_ip",
            "private_ip",
            "agent_version",
            "slots",
            "cpus",
            "memory_mb",
            "memory_free_mb",
            "disk_free_mb",
            "load",
            "engine",
            "running",
            "ssh_host_keys",
            "registered_at",
            "heartbeat_at",
        )


class TerraformRunOut(serializers.ModelSerializer[TerraformRun]):
    workspace = serializers.CharField(source="workspace_id")
    seconds = serializers.FloatField(allow_null=True)

    class Meta:
        model = TerraformRun
        fields = (
            "id",
            "workspace",
            "operation",
            "state",
            "review",
            "to_add",
            "to_change",
            "to_destroy",
            "resources_done",
            "changes",
            "error_code",
            "error_message",
            "error_hint",
            "created_at",
            "started_at",
            "planned_at",
            "finished_at",
            "seconds",
        )


class SshOut(serializers.Serializer[Any]):
    command = serializers.CharField(help_text="Ready to paste.")
    host = serializers.CharField()
    port = serializers.IntegerField()
    user = serializers.CharField()
    known_hosts = serializers.ListField(child=serializers.CharField(), help_text="Lines for your known_hosts file.")


class WorkspaceOut(serializers.ModelSerializer[Workspace]):
    instances = serializers.SerializerMethodField()
    active_run = serializers.CharField(source="active_run_id", allow_null=True)
    ssh = serializers.SerializerMethodField()
    cloud_account = serializers.SerializerMethodField()

    class Meta:
        model = Workspace
        fields = (
            "id",
            "name",
            "cloud_account",
            "state",
            "state_reason",
            "state_changed_at",
            "instance_type",
            "instance_count",
            "volume_gb",
            "slots",
            "bucket",
            "data_kept",
            "active_run",
            "instances",
            "ssh",
            "ready_at",
            "stop_requested_at",
            "build_seconds",
            "created_at",
        )

    @extend_schema_field(InstanceOut(many=True))
    def get_instances(self, workspace: Workspace) -> Any:
        return InstanceOut(
            [i for i in workspace.instances.all() if i.state != Instance.State.TERMINATED], many=True
        ).data

    @extend_schema_field(serializers.CharField(allow_null=True, help_text="Your linked account; null for Orca's own."))
    def get_cloud_account(self, workspace: Workspace) -> str | None:
        return workspace.cloud_account_id if workspace.cloud_account.owner_id == workspace.owner_id else None

    @extend_schema_field(SshOut(allow_null=True))
    def get_ssh(self, workspace: Workspace) -> Any:
        found = selectors.ssh_address(workspace)
        return None if found is None else SshOut(found).data


class WorkspaceIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=60)
    instance_type = serializers.ChoiceField(choices=Workspace.Size.choices, required=False)
    volume_gb = serializers.IntegerField(min_value=8, max_value=1000, default=20)
    review = serializers.BooleanField(default=False, help_text="Stop after the plan until it is approved.")
    cloud_account = serializers.CharField(
        default="", allow_blank=True, help_text="Id of an account that you have linked; without it, Orca's own."
    )


class ApplyIn(serializers.Serializer[Any]):
    review = serializers.BooleanField(default=False, help_text="Stop after the plan until it is approved.")


class DestroyIn(serializers.Serializer[Any]):
    delete_data = serializers.BooleanField(default=False, help_text="Delete the bucket with everything in it, too.")
    confirm_name = serializers.CharField(
        default="", allow_blank=True, help_text="The workspace's name, to delete its data."
    )


class CredentialsOut(serializers.Serializer[Any]):
    access_key_id = serializers.CharField()
    secret_access_key = serializers.CharField()
    session_token = serializers.CharField()
    expires_at = serializers.DateTimeField()
    endpoint_url = serializers.CharField(allow_blank=True, help_text="Empty on AWS itself.")
    region = serializers.CharField()
    bucket = serializers.CharField()


class WorkspaceSecretOut(serializers.ModelSerializer[Secret]):
    created_by = serializers.EmailField(source="created_by.email", allow_null=True, default=None)
    changed_by = serializers.EmailField(source="changed_by.email", allow_null=True, default=None)

    class Meta:
        model = Secret
        fields = ("name", "created_at", "created_by", "changed_at", "changed_by")


class WorkspaceSecretIn(serializers.Serializer[Any]):
    value = serializers.CharField(
        trim_whitespace=False,
        allow_blank=True,
        write_only=True,
        help_text=f"{secrets.LEAST_BYTES} bytes to 64 KB of text. Nobody can read it here again.",
    )


class TerraformLineOut(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    level = serializers.CharField()
    kind = serializers.CharField()
    address = serializers.CharField()
    text = serializers.CharField()


class WorkspaceList(generics.ListAPIView[Workspace]):
    """Your workspaces."""

    serializer_class = WorkspaceOut
    filterset_fields = ("state", "name")

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Workspace.objects.none()
        return selectors.workspaces_of(current_user(self.request)).prefetch_related("instances")

    @extend_schema(request=WorkspaceIn, responses={202: WorkspaceOut})
    @idempotent
    def post(self, request: Request) -> Response:
        """Ask for a workspace. It is built in the background; watch its ``state``."""
        owner, wanted = current_user(request), given(WorkspaceIn, request)
        chosen = wanted.pop("cloud_account")
        account = account_chosen(owner=owner, account_id=chosen) if chosen else None
        made = services.workspace_create(owner=owner, cloud_account=account, **wanted)
        return Response(WorkspaceOut(made).data, status=status.HTTP_202_ACCEPTED)


class WorkspaceView(APIView):
    """One workspace."""

    @extend_schema(responses=WorkspaceOut)
    def get(self, request: Request, workspace_id: str) -> Response:
        return Response(
            WorkspaceOut(selectors.workspace_get(owner=current_user(request), workspace_id=workspace_id)).data
        )


class _Action(APIView):
    def workspace(self, request: Request, workspace_id: str) -> Workspace:
        return selectors.workspace_get(owner=current_user(request), workspace_id=workspace_id)

    def accepted(self, workspace: Workspace) -> Response:
        return Response(WorkspaceOut(workspace).data, status=status.HTTP_202_ACCEPTED)


class WorkspaceApply(_Action):
    @extend_schema(request=ApplyIn, responses={202: TerraformRunOut})
    @idempotent
    def post(self, request: Request, workspace_id: str) -> Response:
        """Bring the environment to what it should be: builds what is missing, mends what has drifted."""
        workspace = self.workspace(request, workspace_id)
        run = services.workspace_apply(workspace=workspace, by=current_user(request), **given(ApplyIn, request))
        return Response(TerraformRunOut(run).data, status=status.HTTP_202_ACCEPTED)


class WorkspaceDestroy(_Action):
    @extend_schema(request=DestroyIn, responses={202: TerraformRunOut})
    @idempotent
    def post(self, request: Request, workspace_id: str) -> Response:
        """Take the environment down. The data stays unless you say otherwise and repeat the workspace's name."""
        workspace = self.workspace(request, workspace_id)
        run = services.workspace_destroy(workspace=workspace, by=current_user(request), **given(DestroyIn, request))
        return Response(TerraformRunOut(run).data, status=status.HTTP_202_ACCEPTED)


class WorkspaceStop(_Action):
    @extend_schema(request=None, responses={202: WorkspaceOut})
    @idempotent
    def post(self, request: Request, workspace_id: str) -> Response:
        """Stop the instances; disks and data stay. While Terraform builds, that is noted and done as it has ended."""
        workspace = self.workspace(request, workspace_id)
        services.workspace_stop(workspace=workspace, by=current_user(request))
        return self.accepted(workspace)


class WorkspaceStart(_Action):
    @extend_schema(request=None, responses={202: WorkspaceOut})
    @idempotent
    def post(self, request: Request, workspace_id: str) -> Response:
        """Start the instances again, or take back a stop that waits for Terraform."""
        workspace = self.workspace(request, workspace_id)
        services.workspace_start(workspace=workspace, by=current_user(request))
        return self.accepted(workspace)


class WorkspaceCredentials(_Action):
    @extend_schema(request=None, responses=CredentialsOut)
    def post(self, request: Request, workspace_id: str) -> Response:
        """AWS credentials for an hour: the workspace's own bucket and nothing else. They are not kept anywhere."""
        workspace = self.workspace(request, workspace_id)
        lent = services.credentials_lend(workspace=workspace, by=current_user(request))
        place = selectors.cloud_address(workspace)
        return Response(CredentialsOut({**vars(lent), **place}).data, headers={"Cache-Control": "no-store"})


class SecretList(generics.ListAPIView[Secret]):
    """The names of a workspace's secrets. Values are never told."""

    serializer_class = WorkspaceSecretOut

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Secret.objects.none()
        workspace = selectors.workspace_get(owner=current_user(self.request), workspace_id=self.kwargs["workspace_id"])
        return secrets.secrets_of(workspace)


class SecretView(_Action):
    @extend_schema(request=WorkspaceSecretIn, responses={200: WorkspaceSecretOut, 201: WorkspaceSecretOut})
    def put(self, request: Request, workspace_id: str, secret_name: str) -> Response:
        """Add a secret, or give it another value. Steps that name it have it as an environment variable and a file."""
        secret, is_new = secrets.secret_put(
            workspace=self.workspace(request, workspace_id),
            name=secret_name,
            value=given(WorkspaceSecretIn, request)["value"],
            by=current_user(request),
        )
        return Response(
            WorkspaceSecretOut(secret).data, status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        )

    @extend_schema(responses={204: None})
    def delete(self, request: Request, workspace_id: str, secret_name: str) -> Response:
        """Delete a secret, at once and for good."""
        workspace = self.workspace(request, workspace_id)
        secrets.secret_delete(workspace=workspace, name=secret_name, by=current_user(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class TerraformRunList(generics.ListAPIView[TerraformRun]):
    """What Terraform did to a workspace, newest first."""

    serializer_class = TerraformRunOut
    filterset_fields = ("state", "operation")

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return TerraformRun.objects.none()
        workspace = selectors.workspace_get(owner=current_user(self.request), workspace_id=self.kwargs["workspace_id"])
        return workspace.terraform_runs.all()


class TerraformRunView(APIView):
    @extend_schema(responses=TerraformRunOut)
    def get(self, request: Request, run_id: str) -> Response:
        """One Terraform run with its plan."""
        return Response(TerraformRunOut(selectors.terraform_run_get(owner=current_user(request), run_id=run_id)).data)


class TerraformRunLines(APIView):
    @extend_schema(responses=TerraformLineOut(many=True))
    def get(self, request: Request, run_id: str) -> Response:
        """What Terraform said, in order (at most 5,000 lines)."""
        run = selectors.terraform_run_get(owner=current_user(request), run_id=run_id)
        return Response(TerraformLineOut(run.lines.all()[:5000], many=True).data)


class TerraformRunApprove(APIView):
    @extend_schema(request=None, responses={202: TerraformRunOut})
    def post(self, request: Request, run_id: str) -> Response:
        """Say yes to a plan that waits; exactly that plan is applied."""
        run = selectors.terraform_run_get(owner=current_user(request), run_id=run_id)
        terraform_runs.terraform_run_approve(run=run, by=current_user(request))
        return Response(TerraformRunOut(run).data, status=status.HTTP_202_ACCEPTED)


class TerraformRunCancel(APIView):
    @extend_schema(request=None, responses={202: TerraformRunOut})
    def post(self, request: Request, run_id: str) -> Response:
        """Stop a run, or refuse a plan that waits."""
        run = selectors.terraform_run_get(owner=current_user(request), run_id=run_id)
        terraform_runs.terraform_run_cancel(run=run, by=current_user(request))
        return Response(TerraformRunOut(run).data, status=status.HTTP_202_ACCEPTED)


_one = "workspaces/<slug:workspace_id>/"
_run = "terraform-runs/<slug:run_id>/"
urlpatterns = [
    path("workspaces/", WorkspaceList.as_view(), name="api_workspaces"),
    path(_one, WorkspaceView.as_view(), name="api_workspace"),
    path(_one + "apply/", WorkspaceApply.as_view(), name="api_workspace_apply"),
    path(_one + "destroy/", WorkspaceDestroy.as_view(), name="api_workspace_destroy"),
    path(_one + "stop/", WorkspaceStop.as_view(), name="api_workspace_stop"),
    path(_one + "start/", WorkspaceStart.as_view(), name="api_workspace_start"),
    path(_one + "credentials/", WorkspaceCredentials.as_view(), name="api_workspace_credentials"),
    path(_one + "secrets/", SecretList.as_view(), name="api_secrets"),
    path(_one + "secrets/<slug:secret_name>/", SecretView.as_view(), name="api_secret"),
    *files_api.urlpatterns,
    path(_one + "terraform-runs/", TerraformRunList.as_view(), name="api_terraform_runs"),
    path(_run, TerraformRunView.as_view(), name="api_terraform_run"),
    path(_run + "lines/", TerraformRunLines.as_view(), name="api_terraform_run_lines"),
    path(_run + "approve/", TerraformRunApprove.as_view(), name="api_terraform_run_approve"),
    path(_run + "cancel/", TerraformRunCancel.as_view(), name="api_terraform_run_cancel"),
]
