"""What the page of a new job shows of the data before anything is submitted."""

from __future__ import annotations

from typing import Any

from portal.accounts.models import User
from portal.core.errors import OrcaError
from portal.jobs.preview import preview
from portal.web.job_form import JobForm
from portal.web.job_form_filling import place_of
from portal.web.job_pictures import histogram_svg

_DRAWN, _NAMED = 1_000, 12


def preview_shown(owner: User, form: JobForm) -> dict[str, Any]:
    """Count, size, costs and footprints; or what is wrong, field by field."""
    form.fields["name"].required = False  # one may look before one knows what to call it
    if not form.is_valid():
        return {"problems": _of_form(form), "form": form}
    submission = form.submission()
    try:
        found = preview(owner=owner, submission=submission)
    except OrcaError as error:
        return {"problems": _of_service(form, error), "form": form, "refused": error}
    drawn = [_drawn(footprint) for footprint in found.footprints[:_DRAWN]]
    return {
        "preview": found,
        "drawn": drawn,
        "bars": histogram_svg(found.histogram),
        "assets": sorted(found.assets.items(), key=lambda pair: -pair[1])[:_NAMED],
        "undrawn": max(0, found.items - len(drawn)) if drawn else 0,
        "nodes": form.cleaned_data["nodes"],
        "budget": form.cleaned_data["budget"],
    }


def _drawn(footprint: Any) -> dict[str, Any]:
    """What the map needs of an item."""
    keys = ("id", "bbox", "geometry", "datetime")
    return {key: footprint.get(key) for key in keys if footprint.get(key) is not None}


def _of_form(form: JobForm) -> list[tuple[str, str, str]]:
    """Id and label of each field that is wrong, and why."""
    found = [
        (form[name].id_for_label, str(form[name].label), str(text))
        for name in form.fields
        for text in form[name].errors
    ]
    return found + [("", "", str(text)) for text in form.non_field_errors()]


def _of_service(form: JobForm, error: OrcaError) -> list[tuple[str, str, str]]:
    found, kind = [], str(form["kind"].value())
    for part, text in error.fields.items():
        name = place_of(part, kind, text)
        known = name in form.fields
        said = text[:1].upper() + text[1:]
        found.append((form[name].id_for_label, str(form[name].label), said) if known else ("", part, said))
    return found or [("", "", f"{error.message} {error.hint}".strip())]
