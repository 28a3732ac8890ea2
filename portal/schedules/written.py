"""Schedules that stand in a pipeline's YAML: checked with it, and made, changed and deleted when it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from portal.core.errors import Invalid
from portal.pipelines.definitions import Draft
from portal.pipelines.models import Pipeline, PipelineVersion
from portal.schedules.models import Schedule
from portal.schedules.services import schedule_change, schedule_create, schedule_delete
from portal.schedules.targets import Target, target_of
from portal.schedules.timing import Timing, timing_of

# What a timing calls it, and what the YAML does.
_FIELDS = {"expression": "cron", "unit": "every"}


def schedules_check(sender: object, *, draft: Draft, **_: Any) -> None:
    """Refuse what can never be due."""
    for index, given in enumerate(draft.definition["schedules"]):
        try:
            _timing(given).checked(timezone.now())
        except Invalid as error:
            for field, message in error.fields.items():
                draft.refuse(("schedules", index, _FIELDS.get(field, field)), message)


def schedules_save(sender: object, *, pipeline: Pipeline, version: PipelineVersion, **_: Any) -> None:
    """Bring the schedules of a pipeline to what its new version says. One that is disabled stays so."""
    owner = pipeline.owner
    left = {found.name: found for found in pipeline.schedules.filter(of_pipeline=True).select_related("owner")}
    for given in version.definition["schedules"]:
        name = f"{pipeline.name[:40]}: {given['name']}"
        timing, missed = _timing(given), given["missed"]
        target = Target(Schedule.Action.PIPELINE, pipeline=pipeline.pk, parameters=given["parameters"])
        known = left.pop(name, None)
        if known is None:
            schedule_create(owner=owner, name=name, timing=timing, target=target, missed=missed, of_pipeline=True)
        elif (_kept(timing, known), target, missed) != (timing_of(known), target_of(known), known.missed):
            schedule_change(schedule=known, by=owner, name=name, timing=timing, target=target, missed=missed)
    for schedule in left.values():
        schedule_delete(schedule=schedule, by=owner)


def _kept(timing: Timing, schedule: Schedule) -> Timing:
    """The timing as it would be kept."""
    return timing.counted_as(timing_of(schedule)).settled()


def _timing(given: Mapping[str, Any]) -> Timing:
    if given["cron"]:
        return Timing(Schedule.Kind.CRON, expression=given["cron"], zone=given["zone"])
    every, unit = given["every"].split()
    return Timing(Schedule.Kind.INTERVAL, every=int(every), unit=unit.removesuffix("s") + "s", zone=given["zone"])
