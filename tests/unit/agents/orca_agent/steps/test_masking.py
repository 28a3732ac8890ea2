"""Secrets do not leave the instance."""

from __future__ import annotations

import pytest

from agents.orca_agent.steps.masking import Masker


@pytest.mark.parametrize(
    ("values", "text", "masked"),
    [
        ([], "hunter22", "hunter22"),
        (["hunter22"], "a hunter22 b hunter22", "a *** b ***"),
        (["abc"], "abcabc", "abcabc"),
        (["pass", "password"], "password pass", "*** ***"),
        (["-----BEGIN\nline-one\nline-two\n"], "x line-two", "x ***"),
        (["a.*b("], "a.*b( aXb", "*** aXb"),
        (["schlüssel"], "der schlüssel", "der ***"),
    ],
)
def test_values_are_masked(values: list[str], text: str, masked: str) -> None:
    assert Masker(values).mask_text(text) == masked
