"""Schedules for programs."""

from __future__ import annotations

from dataclasses import fields as dataclass_fields
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.urls import path
from django.utils.dateparse import parse_datetime
from django_filters.rest_framework import CharFilter, FilterSet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.current import current_user
from portal.core.idempotency import idempotent
from portal.core.requests import given
from portal.pipelines.services import MOST_ARGUMENTS, MOST_CHARACTERS
from portal.schedules import selectors, services
from portal.schedules.models import Fire, Schedule
from portal.schedules.targets import Target, target_of
from portal.schedules.timing import Timing, preview, timing_of, words_of


class TimingIn(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=Schedule.Kind.choices)
    expression = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=200,
        help_text="For `cron`: minute, hour, day of the month, month, day of the week.",
    )
    every = serializers.IntegerField(
        required=False, default=None, allow_null=True, min_value=1, max_value=2**31 - 1, help_text="For `interval`."
    )
    unit = serializers.ChoiceField(
        required=False, default="", allow_blank=True, choices=Schedule.Unit.choices, help_text="For `interval`."
    )
    at = serializers.CharField(
        max_length=40,
        required=False,
        default=None,
        allow_null=True,
        help_text="ISO 8601. For `once`: the moment. For `interval`: what it is counted from, the first slot; else now."
        " Without an offset it is what a clock in `zone` shows.",
    )
    zone = serializers.CharField(required=False, default="UTC", max_length=64, help_text="Such as `Europe/Berlin`.")

    def validate_at(self, text: str | None) -> datetime | None:
        """A moment, perhaps without an offset."""
        if text is None:
            return None
        try:
            found = parse_datetime(text)
        except ValueError:
            found = None
        if found is None:
            raise serializers.ValidationError("Write it like 2027-01-31T06:00:00 or 2027-01-31T06:00:00+01:00.")
        return found


class TargetIn(serializers.Serializer[Any]):
    action = serializers.ChoiceField(choices=Schedule.Action.choices)
    pipeline = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=26, help_text="For `pipeline`."
    )
    parameters = serializers.DictField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False, max_length=10_000),
        required=False,
        default=dict,
        help_text="For `pipeline`.",
    )
    workspace = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=26, help_text="For `script`, `start` and `stop`."
    )
    script = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=26, help_text="For `script`."
    )
    version = serializers.IntegerField(
        required=False,
        default=None,
        allow_null=True,
        min_value=1,
        max_value=2**31 - 1,
        help_text="For `script`: the newest unless given.",
    )
    arguments = serializers.ListField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False, max_length=MOST_CHARACTERS),
        required=False,
        default=list,
        max_length=MOST_ARGUMENTS,
        help_text="For `script`.",
    )
    environment = serializers.DictField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False),
        required=False,
        default=dict,
        help_text="For `script`.",
    )
    limits = serializers.DictField(
        child=serializers.IntegerField(), required=False, default=dict, help_text="For `script`, as for a run."
    )
    secrets = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        default=list,
        max_length=50,
        help_text="For `script`: names of the workspace's secrets that it is given.",
    )


class ScheduleIn(TimingIn, TargetIn):
    name = serializers.CharField(max_length=80)
    missed = serializers.ChoiceField(
        choices=Schedule.Missed.choices,
        required=False,
        default="",
        allow_blank=True,
        help_text="What becomes of a slot at which Orca was not running. Unless given: `run_once` for `once`, else"
        " `skip`.",
    )
    enabled = serializers.BooleanField(required=False, default=True)


class ScheduleChangeIn(ScheduleIn):
    """Any of the fields; what is not given stays."""

    name = serializers.CharField(required=False, max_length=80)
    kind = serializers.ChoiceField(required=False, choices=Schedule.Kind.choices)
    action = serializers.ChoiceField(required=False, choices=Schedule.Action.choices)

    def get_fields(self) -> Any:
        """Without defaults: what is not said is not changed."""
        found = super().get_fields()
        for field in found.values():
            field.required, field.default = False, serializers.empty
        return found


