"""A job by mouse in a real browser: described on the map, looked at, submitted, watched to its end, used again."""

from __future__ import annotations

import secrets
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from scripts.orca.bench.installation import Lab
from scripts.orca.demo.scenes import catalogue_make
from scripts.orca.demo.site import served
from tests.fixtures.windows import chromium, page, page_of_owner

__all__ = ["chromium", "page", "page_of_owner"]
pytestmark = [pytest.mark.cloud, pytest.mark.browser]
SOON, IN_THE_END = 30_000, 240_000
# A script that leaves a picture for each of its shard's items.
SCRIPT = """
import json, os, pathlib, shutil
given, left = pathlib.Path(os.environ["ORCA_INPUT"]), pathlib.Path(os.environ["ORCA_OUTPUT"])
for written in sorted((given / "metadata").glob("*.json")):
    item = json.loads(written.read_text())
    for name, path in item["files"].items():
        target = left / item["id"] / pathlib.Path(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(given / path, target)
    print("copied", item["id"])
"""


def test_a_job_is_described_looked_at_and_done(page_of_owner: Page, lab: Lab, tmp_path: Path) -> None:
    page, name = page_of_owner, f"copy-{secrets.token_hex(3)}"
    lab.person.upload(name, main_py=SCRIPT)
    made = catalogue_make(tmp_path / "sky", paths=[150, 151], rows=[100, 101], dates=[date(2024, 6, 1)])
    with served(tmp_path / "sky") as site:
        page.get_by_role("link", name="Jobs", exact=True).click()
        page.goto("/jobs/new/")
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label("Script", exact=True).select_option(label=name)
        page.get_by_role("textbox", name="Catalogue").fill(f"{site.url}/{made.root}")
        page.get_by_role("textbox", name="Assets").fill("thumbnail")
        page.get_by_label("Nodes", exact=True).fill("1")

        box_drawn(page)
        page.get_by_role("button", name="Look for the data").click()
        expect(page.locator(".job-preview-facts")).to_be_visible(timeout=SOON)
        page.get_by_role("button", name="Clear").click()
        page.get_by_role("button", name="Look for the data").click()
        expect(page.locator(".job-preview-facts").get_by_text(str(len(made.items)), exact=True)).to_be_visible(
            timeout=SOON
        )
        expect(page.locator(".map-print")).to_have_count(len(made.items))

        page.get_by_role("button", name="Submit the job").click()
        expect(page.locator("#job-head").get_by_role("heading", name=name)).to_be_visible(timeout=SOON)
        expect(page.locator("#job-head").get_by_text("Succeeded")).to_be_visible(timeout=IN_THE_END)

    expect(page.locator("#job-progress").get_by_text("100 %")).to_be_visible()
    picture = page.locator(".job-images img").first
    expect(picture).to_be_visible(timeout=SOON)
    assert picture.evaluate("async (image) => { await image.decode(); return image.naturalWidth }") > 0
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download all").click()
    assert downloading.value.suggested_filename.endswith(".zip")
    page.get_by_role("link", name="shard 1", exact=True).click()
    expect(page.locator(".log-text").filter(has_text="copied")).not_to_have_count(0)
    page.get_by_role("link", name=name).first.click()
    page.get_by_role("link", name="Use as input").click()
    expect(page.get_by_role("radio", name="An earlier job")).to_be_checked()


def box_drawn(page: Page) -> None:
    """Draw a box on the map, and see its four sides in the form."""
    page.get_by_role("button", name="Draw a box").click()
    area = page.locator("#map").bounding_box()
    assert area is not None
    page.mouse.move(area["x"] + 120, area["y"] + 80)
    page.mouse.down()
    page.mouse.move(area["x"] + 220, area["y"] + 200, steps=5)
    page.mouse.up()
    for side in ("West", "South", "East", "North"):
        expect(page.get_by_label(side, exact=True)).not_to_have_value("")
    expect(page.locator(".map-box")).to_be_visible()
