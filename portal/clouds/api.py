"""Cloud accounts of one's own, for programs."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.current import current_user
from portal.clouds import links, selectors
from portal.clouds.models import CloudAccount
from portal.clouds.template import (
    module_archive,
    module_variables,
    orca_account_id,
    role_name_of,
    stack_link,
    template_body,
)
from portal.core.idempotency import idempotent
from portal.core.requests import given


class MissingOut(serializers.Serializer[Any]):
    action = serializers.CharField()
    resource = serializers.CharField()


class FindingOut(serializers.Serializer[Any]):
    key = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=["ok", "failed", "lacking", "skipped"])
    message = serializers.CharField(allow_blank=True)
    hint = serializers.CharField(allow_blank=True)
    missing = MissingOut(many=True)


class LivingOut(serializers.Serializer[Any]):
    id = serializers.CharField(source="pk")
    name = serializers.CharField()
    state = serializers.CharField()


class CloudAccountOut(serializers.ModelSerializer[CloudAccount]):
    checks = FindingOut(many=True)

    class Meta:
        model = CloudAccount
        fields = (
            "id",
            "name",
            "state",
            "account_id",
            "region",
            "role_arn",
            "external_id",
            "next_external_id",
            "registry",
            "checks",
            "checked_at",
            "linked_at",
            "unlinked_at",
            "created_at",
        )


class CloudAccountDetail(CloudAccountOut):
    orca_account_id = serializers.SerializerMethodField(help_text="Whom the role's trust policy has to name.")
    role_name = serializers.SerializerMethodField(help_text="What the role is to be called.")
    workspaces = serializers.SerializerMethodField(help_text="What lives there.")

    class Meta(CloudAccountOut.Meta):
        fields = (*CloudAccountOut.Meta.fields, "orca_account_id", "role_name", "workspaces")  # type: ignore[assignment]

    def get_orca_account_id(self, account: CloudAccount) -> str:
        return orca_account_id()

    def get_role_name(self, account: CloudAccount) -> str:
        return role_name_of(account)

    @extend_schema_field(LivingOut(many=True))
    def get_workspaces(self, account: CloudAccount) -> Any:
        return LivingOut(selectors.living_in(account), many=True).data


class CloudAccountIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    region = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=32, help_text="Orca's own, for now."
    )


class CheckIn(serializers.Serializer[Any]):
    role = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=200,
        help_text="The role's ARN, or the account's twelve digits; without it, the role that is known.",
    )


class RotationOut(serializers.Serializer[Any]):
    old = serializers.BooleanField(help_text="Whether the role lets Orca in with the old ExternalId.")
    new = serializers.BooleanField(help_text="Whether it does with the new one.")
    switched = serializers.BooleanField(help_text="Whether Orca uses the new one from now on.")


class UnlinkIn(serializers.Serializer[Any]):
    abandon = serializers.BooleanField(
        default=False, help_text="Also while workspaces live there: what is there stays in the account."
    )
    confirm_name = serializers.CharField(
        default="", allow_blank=True, help_text="The cloud account's name, to abandon workspaces."
    )


class SetupOut(serializers.Serializer[Any]):
    stack_url = serializers.CharField(help_text="Opens AWS's console with the CloudFormation stack filled in.")
    terraform_variables = serializers.CharField(help_text="terraform.tfvars for terraform/envs/link.")


class CloudAccountList(generics.ListAPIView[CloudAccount]):
    """The cloud accounts that you have linked, or begun to link."""

    serializer_class = CloudAccountOut
    filterset_fields = ("state", "name")

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return CloudAccount.objects.none()
        return selectors.accounts_of(current_user(self.request))

    @extend_schema(request=CloudAccountIn, responses={201: CloudAccountDetail})
    @idempotent
    def post(self, request: Request) -> Response:
        """Begin a link: Orca makes an ExternalId for it."""
        made = links.link_start(owner=current_user(request), **given(CloudAccountIn, request))
        return Response(CloudAccountDetail(made).data, status=status.HTTP_201_CREATED)


class _One(APIView):
    def account(self, request: Request, account_id: str) -> CloudAccount:
        return selectors.account_get(owner=current_user(request), account_id=account_id)


class CloudAccountView(_One):
    @extend_schema(responses=CloudAccountDetail)
    def get(self, request: Request, account_id: str) -> Response:
        """One cloud account, with what the last check found and what lives there."""
        return Response(CloudAccountDetail(self.account(request, account_id)).data)


class CloudAccountSetup(_One):
    @extend_schema(responses=SetupOut)
    def get(self, request: Request, account_id: str) -> Response:
        """What to take to your account: one click in AWS's console, or Terraform. One of them is enough."""
        account = self.account(request, account_id)
        shown = {"stack_url": stack_link(account), "terraform_variables": module_variables(account)}
        return Response(SetupOut(shown).data, headers={"Cache-Control": "no-store"})


