"""Pipelines by mouse and keyboard in a real browser: built by hand, run, on schedule, stopped."""

from __future__ import annotations

import secrets

import pytest
from playwright.sync_api import Page, expect

from scripts.orca.bench.installation import Lab
from tests.fixtures.windows import chromium, page, page_of_owner

__all__ = ["chromium", "page", "page_of_owner"]
pytestmark = [pytest.mark.cloud, pytest.mark.browser]
SOON = 30_000


def built(page: Page, source: str) -> None:
    """Write a pipeline in the editor and save it."""
    page.goto("/pipelines/new/")
    page.get_by_label("YAML").fill(source)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Source")).to_be_visible()


def test_a_pipeline_is_built_by_hand_run_on_schedule_and_another_stopped(page_of_owner: Page, lab: Lab) -> None:
    page = page_of_owner
    name, slow = f"counts-{secrets.token_hex(3)}", f"slow-{secrets.token_hex(3)}"
    lab.person.upload(name, main_py="print('hello from', __file__.rsplit('/', 1)[-1])")
    lab.person.upload(slow, main_py="import time\ntime.sleep(120)")
    steps = f"steps:\n  - {{name: one, script: {name}}}\n  - {{name: two, script: {name}}}\n"

    page.get_by_role("link", name="Pipelines").click()
    page.goto("/pipelines/new/")
    page.get_by_label("YAML").fill(
        f"name: {name}\nworkspace: {lab.workspace}\n{steps}  - {{name: three, script: {name}, needs: [on]}}\n"
    )
    expect(page.get_by_text("There is no step on. Do you mean one?")).to_be_visible(timeout=SOON)
    built(page, f"name: {name}\nworkspace: {lab.workspace}\n{steps}")
    pipeline = page.url

    page.get_by_role("link", name="Add one").click()
    page.get_by_label("Name").fill(f"often-{name}")
    page.get_by_text("Interval", exact=True).click()
    page.get_by_label("Every").fill("3")
    page.get_by_label("Unit").select_option("seconds")
    page.get_by_role("button", name="Schedule it").click()
    expect(page.get_by_role("link", name="Succeeded").first).to_be_visible(timeout=SOON)
    schedule = page.url

    page.goto(pipeline)
    expect(page.get_by_text("succeeded").first).to_be_visible(timeout=SOON)
    page.goto(schedule)
    page.get_by_role("button", name="Turn off").click()
    expect(page.get_by_role("button", name="Turn on")).to_be_visible()

    built(page, f"name: {slow}\nworkspace: {lab.workspace}\nsteps:\n  - {{name: wait, script: {slow}}}\n")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#run-head").get_by_text("Running", exact=True)).to_be_visible(timeout=SOON)
    page.get_by_role("button", name="Stop").first.click()
    expect(page.locator("#run-head").get_by_text("Cancelled")).to_be_visible(timeout=SOON)
