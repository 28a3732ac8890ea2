"""What only a browser can show: pages that move, ask before something is lost, and fit on a phone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from portal.accounts.services import ssh_key_add
from portal.clouds.models import CloudAccount
from portal.pipelines.models import Pipeline, Run, ScriptVersion, Step
from portal.workspaces.models import Instance, Workspace
from tests.fixtures.windows import WindowMaker, chromium, served, window

from .conftest import RunMaker, log_grown, terraform_run_made
from .pipelines_made import PipelineRunMaker, pipeline_made, pipeline_run_made

__all__ = ["chromium", "pipeline_made", "pipeline_run_made", "served", "window"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    # WhiteNoise hands out files in a way that Django's ASGI handler remarks on.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHXbHQ4mY0N9kyNmNTM3GUnYXDkz2ccqp4w1+6Jq3n3p ada@laptop"


def ended(run: Run) -> None:
    change = {"state": "succeeded", "finished_at": timezone.now()}
    Step.objects.filter(run=run).update(**change, exit_code=0)
    Run.objects.filter(pk=run.pk).update(**change)


def test_a_log_grows_is_followed_and_ends(window: WindowMaker, run_made: RunMaker) -> None:
    run = run_made("running", lines=[["out", f"line {n}"] for n in range(1, 101)])
    step = run.steps.get()
    with window() as w:
        page = w.open(reverse("run", args=[run.pk]))
        lines, follow = page.locator(".log-line"), page.locator("[data-log-follow]")
        expect(lines).to_have_count(100)
        log_grown(step, [["err", "<b>careful</b>"], ["out", "last one"]], first=101)
        expect(lines).to_have_count(102)
        expect(page.get_by_text("last one")).to_be_in_viewport()
        expect(page.locator("#L101")).to_have_attribute("data-stream", "err")
        expect(page.locator("#L101 .log-text")).to_have_text("<b>careful</b>")

        page.locator("[data-log-lines]").evaluate("box => { box.scrollTop = 0 }")
        expect(follow).to_have_attribute("aria-pressed", "false")
        log_grown(step, [["out", "unseen"]], first=103)
        expect(lines).to_have_count(103)
        expect(page.get_by_text("unseen")).not_to_be_in_viewport()
        follow.click()
        expect(page.get_by_text("unseen")).to_be_in_viewport()

        ended(run)
        expect(page.locator("#run-head").get_by_text("Succeeded")).to_be_visible()
        expect(page.get_by_role("button", name="Run again")).to_be_visible()
        expect(page.locator("#run-facts").get_by_text("(all well)")).to_be_visible()


def test_a_log_is_searched_and_a_line_is_linked_to(window: WindowMaker, run_made: RunMaker) -> None:
    run = run_made(lines=[["out", f"value {n % 50}"] for n in range(1, 201)])
    with window() as w:
        page = w.open(reverse("run", args=[run.pk]) + "#L150")
        expect(page.locator("#L150")).to_be_in_viewport()
        search = page.locator("[data-log-search]")
        search.fill("value 7")
        found = page.locator("[data-log-found]")
        expect(found).to_have_text("1 of 4 found")
        search.press("Enter")
        search.press("Shift+Enter")
        search.press("Shift+Enter")
        expect(found).to_have_text("4 of 4 found")
        expect(page.locator("#L157")).to_be_in_viewport()
        search.press("Escape")
        expect(page.locator(".log-found")).to_have_count(0)


def test_lines_are_shown_in_colours_and_with_their_times(window: WindowMaker, run_made: RunMaker) -> None:
    run = run_made("running", lines=[["out", "\x1b[32mgreen\x1b[0m plain"]])
    with window() as w:
        page = w.open(reverse("run", args=[run.pk]))
        expect(page.locator("#L1 .ansi-fore-2")).to_have_text("green")
        log_grown(run.steps.get(), [["out", "\x1b[31m<b>red</b>"]], first=2)
        expect(page.locator("#L2 .ansi-fore-1")).to_have_text("<b>red</b>")
        stamp = page.locator("#L2 .log-at")
        expect(stamp).not_to_be_visible()
        page.get_by_role("button", name="Times").click()
        expect(stamp).to_be_visible()
        assert re.fullmatch(r"\d\d:\d\d:01\.000", stamp.inner_text())
        page.reload()
        expect(stamp).to_be_visible()
        page.locator("[data-log-search]").fill("green plain")
        expect(page.locator("[data-log-found]")).to_have_text("1 of 1 found")


def test_a_pipeline_is_checked_while_it_is_written(
    window: WindowMaker, workspace: Workspace, version: ScriptVersion
) -> None:
    with window() as w:
        page = w.open(reverse("pipeline_new"))
        expect(page.get_by_role("heading", name="It fits")).to_be_visible()
        expect(page.locator(".dag .node")).to_have_count(4)
        source = page.locator("#source")
        written = source.input_value()
        source.fill(written.replace("needs: [first]", "needs: [frist]", 1))
        expect(page.get_by_text("Do you mean first?")).to_be_visible()
        wrong = page.locator(".editor-wrong")
        expect(wrong).to_have_count(1)
        expect(wrong).to_have_text("14")
        page.get_by_role("link", name="Line 14").click()
        expect(source).to_be_focused()
        assert source.evaluate("area => area.value.slice(area.selectionStart, area.selectionEnd)").startswith("needs")
        page.keyboard.press("End")
        page.keyboard.press("Enter")
        page.keyboard.type("retries: 1")
        assert "\n    retries: 1\n" in source.input_value()
        source.fill(written)
        expect(page.get_by_role("heading", name="It fits")).to_be_visible()
        expect(wrong).to_have_count(0)
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Created.")).to_be_visible()
        page.locator("#run-form").get_by_role("button", name="Run", exact=True).click()
        expect(page.locator("#run-head").get_by_text("0 of 4 steps done")).to_be_visible()
    assert Pipeline.objects.get().versions.get().source == written


def test_a_run_of_a_pipeline_is_watched(window: WindowMaker, pipeline_run_made: PipelineRunMaker) -> None:
    run = pipeline_run_made({"fetch": "succeeded", "left": "running"})
    left, right = (run.steps.get(key=key) for key in ("left", "right"))
    with window() as w:
        page = w.open(reverse("run", args=[run.pk]))
        expect(page.get_by_role("heading", name="Step left")).to_be_visible()
        expect(page.get_by_role("link", name="right: Waiting")).to_be_visible()
        Step.objects.filter(pk=right.pk).update(state="running", started_at=timezone.now())
        expect(page.get_by_role("link", name="right: Running")).to_be_visible()
        expect(page.get_by_text("1 of 4 steps done, 2 running.")).to_be_visible()
        log_grown(left, [["out", "of left"]], first=2)
        expect(page.get_by_text("of left")).to_be_visible()
        page.get_by_role("link", name="right: Running").press("Enter")
        expect(page.get_by_role("heading", name="Step right")).to_be_visible()
        ended(run)
        expect(page.get_by_role("link", name="report: Succeeded")).to_be_visible()
        expect(page.get_by_role("button", name="Run whole again")).to_be_visible()
        expect(page.get_by_role("button", name="Do this step again")).to_be_visible()


def test_the_summary_moves_without_a_reload(window: WindowMaker, run_made: RunMaker) -> None:
    run = run_made("running")
    with window() as w:
        page = w.open(reverse("run_list"))
        expect(page.locator("#runs-timeline .bar-busy").first).to_be_attached()
        ended(run)
        expect(page.locator("#runs-timeline .bar-good").first).to_be_attached()
        expect(page.locator("#runs-rows").get_by_text("Succeeded")).to_be_visible()
        expect(page.locator("#runs-running section")).to_have_count(0)


def test_a_workspace_moves_without_a_reload(window: WindowMaker, workspace: Workspace) -> None:
    with window() as w:
        page = w.open(reverse("workspace", args=[workspace.pk]))
        page.locator("summary", has_text="Make the host known").click()
        run = terraform_run_made(workspace, "applying", resources_done=1)
        expect(page.get_by_text("1 of 2")).to_be_visible()
        expect(page.locator("progress")).to_have_attribute("value", "1")
        expect(page.get_by_text("127.3.4.5 ssh-ed25519")).to_be_visible()
        run.delete()
        Workspace.objects.filter(pk=workspace.pk).update(state="stopped", active_run=None)
        expect(page.get_by_role("button", name="Start")).to_be_visible()


def test_data_is_deleted_only_after_its_name_was_typed(window: WindowMaker, workspace: Workspace) -> None:
    with window() as w:
        page = w.open(reverse("workspace", args=[workspace.pk]))
        page.locator("#ws-more").click()
        page.get_by_text("Destroy with all data…").click()
        delete = page.get_by_role("button", name="Delete everything")
        expect(delete).to_be_disabled()
        page.locator("#delete-name").fill("lab")
        expect(delete).to_be_disabled()
        page.keyboard.press("Escape")
        expect(delete).not_to_be_visible()
        page.locator("#ws-more").click()
        page.get_by_text("Destroy with all data…").click()
        page.locator("#delete-name").fill("Lab")
        delete.click()
        expect(page.get_by_text("Destroy with all data").first).to_be_visible()
    assert workspace.terraform_runs.get().operation == "destroy_data"


def test_what_a_click_has_opened_stays_open_while_nothing_else_changes(
    window: WindowMaker, workspace: Workspace
) -> None:
    with window() as w:
        page = w.open(reverse("workspace", args=[workspace.pk]))
        page.locator("#ws-more").click()
        menu = page.get_by_text("Destroy with all data…")
        expect(menu).to_be_visible()
        before = page.locator("#ws-head > div").element_handle()
        Instance.objects.update(load=3.21)
        expect(page.get_by_text("3.21 on")).to_be_visible()
        expect(menu).to_be_visible()
        assert before is not None
        assert before.evaluate("element => element.isConnected")


def test_what_is_to_be_copied_is_copied(window: WindowMaker, workspace: Workspace) -> None:
    with window() as w:
        page = w.open(reverse("workspace", args=[workspace.pk]))
        page.get_by_role("button", name="Copy the command").click()
        expect(page.locator(".btn-copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()").endswith("analyst@127.3.4.5")


def test_what_htmx_is_refused_floats_in(window: WindowMaker, workspace: Workspace) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(ready_at=timezone.now())
    with window() as w:
        page = w.open(reverse("workspace", args=[workspace.pk]))
        page.route("**/credentials/", lambda route: route.fulfill(status=500, body="no"))
        page.get_by_role("button", name="AWS credentials").click()
        # In the browser's top layer: an open dialog does not hide it.
        expect(page.locator("#toasts:popover-open").get_by_text("That did not work.")).to_be_visible()
        w.complaints.clear()


def test_credentials_are_forgotten_when_their_dialog_is_closed(window: WindowMaker, workspace: Workspace) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(ready_at=timezone.now())
    with window() as w:
        page = w.open(reverse("workspace", args=[workspace.pk]))
        page.route("**/credentials/", lambda route: route.fulfill(body="<p>very secret</p>"))
        page.get_by_role("button", name="AWS credentials").click()
        expect(page.get_by_text("very secret")).to_be_visible()
        page.get_by_role("button", name="Done").click()
        expect(page.get_by_text("very secret")).to_have_count(0)


def test_light_and_dark_follow_the_system_until_one_chooses(window: WindowMaker) -> None:
    with window(scheme="dark") as w:
        page = w.open("/")
        expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
        page.get_by_role("button", name="Theme").click()
        expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")


def test_the_keyboard_reaches_the_content_first(window: WindowMaker) -> None:
    with window() as w:
        page = w.open("/")
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")


def test_a_folder_is_uploaded_as_it_lies(window: WindowMaker, cloud_account: CloudAccount, tmp_path: Path) -> None:
    (tmp_path / "weather" / "lib").mkdir(parents=True)
    (tmp_path / "weather" / "main.py").write_text("print(1)\n")
    (tmp_path / "weather" / "lib" / "a.py").write_text("x = 1\n")
    (tmp_path / "weather" / "__pycache__").mkdir()
    (tmp_path / "weather" / "__pycache__" / "a.pyc").write_text("junk")
    with window() as w:
        page = w.open(reverse("script_new"))
        page.set_input_files("[data-drop-folder]", str(tmp_path / "weather"))
        expect(page.locator("[data-drop-files] li")).to_have_count(2)
        expect(page.locator("[data-drop-total]")).to_have_text("2 files, 15 B")
        expect(page.locator("[name=name]")).to_have_value("main")
        page.get_by_role("button", name="Upload", exact=True).click()
        expect(page.get_by_text("Uploaded.")).to_be_visible()
        page.get_by_role("link", name="lib/a.py").click()
        expect(page.locator("div.code")).to_contain_text("x = 1")
    assert [file["path"] for file in ScriptVersion.objects.get().files] == ["lib/a.py", "main.py"]


def test_dropped_files_can_be_left_out_again(window: WindowMaker) -> None:
    drop = """() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File(["print(1)"], "main.py"));
        transfer.items.add(new File(["x"], "notes.txt"));
        document.querySelector("[data-drop]").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer }));
    }"""
    with window() as w:
        page = w.open(reverse("script_new"))
        page.evaluate(drop)
        rows = page.locator("[data-drop-files] li")
        expect(rows).to_have_count(2)
        page.get_by_role("button", name="Leave out notes.txt").click()
        expect(rows).to_have_count(1)
        assert page.evaluate("document.querySelector('[name=files]').files.length") == 1


def test_variables_are_added_row_by_row(
    window: WindowMaker, workspace: Workspace, version: ScriptVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.web.views.scripts.file_text", lambda version, path: "print()")
    with window() as w:
        page = w.open(reverse("script", args=[version.script_id]))
        page.locator("summary", has_text="Environment variables").click()
        page.get_by_role("button", name="Another one").click()
        page.get_by_role("button", name="Another one").click()
        for index, (name, value) in enumerate((("A", "1"), ("B", "2"), ("C", "3"))):
            page.locator("#run-form [name=variable]").nth(index).fill(name)
            page.locator("#run-form [name=value]").nth(index).fill(value)
        page.get_by_role("button", name="Remove this variable").nth(1).click()
        page.locator("#run-form").get_by_role("button", name="Run", exact=True).click()
        expect(page.locator("#run-head")).to_be_visible()
    assert Step.objects.get().environment == {"A": "1", "C": "3"}


TOO_WIDE = """() => [...document.querySelectorAll("main *")]
    .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth)
    .filter((element) => !element.closest(".code"))
    .map((element) => `${element.tagName}.${element.className}`).slice(0, 9)"""


def addresses(workspace: Workspace, run: Run, terraform_run_id: str, of_pipeline: Run) -> list[str]:
    return [
        "/",
        reverse("workspace_list"),
        reverse("workspace_new"),
        reverse("workspace", args=[workspace.pk]),
        reverse("terraform_run", args=[terraform_run_id]),
        reverse("script_list"),
        reverse("script_new"),
        reverse("script", args=[run.script_id]),
        reverse("pipeline_list"),
        reverse("pipeline_new"),
        reverse("pipeline", args=[of_pipeline.pipeline_id]),
        reverse("pipeline_edit", args=[of_pipeline.pipeline_id]),
        reverse("run_list"),
        reverse("run", args=[run.pk]),
        reverse("run", args=[of_pipeline.pk]),
        reverse("notification_list"),
        reverse("notification_new"),
        reverse("account"),
        reverse("account_email"),
        reverse("mfa_index"),
        reverse("docs"),
        "/nothing/",
    ]


@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_fits_and_the_console_is_silent(
    window: WindowMaker,
    workspace: Workspace,
    run_made: RunMaker,
    pipeline_run_made: PipelineRunMaker,
    monkeypatch: pytest.MonkeyPatch,
    width: int,
) -> None:
    monkeypatch.setattr("portal.web.views.scripts.file_text", lambda version, path: "x" * 400)
    long = "A_name_without_a_single_space_that_goes_on_and_on"
    of_pipeline = pipeline_run_made(
        {"fetch": "succeeded", "left": "failed"},
        state="failed",
        lines=[["out", "x" * 500]],
        more={"left": {"message": long * 3, "arguments": [long, long]}},
    )
    Workspace.objects.update(name=long)
    Pipeline.objects.update(name=long)
    Run.objects.update(name=long, parameters={long: long})
    terraform_run = terraform_run_made(workspace, "planned")
    run = run_made("failed", name=long, lines=[["out", "x" * 500]], message=long * 3, arguments=[long, long])
    ssh_key_add(owner=workspace.owner, name=long, public_key=KEY)
    with window(width=width) as w:
        for address in addresses(workspace, run, terraform_run.pk, of_pipeline):
            page = w.open(address)
            page.wait_for_load_state("load")
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert over <= 0, f"{address} is {over} px too wide: {page.evaluate(TOO_WIDE)}"


def test_on_a_phone_the_menu_is_a_drawer(window: WindowMaker) -> None:
    with window(width=360) as w:
        page = w.open("/")
        runs = page.get_by_role("link", name="Runs", exact=True)
        expect(runs).not_to_be_visible()
        page.get_by_role("button", name="Menu").click()
        runs.click()
        expect(page.get_by_role("heading", name="Runs")).to_be_visible()
