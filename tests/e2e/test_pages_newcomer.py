"""A newcomer's way, by mouse and keyboard in a real browser, with every part of Orca real: sign up, key, workspace with
its plan read first, script, run, outputs, and SSH with the command that the page shows."""

from __future__ import annotations

import re
import secrets
import shlex
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from scripts.orca.bench.installation import BUILD_SECONDS, Orca, link_mailed
from tests.fixtures.windows import chromium, page

__all__ = ["chromium", "page"]
pytestmark = [pytest.mark.cloud, pytest.mark.browser]
SCRIPT = """
import pathlib, sys, time
print("hello", sys.argv[1], flush=True)
print("careful", file=sys.stderr, flush=True)
time.sleep(3)
out = pathlib.Path("output"); out.mkdir(exist_ok=True)
(out / "table.csv").write_text("station,mean\\nPotsdam,9.4\\n")
(out / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="9"/></svg>')
print("done", flush=True)
"""
SOON = 30_000


def signed_up(page: Page, orca: Orca) -> None:
    email, password = f"p-{secrets.token_hex(5)}@example.org", secrets.token_urlsafe(16)
    page.goto("/")
    page.get_by_role("main").get_by_role("link", name="Sign up").click()
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_label("Password (again)").fill(password)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_text("Look into your mail")).to_be_visible()
    page.goto(urlsplit(link_mailed(orca, email)).path)
    expect(page.get_by_text("First steps")).to_be_visible()


def key_added(page: Page, folder: Path) -> Path:
    key = folder / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(key)], check=True)
    page.get_by_role("link", name="Add a key").click()
    page.get_by_label("Public key").fill(key.with_suffix(".pub").read_text())
    page.get_by_role("button", name="Add the key").click()
    expect(page.get_by_text("opens your machines now")).to_be_visible()
    return key


def workspace_built(page: Page) -> None:
    page.goto("/")
    page.get_by_role("main").get_by_role("link", name="Create", exact=True).click()
    page.get_by_label("Name").fill("First lab")
    page.get_by_label("Show me the plan").check()
    page.get_by_role("button", name="Create the workspace").click()
    yes = page.get_by_role("button", name="Yes, apply this plan")
    expect(yes).to_be_visible(timeout=BUILD_SECONDS * 1000)
    expect(page.get_by_role("cell", name="The machine", exact=True)).to_be_visible()
    yes.click()
    expect(page.locator("#ws-progress progress")).to_be_visible(timeout=SOON)
    expect(page.locator("#ws-head").get_by_text("Ready")).to_be_visible(timeout=BUILD_SECONDS * 1000)


def test_a_newcomer_comes_to_a_first_result(page: Page, running_orca: Orca, tmp_path: Path) -> None:
    signed_up(page, running_orca)
    key = key_added(page, tmp_path)
    workspace_built(page)
    workspace = page.url

    page.get_by_role("link", name="Scripts").click()
    page.get_by_role("link", name="Upload your first script").click()
    (tmp_path / "hello.py").write_text(SCRIPT)
    page.set_input_files("input[name=files]", str(tmp_path / "hello.py"))
    page.get_by_role("button", name="Upload", exact=True).click()
    page.get_by_label("Arguments").fill("'big world'")
    page.locator("#run-form").get_by_role("button", name="Run", exact=True).click()

    expect(page.get_by_text("hello big world")).to_be_visible(timeout=SOON)
    expect(page.locator("[data-stream=err]").get_by_text("careful")).to_be_visible()
    expect(page.locator("#run-head").get_by_text("Running")).to_be_visible()
    expect(page.locator("#run-head").get_by_text("Succeeded")).to_be_visible(timeout=SOON)
    expect(page.locator(".log-line").get_by_text("done", exact=True)).to_be_visible()
    expect(page.get_by_role("cell", name="Potsdam")).to_be_visible(timeout=SOON)
    picture = page.locator("#run-outputs img")
    expect(picture).to_be_visible()
    page.wait_for_function("document.querySelector('#run-outputs img').naturalWidth > 0")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download table.csv").click()
    assert saved.value.path().read_text() == "station,mean\nPotsdam,9.4\n"

    page.goto(workspace)
    _logged_in_by_ssh(page, key, tmp_path)
    _bucket_read(page, running_orca)


def _logged_in_by_ssh(page: Page, key: Path, folder: Path) -> None:
    """With the command and the known host that the page shows, asking nothing."""
    command = shlex.split(page.locator("#ws-connect code", has_text="ssh ").first.inner_text())
    page.locator("summary", has_text="Make the host known").click()
    known = folder / "known_hosts"
    known.write_text(page.locator("#ws-known-hosts .snippet code").first.inner_text() + "\n")
    strict = {"UserKnownHostsFile": known, "StrictHostKeyChecking": "yes", "BatchMode": "yes", "IdentityFile": key}
    options = [word for name, value in strict.items() for word in ("-o", f"{name}={value}")]
    said = subprocess.run([*command, *options, "whoami"], check=False, capture_output=True, text=True, timeout=60)
    assert (said.returncode, said.stdout.strip()) == (0, "analyst"), said.stderr


def _bucket_read(page: Page, orca: Orca) -> None:
    page.get_by_role("button", name="AWS credentials").click()
    exports = page.locator("#lent-exports").inner_text(timeout=SOON)
    variables = dict(re.findall(r"export (\w+)=(\S+)", exports))
    assert variables["AWS_ENDPOINT_URL"] == orca.cloud_url
    assert set(variables) >= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
