"""How times, sizes, states and code are written."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agents.orca_agent.events import Reason
from portal.pipelines.models import State
from portal.web import states
from portal.web.code_shown import code_html, markdown_html, sheet_of
from portal.web.templatetags.orca import megabytes, relative, shell, size, spoken
from portal.workspaces.models import Instance, TerraformRun, Workspace


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (9.9, "just now"),
        (10, "10 seconds ago"),
        (60, "1 minute ago"),
        (119, "1 minute ago"),
        (3_600, "1 hour ago"),
        (86_400 * 2, "2 days ago"),
        (-5, "just now"),
        (-3_600, "in 1 hour"),
        (-86_400 * 90, "in 90 days"),
    ],
)
def test_when(seconds: float, words: str) -> None:
    assert relative(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (-1, "0.0 s"),
        (0.0412, "41 ms"),
        (0.0996, "0.1 s"),
        (0.44, "0.4 s"),
        (12.9, "12 s"),
        (184, "3 min 4 s"),
        (7_500, "2 h 5 min"),
        (86_400 * 3 + 3_600 * 4, "3 d 4 h"),
    ],
)
def test_how_long(seconds: float | None, words: str) -> None:
    assert spoken(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (123_456, "123 kB"),
        (2_500_000_000, "2.5 GB"),
        (10**13, "10.0 TB"),
    ],
)
def test_how_much(count: float, words: str) -> None:
    assert size(count) == words


def test_memory_and_arguments() -> None:
    assert megabytes(4_096) == "4.1 GB"
    assert megabytes(None) == "–"
    assert shell(["--a", "two words", "it's"]) == """--a 'two words' 'it'"'"'s'"""


def test_every_state_has_a_look_of_its_own() -> None:
    for kind, known in (
        ("run", State.values),
        ("workspace", Workspace.State.values),
        ("terraform", TerraformRun.State.values),
        ("instance", Instance.State.values),
    ):
        looks = [states.look_of(kind, state) for state in known]
        assert "Unknown" not in {look.label for look in looks}
        assert len({(look.icon, look.label) for look in looks}) == len(known)
    assert states.look_of("run", "new state of tomorrow").label == "Unknown"
    assert set(Workspace.State.values) == set(states.WORKSPACE_WORDS)


def test_every_reason_that_an_agent_gives_for_a_failure_comes_with_advice() -> None:
    reasons = {code for name, code in vars(Reason).items() if name.isupper()}
    without = {Reason.COMPLETED, Reason.CANCELLED, Reason.TASK_INVALID}
    for reason in reasons - without:
        assert states.run_advice("failed", reason), reason
    assert states.run_advice("failed", "something new") == ""
    assert states.run_advice("succeeded", "exit_code") == ""


def test_code_keeps_every_line_and_runs_none() -> None:
    html = code_html("\n\n<script>alert(1)</script>\n", "a.unknown-kind")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert html.count('class="normal"') == 3


def test_markdown_is_text_first() -> None:
    html = markdown_html("**b** <b onclick=x>y</b> ![pixel](http://evil/p.png) [go](javascript:x) [ok](https://x.org)")
    assert "<strong>b</strong>" in html
    assert "&lt;b onclick" in html
    assert "<img" not in html
    assert 'href="javascript' not in html
    assert 'href="https://x.org"' in html


def test_the_beginning_of_a_table() -> None:
    sheet = sheet_of('a,b\n1,2\n\n3,"x\ny"\n')
    assert (sheet.head, sheet.rows, sheet.more) == (["a", "b"], [["1", "2"], ["3", "x\ny"]], False)
    long = sheet_of("a\n" + "\n".join(str(n) for n in range(500)))
    assert (len(long.rows), long.more) == (100, True)
    assert sheet_of("").head == []


def test_a_line_that_was_cut_is_left_out() -> None:
    assert sheet_of("a,b\n1,2\n3,4", cut=True).rows == [["1", "2"]]
