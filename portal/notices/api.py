"""Notifications for programs."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.current import current_user
from portal.core.idempotency import idempotent
from portal.core.requests import given
from portal.notices import selectors, sending, services
from portal.notices.models import ASKED_FOR, Notice, Subscription

_KINDS = [(kind.value, kind.label) for kind in ASKED_FOR]


class NotificationOut(serializers.ModelSerializer[Subscription]):
    on = serializers.ListField(child=serializers.ChoiceField(_KINDS), help_text="What it tells of.")
    scripts = serializers.ListField(child=serializers.CharField(), help_text="Ids of the chosen scripts.")
    pipelines = serializers.ListField(child=serializers.CharField(), help_text="Ids of the chosen pipelines.")
    disabled_why = serializers.CharField(help_text="Why Orca switched it off; empty where a person did.")

    class Meta:
        model = Subscription
        fields = (
            "id",
            "name",
            "channel",
            "address",
            "on",
            "everything",
            "scripts",
            "pipelines",
            "late_minutes",
            "silent_hours",
            "enabled",
            "disabled_why",
            "created_at",
        )


class NewNotificationOut(NotificationOut):
    secret = serializers.CharField(help_text="That a webhook is signed with; shown this once. Empty for mails.")

    class Meta(NotificationOut.Meta):
        fields = (*NotificationOut.Meta.fields, "secret")  # type: ignore[assignment]


class NotificationChange(serializers.Serializer[Any]):
    name = serializers.CharField(required=False, max_length=80)
    address = serializers.CharField(
        required=False, max_length=500, help_text="A verified e-mail address of yours, or the URL of a webhook."
    )
    on = serializers.ListField(child=serializers.ChoiceField(_KINDS), required=False, allow_empty=False, max_length=20)
    everything = serializers.BooleanField(required=False, help_text="All runs, not only those of what is chosen.")
    scripts = serializers.ListField(
        child=serializers.CharField(max_length=26), required=False, max_length=services.MOST_CHOSEN
    )
    pipelines = serializers.ListField(
        child=serializers.CharField(max_length=26), required=False, max_length=services.MOST_CHOSEN
    )
    late_minutes = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=services.MOST_MINUTES,
        help_text="A run is late that has not ended so long after its slot, or after it was asked for.",
    )
    silent_hours = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=services.MOST_HOURS,
        help_text="Without a successful run for so long, something did not run. Null: only slots of schedules count.",
    )
    enabled = serializers.BooleanField(required=False)


class NotificationIn(NotificationChange):
    name = serializers.CharField(max_length=80)
    channel = serializers.ChoiceField(Subscription.Channel.choices)
    address = serializers.CharField(max_length=500, help_text="A verified e-mail address of yours, or a webhook's URL.")


class SecretOut(serializers.Serializer[Any]):
    secret = serializers.CharField(help_text="Shown this once. The one before signs too for a day.")


class DeliveryOut(serializers.ModelSerializer[Notice]):
    run = serializers.CharField(source="run_id", allow_null=True)
    body = serializers.SerializerMethodField(help_text="What is sent; empty until it is sent first.")

    class Meta:
        model = Notice
        fields = (
            "id",
            "kind",
            "subject",
            "run",
            "state",
            "tries",
            "status",
            "error",
            "seconds",
            "created_at",
            "tried_at",
            "sent_at",
            "next_try_at",
            "body",
        )

    @extend_schema_field(serializers.DictField())
    def get_body(self, notice: Notice) -> Any:
        return notice.content


def _own(request: Request, notification_id: str) -> Subscription:
    return selectors.subscription_get(owner=current_user(request), subscription_id=notification_id)


class NotificationList(generics.ListAPIView[Subscription]):
    """Your notifications, newest first."""

    serializer_class = NotificationOut
    filterset_fields = ("channel", "enabled")

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Subscription.objects.none()
        return selectors.subscriptions_of(current_user(self.request))

    @extend_schema(request=NotificationIn, responses={201: NewNotificationOut})
    def post(self, request: Request) -> Response:
        """Be told of runs. Without scripts and pipelines, of all; without `on`, of failures."""
        kept = self._kept(request)
        # Put to the answer outside of what the key keeps: that would be a secret in the database in clear.
        secret = services.secret_of(owner=current_user(request), subscription_id=kept.data["id"])
        return Response(kept.data | {"secret": secret}, status=kept.status_code)

    @idempotent
    def _kept(self, request: Request) -> Response:
        made = services.subscription_create(owner=current_user(request), **given(NotificationIn, request))
        return Response(NotificationOut(made).data, status=status.HTTP_201_CREATED)


class NotificationView(APIView):
    @extend_schema(responses=NotificationOut)
    def get(self, request: Request, notification_id: str) -> Response:
        """One notification."""
        return Response(NotificationOut(_own(request, notification_id)).data)

    @extend_schema(request=NotificationChange, responses=NotificationOut)
    def patch(self, request: Request, notification_id: str) -> Response:
        """Change what you name; the rest stays."""
        found = _own(request, notification_id)
        asked = given(NotificationChange, request)
        return Response(
            NotificationOut(services.subscription_update(subscription=found, by=current_user(request), **asked)).data
        )

    @extend_schema(responses={204: None})
    def delete(self, request: Request, notification_id: str) -> Response:
        """Be told no more. What was still to be sent there is not."""
        services.subscription_delete(subscription=_own(request, notification_id), by=current_user(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class NotificationTest(APIView):
    @extend_schema(request=None, responses={201: DeliveryOut})
    def post(self, request: Request, notification_id: str) -> Response:
        """Send a test now, once; the answer says how it went (`state`, `status`, `error`)."""
        kept = self._kept(request, notification_id)
        # Sent outside the transaction of the key: whoever asks again with it gets the result of the same test.
        tried = sending.notice_send(notice_id=kept.data["id"])
        return Response(DeliveryOut(tried).data, status=status.HTTP_201_CREATED)

    @idempotent
    def _kept(self, request: Request, notification_id: str) -> Response:
        notice = services.trial_create(subscription=_own(request, notification_id), by=current_user(request))
        return Response({"id": notice.pk}, status=status.HTTP_201_CREATED)


class NotificationSecret(APIView):
    @extend_schema(request=None, responses={201: SecretOut})
    def post(self, request: Request, notification_id: str) -> Response:
        """A fresh secret for a webhook."""
        found = _own(request, notification_id)
        secret = services.secret_rotate(subscription=found, by=current_user(request))
        return Response({"secret": secret}, status=status.HTTP_201_CREATED)


class DeliveryList(generics.ListAPIView[Notice]):
    """What was sent for a notification, or is to be, newest first."""

    serializer_class = DeliveryOut
    filterset_fields = ("state", "kind")

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Notice.objects.none()
        return selectors.notices_of(_own(self.request, self.kwargs["notification_id"]))


def _delivery(request: Request, notification_id: str, delivery_id: str) -> Notice:
    return selectors.notice_get(subscription=_own(request, notification_id), notice_id=delivery_id)


class DeliveryView(APIView):
    @extend_schema(responses=DeliveryOut)
    def get(self, request: Request, notification_id: str, delivery_id: str) -> Response:
        """One of them."""
        return Response(DeliveryOut(_delivery(request, notification_id, delivery_id)).data)


class DeliveryAgain(APIView):
    @extend_schema(request=None, responses={202: DeliveryOut})
    @idempotent
    def post(self, request: Request, notification_id: str, delivery_id: str) -> Response:
        """Send what was sent or given up once more, under the same id."""
        notice = _delivery(request, notification_id, delivery_id)
        services.notice_again(notice=notice, by=current_user(request))
        return Response(DeliveryOut(notice).data, status=status.HTTP_202_ACCEPTED)


_notification = "notifications/<slug:notification_id>/"
_one = _notification + "deliveries/<slug:delivery_id>/"
urlpatterns: list[URLPattern] = [
    path("notifications/", NotificationList.as_view(), name="api_notifications"),
    path(_notification, NotificationView.as_view(), name="api_notification"),
    path(_notification + "test/", NotificationTest.as_view(), name="api_notification_test"),
    path(_notification + "secret/", NotificationSecret.as_view(), name="api_notification_secret"),
    path(_notification + "deliveries/", DeliveryList.as_view(), name="api_notification_deliveries"),
    path(_one, DeliveryView.as_view(), name="api_notification_delivery"),
    path(_one + "again/", DeliveryAgain.as_view(), name="api_notification_delivery_again"),
]