class CloudAccountTemplate(_One):
    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, account_id: str) -> HttpResponse:
        """The CloudFormation template."""
        self.account(request, account_id)
        return HttpResponse(template_body(orca_account_id()), content_type="application/json")


class ZipRenderer(BaseRenderer):
    media_type = "application/zip"
    format = "zip"
    render_style = "binary"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> Any:
        return data


class CloudAccountModule(_One):
    renderer_classes = (JSONRenderer, ZipRenderer)

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request, account_id: str) -> HttpResponse:
        """The Terraform module `envs/link` with your link's variables filled in, as a zip."""
        found = module_archive(self.account(request, account_id))
        named = {"Content-Disposition": 'attachment; filename="orca-link.zip"'}
        return HttpResponse(found, content_type="application/zip", headers=named)


class CloudAccountCheck(_One):
    @extend_schema(request=CheckIn, responses=CloudAccountDetail)
    def post(self, request: Request, account_id: str) -> Response:
        """Examine the role step by step; with everything in place, the account is linked."""
        account = self.account(request, account_id)
        links.link_check(account=account, by=current_user(request), **given(CheckIn, request))
        return Response(CloudAccountDetail(account).data)


class CloudAccountRotate(_One):
    @extend_schema(request=None, responses=CloudAccountDetail)
    @idempotent
    def post(self, request: Request, account_id: str) -> Response:
        """Make a new ExternalId. The present one goes on working until the new one has been seen to work."""
        account = links.rotation_start(account=self.account(request, account_id), by=current_user(request))
        return Response(CloudAccountDetail(account).data)


class CloudAccountRotateFinish(_One):
    @extend_schema(request=None, responses=RotationOut)
    def post(self, request: Request, account_id: str) -> Response:
        """Try both ExternalIds, and switch if the new one works."""
        found = links.rotation_finish(account=self.account(request, account_id), by=current_user(request))
        return Response(RotationOut(found).data)


class CloudAccountRotateCancel(_One):
    @extend_schema(request=None, responses=CloudAccountDetail)
    def post(self, request: Request, account_id: str) -> Response:
        """Take the new ExternalId back."""
        account = links.rotation_cancel(account=self.account(request, account_id), by=current_user(request))
        return Response(CloudAccountDetail(account).data)


class CloudAccountUnlink(_One):
    @extend_schema(request=UnlinkIn, responses=CloudAccountDetail)
    @idempotent
    def post(self, request: Request, account_id: str) -> Response:
        """Unlink the account. While workspaces live there, only if you say so and repeat the account's name."""
        account = self.account(request, account_id)
        links.link_end(account=account, by=current_user(request), **given(UnlinkIn, request))
        return Response(CloudAccountDetail(account).data)


_one = "cloud-accounts/<slug:account_id>/"
urlpatterns = [
    path("cloud-accounts/", CloudAccountList.as_view(), name="api_cloud_accounts"),
    path(_one, CloudAccountView.as_view(), name="api_cloud_account"),
    path(_one + "setup/", CloudAccountSetup.as_view(), name="api_cloud_account_setup"),
    path(_one + "template/", CloudAccountTemplate.as_view(), name="api_cloud_account_template"),
    path(_one + "module/", CloudAccountModule.as_view(), name="api_cloud_account_module"),
    path(_one + "check/", CloudAccountCheck.as_view(), name="api_cloud_account_check"),
    path(_one + "rotate/", CloudAccountRotate.as_view(), name="api_cloud_account_rotate"),
    path(_one + "rotate/finish/", CloudAccountRotateFinish.as_view(), name="api_cloud_account_rotate_finish"),
    path(_one + "rotate/cancel/", CloudAccountRotateCancel.as_view(), name="api_cloud_account_rotate_cancel"),
    path(_one + "unlink/", CloudAccountUnlink.as_view(), name="api_cloud_account_unlink"),
]
