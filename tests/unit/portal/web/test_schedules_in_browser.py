"""What only a browser shows of schedules: fields come and go with what is chosen, and the next times as one types."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from portal.pipelines.models import ScriptVersion
from portal.schedules import firing
from portal.schedules.models import Fire, Schedule
from tests.fixtures.windows import WindowMaker, chromium, served, window

from .conftest import WorkspaceMaker

__all__ = ["chromium", "served", "window"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    # WhiteNoise hands out files in a way that Django's ASGI handler remarks on.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_schedule_is_made_by_hand_and_its_first_run_shows_up(
    window: WindowMaker, workspace_made: WorkspaceMaker, version: ScriptVersion, width: int
) -> None:
    workspace_made("stopped")
    with window(width=width) as w:
        page = w.open(reverse("schedule_new"))
        page.get_by_label("Name").fill("Nightly")
        preview = page.locator("#preview")
        expect(preview).to_contain_text("At 06:00 on Monday through Friday")

        expression = page.get_by_label("Cron expression")
        expression.fill("0 0 31 2 *")
        expect(preview).to_contain_text("This is never due")
        page.get_by_label("Time zone").fill("Europe/Berlin")
        expression.fill("30 2 * 3 SUN")
        expect(preview).to_contain_text("At 02:30 on Sunday in March")
        expect(preview).to_contain_text("UTC")

        page.get_by_text("Stop a workspace").click()
        expect(page.get_by_label("Arguments")).to_be_hidden()
        page.get_by_text("Run a script").click()
        expect(page.get_by_label("Arguments")).to_be_visible()
        page.get_by_text("Interval", exact=True).click()
        expect(expression).to_be_hidden()
        page.get_by_label("Every", exact=True).fill("2")
        expect(preview).to_contain_text("Every 2 hours")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.get_by_role("button", name="Schedule it").click()
        expect(page.get_by_role("heading", name="Nightly")).to_be_visible()
        expect(page.get_by_text("It has not been due yet")).to_be_visible()

        Schedule.objects.update(next_at=timezone.now() - timedelta(seconds=1))
        firing.schedules_fire()
        expect(page.locator("#schedule-fires").get_by_text("Queued").first).to_be_visible()
        page.get_by_role("button", name="Turn off").click()
        expect(page.get_by_text("It is turned off")).to_be_visible()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete it").click()
        expect(page.get_by_text("Nothing is scheduled yet")).to_be_visible()
    assert not Fire.objects.exists()