class FireOut(serializers.ModelSerializer[Fire]):
    run = serializers.CharField(source="run_id", allow_null=True)
    run_state = serializers.CharField(source="run.state", allow_null=True, default=None)

    class Meta:
        model = Fire
        fields = ("id", "due_at", "until", "slots", "created_at", "state", "by_hand", "run", "run_state", "code", "why")


class ScheduleOut(serializers.ModelSerializer[Schedule]):
    pipeline = serializers.CharField(source="pipeline_id", allow_null=True)
    workspace = serializers.CharField(source="workspace_id", allow_null=True)
    script = serializers.CharField(source="script_id", allow_null=True)
    unit = serializers.CharField()
    words = serializers.SerializerMethodField(help_text="When, in English.")
    last_fire = FireOut(allow_null=True)
    parameters = serializers.DictField(child=serializers.CharField())
    arguments = serializers.ListField(child=serializers.CharField())
    environment = serializers.DictField(child=serializers.CharField())
    limits = serializers.DictField(child=serializers.IntegerField())
    secrets = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Schedule
        fields = (
            "id",
            "name",
            "enabled",
            "disabled_reason",
            "kind",
            "expression",
            "every",
            "unit",
            "at",
            "zone",
            "words",
            "missed",
            "action",
            "pipeline",
            "parameters",
            "workspace",
            "script",
            "version",
            "arguments",
            "environment",
            "limits",
            "secrets",
            "next_at",
            "last_fire",
            "created_at",
        )

    @extend_schema_field(str)
    def get_words(self, schedule: Schedule) -> str:
        return words_of(timing_of(schedule))


class ComingOut(serializers.Serializer[Any]):
    utc = serializers.DateTimeField()
    local = serializers.SerializerMethodField(help_text="The same in the schedule's zone.")
    note = serializers.CharField(help_text="What is special about it, where the clocks change; mostly empty.")

    @extend_schema_field(str)
    def get_local(self, coming: Any) -> str:
        text: str = coming.local.isoformat()
        return text


class PreviewOut(serializers.Serializer[Any]):
    words = serializers.CharField(help_text="When, in English.")
    coming = ComingOut(many=True)


class ScheduleFilter(FilterSet):  # type: ignore[misc]  # django-filter has no types
    """Ids are compared, not looked up: what is another's is no other answer than what is not there."""

    workspace = CharFilter(field_name="workspace_id")
    pipeline = CharFilter(field_name="pipeline_id")
    script = CharFilter(field_name="script_id")

    class Meta:
        model = Schedule
        fields = ("name", "enabled", "kind", "action", "workspace", "pipeline", "script")


def _like(schedule: Schedule, kind: str) -> Timing:
    """What of its timing a change to this kind leaves as it is."""
    return timing_of(schedule) if kind == schedule.kind else Timing(kind, zone=schedule.zone)


def _of(kind: type[Any], said: dict[str, Any], like: Any) -> Any:
    """A timing or a target of what was said, the rest as in ``like``."""
    names = {field.name for field in dataclass_fields(kind)}
    chosen = {name: value for name, value in said.items() if name in names}
    return replace(like, **chosen) if like is not None else kind(**chosen)


class ScheduleList(generics.ListAPIView[Schedule]):
    """Your schedules, newest first."""

    serializer_class = ScheduleOut
    filterset_class = ScheduleFilter

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Schedule.objects.none()
        return selectors.schedules_of(current_user(self.request))

    @extend_schema(request=ScheduleIn, responses={201: ScheduleOut})
    @idempotent
    def post(self, request: Request) -> Response:
        """Schedule something."""
        said = given(ScheduleIn, request)
        made = services.schedule_create(
            owner=current_user(request),
            name=said["name"],
            timing=_of(Timing, said, None),
            target=_of(Target, said, None),
            missed=said["missed"],
            enabled=said["enabled"],
        )
        return Response(_out(request, made.pk), status=status.HTTP_201_CREATED)


