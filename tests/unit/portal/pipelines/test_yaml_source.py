"""What the source of a pipeline may be as YAML, before anybody asks what it says."""

from __future__ import annotations

import time

import pytest

from portal.pipelines.yaml_source import MOST_CHARACTERS, Document, Unreadable


def refused(source: str) -> tuple[str, int]:
    with pytest.raises(Unreadable) as caught:
        Document(source)
    return caught.value.problems[0].message, caught.value.problems[0].line


def test_what_is_nested_too_deeply_is_refused_at_once() -> None:
    assert Document("[" * 50 + "]" * 50).value
    began = time.monotonic()
    assert refused("a: 1\nb: " + "[" * (MOST_CHARACTERS - 10)) == ("It is nested too deeply.", 2)
    assert time.monotonic() - began < 5


def test_an_alias_cannot_make_much_of_little() -> None:
    assert refused("a: &x [1, 1]\nb: [*x, *x]")[0] == "Aliases (*name) cannot be used here."


def test_a_source_has_an_end() -> None:
    assert "characters" in refused("a" * (MOST_CHARACTERS + 1))[0]
