"""A setting that cannot be used is refused at the start, with a sentence that names it."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal import env

NAME = "ORCA_TOKEN_RATE"


@pytest.mark.parametrize("value", ["1/s", "30/min", "500/hour", "10000/day"])
def test_a_rate_is_read(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(NAME, value)
    assert env.rate(NAME, "5/min") == value


@pytest.mark.parametrize("value", ["", "30", "30/", "0/min", "-1/min", "thirty/min", "30/fortnight", "30/min/day"])
def test_what_is_no_rate_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(NAME, value)
    with pytest.raises(ImproperlyConfigured, match=NAME):
        env.rate(NAME, "5/min")


def test_nothing_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)
    assert env.rate(NAME, "5/min") == "5/min"