def _get(request: Request, schedule_id: str) -> Schedule:
    return selectors.schedule_get(owner=current_user(request), schedule_id=schedule_id)


def _out(request: Request, schedule_id: str) -> Any:
    return ScheduleOut(_get(request, schedule_id)).data


class ScheduleView(APIView):
    @extend_schema(responses=ScheduleOut)
    def get(self, request: Request, schedule_id: str) -> Response:
        """One schedule."""
        return Response(_out(request, schedule_id))

    @extend_schema(request=ScheduleChangeIn, responses=ScheduleOut)
    def patch(self, request: Request, schedule_id: str) -> Response:
        """Change a schedule: what is given replaces what was, the rest stays."""
        schedule, by = _get(request, schedule_id), current_user(request)
        said = given(ScheduleChangeIn, request)
        with transaction.atomic():
            services.schedule_change(
                schedule=schedule,
                by=by,
                name=said.get("name", schedule.name),
                timing=_of(Timing, said, _like(schedule, said.get("kind", schedule.kind))),
                target=_of(Target, said, target_of(schedule)),
                missed=said.get("missed", schedule.missed),
            )
            if "enabled" in said:
                switch = services.schedule_enable if said["enabled"] else services.schedule_disable
                switch(schedule=_get(request, schedule_id), by=by)
        return Response(_out(request, schedule_id))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, schedule_id: str) -> Response:
        """Delete a schedule with its history. The runs that it started stay."""
        services.schedule_delete(schedule=_get(request, schedule_id), by=current_user(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ScheduleEnable(APIView):
    @extend_schema(request=None, responses=ScheduleOut)
    def post(self, request: Request, schedule_id: str) -> Response:
        """Let it fire from now on."""
        services.schedule_enable(schedule=_get(request, schedule_id), by=current_user(request))
        return Response(_out(request, schedule_id))


class ScheduleDisable(APIView):
    @extend_schema(request=None, responses=ScheduleOut)
    def post(self, request: Request, schedule_id: str) -> Response:
        """Let it fire no more until it is enabled."""
        services.schedule_disable(schedule=_get(request, schedule_id), by=current_user(request))
        return Response(_out(request, schedule_id))


class ScheduleRun(APIView):
    @extend_schema(request=None, responses={201: FireOut})
    @idempotent
    def post(self, request: Request, schedule_id: str) -> Response:
        """Start what it starts, at once; when it is due does not change."""
        fire = services.schedule_run_now(schedule=_get(request, schedule_id), by=current_user(request))
        return Response(FireOut(fire).data, status=status.HTTP_201_CREATED)


class FireList(generics.ListAPIView[Fire]):
    """What became of a schedule's slots, newest first: fired, missed, refused or failed."""

    serializer_class = FireOut
    filterset_fields = ("state", "by_hand")

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Fire.objects.none()
        return selectors.fires_of(_get(self.request, self.kwargs["schedule_id"]))


class SchedulePreview(APIView):
    @extend_schema(request=TimingIn, responses=PreviewOut)
    def post(self, request: Request) -> Response:
        """When this would be due next, five times, in its zone and in UTC. Nothing is saved."""
        current_user(request)
        return Response(PreviewOut(preview(_of(Timing, given(TimingIn, request), None))).data)


_schedule = "schedules/<slug:schedule_id>/"
urlpatterns = [
    path("schedules/", ScheduleList.as_view(), name="api_schedules"),
    path("schedules/preview/", SchedulePreview.as_view(), name="api_schedule_preview"),
    path(_schedule, ScheduleView.as_view(), name="api_schedule"),
    path(_schedule + "enable/", ScheduleEnable.as_view(), name="api_schedule_enable"),
    path(_schedule + "disable/", ScheduleDisable.as_view(), name="api_schedule_disable"),
    path(_schedule + "run/", ScheduleRun.as_view(), name="api_schedule_run"),
    path(_schedule + "fires/", FireList.as_view(), name="api_schedule_fires"),
]
