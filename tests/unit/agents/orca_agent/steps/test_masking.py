"""Secrets do not leave the instance."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


SECRET = 'correct horse+battery/"staple" ünd\nmore than one line'


@pytest.mark.parametrize(
    "encoded",
    [
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        urlencode({"q": SECRET}),
    ],
)
def test_encodings_of_a_value_are_masked(encoded: str) -> None:
    masked = Masker([SECRET]).mask_text(f"x {encoded} y")
    assert masked.startswith("x ")
    assert masked.endswith(" y")
    assert len(masked) < 20, masked


@given(before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_base64_is_masked_wherever_the_value_stands_in_it(before: bytes, after: bytes) -> None:
    """All but what the value shares with its neighbours: four characters at either end."""
    value = b"hunter2-hunter2-hunter2"
    encoded = base64.b64encode(before + value + after)
    masked = Masker([value.decode()]).mask(encoded)
    assert b"***" in masked
    told = base64.b64decode(masked.split(b"***")[0][: len(masked.split(b"***")[0]) // 4 * 4])
    assert told in before + value[:2]


@pytest.mark.parametrize("program", ["base64", "base64 --wrap=64", "openssl base64", "base64 --wrap=0"])
def test_what_programs_make_of_a_value_is_masked(program: str) -> None:
    value = "".join(chr(33 + n * 7 % 90) for n in range(400))
    said = subprocess.run(
        f"printf %s {shlex.quote(value)} | {program}", shell=True, capture_output=True, text=True, check=True
    ).stdout
    masked = Masker([value])
    assert all(len(masked.mask_text(line)) <= 12 for line in said.splitlines()), masked.mask_text(said)


def test_of_a_large_file_the_lines_are_masked() -> None:
    lines = [f"line {number} of a keystore" for number in range(2_000)]
    masker = Masker(["\n".join(lines)])
    assert masker.mask_text(lines[1_234]) == "***"
    assert masker.longest < 100
