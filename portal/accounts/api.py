"""The API's routes about oneself: ``me``, ``ssh-keys``, ``tokens`` and ``device``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import URLPattern, path, reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView
from rest_framework.permissions import AllowAny, BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle, ScopedRateThrottle
from rest_framework.views import APIView

from portal.accounts import selectors, services
from portal.accounts.current import current_user
from portal.accounts.devices import ASK_EVERY_SECONDS, LASTS, device_login_begin, device_login_take
from portal.accounts.login import password_login
from portal.accounts.models import ApiToken, SshKey, User
from portal.accounts.ssh import public_key_read
from portal.core.api import CursorPages
from portal.core.idempotency import idempotent
from portal.core.requests import given

CURRENT = "current"


class MeSerializer(serializers.ModelSerializer[User]):
    """Oneself."""

    approved = serializers.BooleanField(source="is_approved", read_only=True)

    class Meta:
        model = User
        fields = ("id", "email", "name", "approved", "created_at")
        read_only_fields = ("id", "email", "approved", "created_at")


class MeView(APIView):
    """Who the token or session belongs to."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(operation_id="me", responses=MeSerializer, tags=["account"])
    def get(self, request: Request) -> Response:
        """Oneself."""
        return Response(MeSerializer(current_user(request)).data)

    @extend_schema(operation_id="me_update", request=MeSerializer, responses=MeSerializer, tags=["account"])
    def patch(self, request: Request) -> Response:
        """Change what one is called."""
        person = current_user(request)
        asked = MeSerializer(person, data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        services.user_update(user=person, name=asked.validated_data.get("name", person.name))
        return Response(MeSerializer(person).data)


class SshKeySerializer(serializers.ModelSerializer[SshKey]):
    """A key; ``advice`` is empty or says what would be better than this one."""

    advice = serializers.SerializerMethodField()

    class Meta:
        model = SshKey
        fields = ("id", "name", "key_type", "public_key", "fingerprint", "advice", "created_at")

    def get_advice(self, key: SshKey) -> str:
        """What would be better than this key, if anything."""
        return public_key_read(key.public_key).advice


class SshKeyInput(serializers.Serializer[Any]):
    """A key to add."""

    name = serializers.CharField(
        max_length=80, required=False, allow_blank=True, default="", help_text="Else its comment."
    )
    public_key = serializers.CharField(
        help_text="One line of OpenSSH's format: type, base64, comment.", max_length=20_000
    )


class SshKeysView(ListAPIView[SshKey]):
    """The keys that open one's instances."""

    permission_classes = (IsAuthenticated,)
    serializer_class = SshKeySerializer
    queryset = SshKey.objects.none()

    def get_queryset(self) -> Any:
        return selectors.ssh_keys_of(current_user(self.request))

    @extend_schema(operation_id="ssh_keys_list", tags=["account"])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One's keys."""
        return self.list(request, *args, **kwargs)

    @extend_schema(
        operation_id="ssh_keys_add", request=SshKeyInput, responses={201: SshKeySerializer}, tags=["account"]
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Add a key; it reaches running instances within seconds."""
        key = services.ssh_key_add(owner=current_user(request), **given(SshKeyInput, request))
        return Response(SshKeySerializer(key).data, status=status.HTTP_201_CREATED)


class SshKeyView(APIView):
    """One key."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(operation_id="ssh_keys_get", responses=SshKeySerializer, tags=["account"])
    def get(self, request: Request, key_id: str) -> Response:
        """A key of one's own."""
        return Response(SshKeySerializer(selectors.ssh_key_of(current_user(request), key_id)).data)

    @extend_schema(operation_id="ssh_keys_remove", responses={204: None}, tags=["account"])
    def delete(self, request: Request, key_id: str) -> Response:
        """Remove a key; running instances refuse it within seconds."""
        services.ssh_key_remove(owner=current_user(request), key_id=key_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    """A token, without its text."""

    begins = serializers.CharField(source="token_key", help_text="The first characters of the token.")
    created_at = serializers.DateTimeField(source="created")
    expires_at = serializers.DateTimeField(source="expiry", allow_null=True)

    class Meta:
        model = ApiToken
        fields = ("id", "name", "begins", "created_at", "expires_at", "last_used_at")


class NewTokenSerializer(TokenSerializer):
    """A fresh token, with the text that is never shown again."""

    token = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = (*TokenSerializer.Meta.fields, "token")  # type: ignore[assignment]


class TokenInput(serializers.Serializer[Any]):
    """A login that asks for a token."""

    email = serializers.EmailField()
    password = serializers.CharField(trim_whitespace=False, max_length=4096)
    code = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=32, help_text="Second factor."
    )
    name = serializers.CharField(required=False, allow_blank=True, default="", max_length=80, help_text="What for.")
    days = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=1, max_value=services.LONGEST_TOKEN_DAYS
    )


class TokenPages(CursorPages):
    """The same, by knox's name for the instant of making."""

    ordering = ("-created", "-id")


class TokensView(ListAPIView[ApiToken]):
    """Tokens for programs. Making one takes the password, not a token, and is limited."""

    serializer_class = TokenSerializer
    pagination_class = TokenPages
    queryset = ApiToken.objects.none()
    throttle_scope = "login"

    def get_queryset(self) -> Any:
        return selectors.api_tokens_of(current_user(self.request))

    def get_permissions(self) -> list[BasePermission]:
        return [AllowAny() if self.request.method == "POST" else IsAuthenticated()]

    def get_authenticators(self) -> Any:
        # drf-spectacular asks before there is a request.
        logs_in = self.request is not None and self.request.method == "POST"
        return [] if logs_in else super().get_authenticators()

    def get_throttles(self) -> list[BaseThrottle]:
        return [ScopedRateThrottle()] if self.request.method == "POST" else []

    @extend_schema(operation_id="tokens_list", tags=["account"])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One's tokens that still work."""
        return self.list(request, *args, **kwargs)

    @extend_schema(
        operation_id="tokens_add",
        auth=[],
        request=TokenInput,
        responses={201: NewTokenSerializer},
        tags=["account"],
    )
    def post(self, request: Request) -> Response:
        """Log in with address, password and, if there is one, the second factor's code; get a token."""
        asked = given(TokenInput, request)
        plain: HttpRequest = request._request
        owner = password_login(request=plain, email=asked["email"], password=asked["password"], code=asked["code"])
        token, text = services.api_token_add(owner=owner, name=asked["name"], days=asked["days"])
        return Response(TokenSerializer(token).data | {"token": text}, status=status.HTTP_201_CREATED)


class TokenView(APIView):
    """One token; ``current`` is the one that the request came with."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(operation_id="tokens_remove", responses={204: None}, tags=["account"])
    def delete(self, request: Request, token_id: str) -> Response:
        """Revoke a token at once."""
        if token_id == CURRENT and isinstance(request.auth, ApiToken):
            services.api_token_remove(owner=current_user(request), token_id=request.auth.id)
        else:
            services.api_token_remove(owner=current_user(request), token_id=token_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class DeviceInput(serializers.Serializer[Any]):
    """A program that wants to be let in by a person with a browser."""

    name = serializers.CharField(
        max_length=80, required=False, allow_blank=True, default="", help_text="What it calls itself."
    )


class DeviceOut(serializers.Serializer[Any]):
    """What the program needs: a secret of its own, and what to tell its person (RFC 8628, 3.2)."""

    device_code = serializers.CharField(help_text="For the program alone; it asks for its token with it.")
    user_code = serializers.CharField(help_text="For the person to type, or to compare.")
    verification_uri = serializers.CharField()
    verification_uri_complete = serializers.CharField(help_text="The same page with the code filled in.")
    expires_in = serializers.IntegerField(help_text="Seconds.")
    interval = serializers.IntegerField(help_text="Seconds to wait between two questions for the token.")


class DeviceView(APIView):
    """Where a program's login begins."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_scope = "login"

    @extend_schema(
        operation_id="device_begin", auth=[], request=DeviceInput, responses={201: DeviceOut}, tags=["account"]
    )
    def post(self, request: Request) -> Response:
        """Begin a login that a person allows in a browser. Show them the code, then ask for the token."""
        name = given(DeviceInput, request)["name"]
        begun = device_login_begin(name=name, address=str(request.META.get("REMOTE_ADDR") or ""))
        page = settings.PUBLIC_URL + reverse("device")
        body = {
            "device_code": begun.secret,
            "user_code": begun.login.shown_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?code={begun.login.shown_code}",
            "expires_in": int(LASTS.total_seconds()),
            "interval": ASK_EVERY_SECONDS,
        }
        return Response(DeviceOut(body).data, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


class DeviceTokenInput(serializers.Serializer[Any]):
    """The secret that the login began with."""

    device_code = serializers.CharField(max_length=100)


class DeviceTokenView(APIView):
    """Where a program's login ends. The secret is what counts; it cannot be guessed."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="device_token",
        auth=[],
        request=DeviceTokenInput,
        responses={201: NewTokenSerializer},
        tags=["account"],
    )
    def post(self, request: Request) -> Response:
        """The token, once the person has allowed it. Until then 400 `authorization_pending`; `access_denied` and
        `expired_token` are final."""
        token, text = device_login_take(secret=given(DeviceTokenInput, request)["device_code"])
        body = TokenSerializer(token).data | {"token": text}
        return Response(body, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


urlpatterns: list[URLPattern] = [
    path("me/", MeView.as_view(), name="api_me"),
    path("ssh-keys/", SshKeysView.as_view(), name="api_ssh_keys"),
    path("ssh-keys/<str:key_id>/", SshKeyView.as_view(), name="api_ssh_key"),
    path("tokens/", TokensView.as_view(), name="api_tokens"),
    path("tokens/<str:token_id>/", TokenView.as_view(), name="api_token"),
    path("device/", DeviceView.as_view(), name="api_device"),
    path("device/token/", DeviceTokenView.as_view(), name="api_device_token"),
]
