"""A pipeline's YAML: what it says, and where it is wrong."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.pipelines.definitions import Draft, filled
from portal.pipelines.yaml_source import MOST_CHARACTERS, Document, Unreadable

GOOD = """
name: nightly
workspace: lab
parameters:
  day: today
  limit: {default: 010, description: Most rows}
  must:
environment: {ANSWER: no}
steps:
  - name: fetch
    script: fetch-data
    arguments: [--day, "${{ parameters.day }}", 007, 1.50, true]
    retries: {count: 2, exit_codes: [75]}
  - name: count
    script: count-rows
    version: 3
  - name: aside
    script: count-rows
    needs: []
  - name: last
    script: count-rows
    needs: [count, aside]
    inputs: [{step: fetch, files: [a.csv]}]
    retries: 1
"""


def problems(source: str) -> list[tuple[int, str, str]]:
    with pytest.raises(Unreadable) as caught:
        Draft(textwrap.dedent(source))
    return [(problem.line, problem.field, problem.message) for problem in caught.value.problems]


def test_every_default_is_filled_in_and_text_stays_as_it_was_written() -> None:
    found = Draft(GOOD).definition
    assert (found["concurrency"], found["on_failure"], found["environment"]) == ("queue", "stop", {"ANSWER": "no"})
    assert {name: p["default"] for name, p in found["parameters"].items()} == {
        "day": "today",
        "limit": "010",
        "must": None,
    }
    steps = {step["name"]: step for step in found["steps"]}
    assert steps["fetch"]["arguments"] == ["--day", "${{ parameters.day }}", "007", "1.50", "true"]
    assert [step["needs"] for step in found["steps"]] == [[], ["fetch"], [], ["count", "aside"]]
    assert steps["count"]["inputs"] == [{"step": "fetch", "files": []}]
    assert steps["last"]["inputs"] == [{"step": "fetch", "files": ["a.csv"]}]
    assert steps["fetch"]["retries"] == {"count": 2, "backoff_seconds": 5.0, "exit_codes": [75]}
    assert steps["last"]["retries"]["count"] == 1


STEP = "name: p\nworkspace: w\nsteps:\n"


@pytest.mark.parametrize(
    ("source", "line", "field", "words"),
    [
        ("", 1, "", "empty"),
        ("name: [", 1, "", "not YAML"),
        ("a: &x 1\nb: *x", 2, "", "Aliases"),
        ("a: !!python/object:os.system 1", 1, "a", "tag"),
        ("- 1", 1, "", "names with values"),
        ("workspace: w\nsteps: [{name: a, script: s}]", 1, "", "name is missing"),
        ("name: p\nname: q", 2, "name", "twice"),
        (STEP + "  - {name: a, script: s}\n  - {name: a, script: s}", 5, "steps.1.name", "Another step"),
        (STEP + "  - {name: a, script: s, needs: [b]}", 4, "steps.0.needs", "no step b"),
        (STEP + "  - {name: a, script: s, needs: [a]}", 4, "steps.0.needs", "needs itself"),
        (
            STEP + "  - {name: fetch, script: s}\n  - {name: b, script: s, needs: [fetc]}",
            5,
            "steps.1.needs",
            "mean fetch",
        ),
        (
            STEP + "  - name: a\n    script: s\n    needs: [b]\n  - {name: b, script: s}",
            6,
            "steps.0.needs",
            "need each other",
        ),
        (STEP + "  - {name: A b, script: s}", 4, "steps.0.name", "small letters"),
        (STEP + "  - {name: a, script: s, limit: 3}", 4, "steps.0.limit", "Do you mean limits"),
        (STEP + "  - {name: a}", 4, "steps.0", "script is missing"),
        (STEP + "  - {name: a, script: s, retries: {count: 21}}", 4, "steps.0.retries.count", "20 at most"),
        (STEP + "  - {name: a, script: s, retries: []}", 4, "steps.0.retries", "form"),
        (
            "parameters: {day: {defualt: x}}\n" + STEP + "  - {name: a, script: s}",
            1,
            "parameters.day.defualt",
            "mean default",
        ),
        (STEP + "  - {name: a, script: s, secrets: [key]}", 4, "steps.0.secrets.0", "no name of a secret"),
        (STEP + "  - {name: a, script: s, version: 0}", 4, "steps.0.version", "1 at least"),
        (STEP + "  - {name: a, script: s, arguments: x}", 4, "steps.0.arguments", "a list"),
        (
            STEP + "  - {name: a, script: s, arguments: ['${{ parameters.x }}']}",
            4,
            "steps.0.arguments.0",
            "no parameter x",
        ),
        (STEP + "  - {name: a, script: s, arguments: ['${{ secrets.x }}']}", 4, "steps.0.arguments.0", "means nothing"),
        (STEP + "  - {name: a, script: s, inputs: [{step: a}]}", 4, "steps.0.inputs.0.step", "does not need a"),
        (
            STEP + "  - {name: a, script: s}\n  - {name: b, script: s, inputs: [{step: a, files: [../x]}]}",
            5,
            "steps.1.inputs.0.files.0",
            "no path",
        ),
        ("concurrency: never\n" + STEP + "  - {name: a, script: s}", 1, "concurrency", "one of forbid"),
        (STEP + "  []", 3, "steps", "not be empty"),
    ],
)
def test_an_error_names_its_line_and_field(source: str, line: int, field: str, words: str) -> None:
    found = problems(source)
    assert (found[0][0], found[0][1]) == (line, field)
    assert words in found[0][2]


def test_all_errors_are_told_in_the_order_of_their_lines() -> None:
    found = problems(STEP + "  - {name: a, script: s, needs: [x]}\n  - {name: b, script: s, needs: [y]}")
    assert [line for line, _, _ in found] == [4, 5]


def test_a_thousand_steps_are_read_and_one_more_is_refused() -> None:
    def source(count: int) -> str:
        return STEP + "".join(f"  - {{name: s{n}, script: s}}\n" for n in range(count))

    assert len(Draft(source(1_000)).definition["steps"]) == 1_000
    assert "more than 1000" in problems(source(1_001))[0][2]


@pytest.mark.parametrize(
    "source", ["[" * 5_000, "a: " * 5_000, "x" * (MOST_CHARACTERS + 1), "a: \x00", "? [1]\n: 2", "\ufeff"]
)
def test_a_source_that_strains_the_reader_is_refused(source: str) -> None:
    with pytest.raises(Unreadable):
        Draft(source)


@given(st.text(max_size=200))
def test_no_source_breaks_out_of_the_typed_error(source: str) -> None:
    try:
        Draft(source)
    except Unreadable as error:
        assert all(problem.line >= 1 and problem.message for problem in error.problems)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["a", "steps", "${{ x }}"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["name", "workspace", "steps", "script", "needs", "inputs"]), inner, max_size=4
            )
        ),
    )
)
def test_no_value_breaks_out_of_the_typed_error(value: Any) -> None:
    import yaml

    try:
        Draft(yaml.safe_dump(value))
    except Unreadable as error:
        assert error.problems


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("no", "no"), ("010", 10), ("~", None), ("1e3", 1000.0), ("1:30", "1:30")]
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert Document(f"a: {text}").value == {"a": value}


def test_texts_are_filled() -> None:
    values = {("parameters", "day"): "$1 \\1", ("run", "id"): "r"}
    assert filled("a-${{ parameters.day }}-${{run.id}}-${{ run.due_at }}", values) == "a-$1 \\1-r-"
