"""What only a browser can show of jobs: the map, a page that moves, and that both fit on a phone."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from portal.jobs.models import Job
from portal.jobs.preview import Preview
from portal.pipelines.models import Run, Step
from tests.fixtures.windows import WindowMaker, chromium, served, window

from .jobs_made import JobMaker, job_made

__all__ = ["chromium", "job_made", "served", "window"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    # WhiteNoise hands out files in a way that Django's ASGI handler remarks on.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]
TOO_WIDE = """() => [...document.querySelectorAll("main *")]
    .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth)
    .filter((element) => !element.closest(".map, pre, thead"))
    .map((element) => `${element.tagName}.${element.className}`).slice(0, 9)"""
SIDES = ("West", "South", "East", "North")


def print_made(number: int) -> dict[str, Any]:
    west = -60 + number
    ring = [[west, -10], [west + 1, -10], [west + 1, -9], [west, -9], [west, -10]]
    return {"id": f"<b>scene {number}</b>", "geometry": {"type": "Polygon", "coordinates": [ring]}, "datetime": None}


def side(page: Page, name: str) -> Any:
    return page.get_by_label(name, exact=True)


def test_a_box_is_drawn_or_typed_and_cleared(window: WindowMaker, job_made: JobMaker) -> None:
    job_made({"succeeded": 1})
    with window() as w:
        page = w.open(reverse("job_new"))
        expect(page.locator(".map-land").first).to_be_attached()
        page.get_by_role("button", name="Draw a box").click()
        area = page.locator("#map").bounding_box()
        page.mouse.move(area["x"] + 120, area["y"] + 90)
        page.mouse.down()
        page.mouse.move(area["x"] + 200, area["y"] + 180, steps=4)
        page.mouse.up()
        west, south, east, north = (float(side(page, name).input_value()) for name in SIDES)
        assert -180 <= west < east <= 180
        assert -90 <= south < north <= 90
        expect(page.locator(".map-box")).to_have_count(1)
        page.get_by_role("button", name="Clear").click()
        expect(page.locator(".map-box")).to_have_count(0)
        expect(side(page, "West")).to_have_value("")
        for name, value in zip(SIDES, ("170", "-20", "-170", "-10"), strict=True):
            side(page, name).fill(value)
        box = page.locator(".map-box").bounding_box()  # over the antimeridian: narrow, and not around the world
        assert 10 < box["width"] < area["width"]
        page.get_by_role("button", name="Draw a box").click()
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Draw a box")).to_have_attribute("aria-pressed", "false")


def test_footprints_are_drawn_and_are_text(
    window: WindowMaker, job_made: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_made({"succeeded": 1})
    found = Preview(items=3, bytes=9_000, footprints=[print_made(number) for number in range(3)])
    monkeypatch.setattr("portal.web.job_preview.preview", lambda **_: found)
    with window() as w:
        page = w.open(reverse("job_new") + f"?like={job.pk}")
        page.get_by_role("button", name="Look for the data").click()
        expect(page.locator(".map-print")).to_have_count(3)
        page.locator(".map-print").first.hover()
        # The map may still have moved below the pointer, so that another's is open, too.
        expect(page.get_by_role("tooltip", name="<b>scene 0</b>", exact=True)).to_be_visible()
        page.locator("#as-yaml summary").click()
        expect(page.locator("#job-yaml pre")).to_contain_text("kind: stac")
        page.get_by_label("Nodes", exact=True).fill("3")
        page.keyboard.press("Tab")
        expect(page.locator("#job-yaml pre")).to_contain_text("nodes: 3")


def test_only_the_fields_of_what_was_chosen_are_there(window: WindowMaker, job_made: JobMaker) -> None:
    job_made({"succeeded": 1})
    with window() as w:
        page = w.open(reverse("job_new"))
        expect(page.get_by_role("textbox", name="Catalogue")).to_be_visible()
        page.get_by_text("files below a prefix").click()
        expect(page.get_by_role("textbox", name="Catalogue")).not_to_be_visible()
        expect(page.get_by_role("textbox", name="Prefix")).to_be_visible()
        page.get_by_text("Its Dockerfile").click()
        expect(page.get_by_role("textbox", name="Dockerfile")).to_be_visible()


def test_a_job_moves_without_a_reload(window: WindowMaker, job_made: JobMaker) -> None:
    job = job_made({"succeeded": 1, "running": 3})
    with window() as w:
        page = w.open(reverse("job", args=[job.pk]))
        expect(page.locator("#job-progress").get_by_text("25 %")).to_be_visible()
        Step.objects.filter(run=job.run_id, state="running").update(state="succeeded", finished_at=timezone.now())
        expect(page.locator("#job-progress").get_by_text("100 %")).to_be_visible()
        expect(page.locator(".cell-good")).to_have_count(4)
        Run.objects.filter(pk=job.run_id).update(state="succeeded", finished_at=timezone.now())
        Job.objects.filter(pk=job.pk).update(phase="ended", index_key="i", archive_key="a")
        expect(page.get_by_role("link", name="Download all")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_everything_fits(window: WindowMaker, job_made: JobMaker, width: int) -> None:
    many = job_made({"succeeded": 300, "running": 4, "failed": 2, "queued": 80})
    failed = job_made({"succeeded": 3, "failed": 1}, phase="ended", run="failed", index_key="i", archive_key="a")
    step = Step.objects.get(run=many.run_id, position=1)
    with window(width=width) as w:
        for address in (
            reverse("job_list"),
            reverse("job", args=[many.pk]),
            reverse("job", args=[failed.pk]),
            reverse("run", args=[many.run_id]) + f"?step={step.pk}",
            reverse("job_new") + f"?like={many.pk}",
        ):
            page = w.open(address)
            page.wait_for_timeout(150)
            assert page.evaluate(TOO_WIDE) == [], address
