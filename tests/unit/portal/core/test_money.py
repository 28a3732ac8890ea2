"""Amounts as people read them: never nothing where there is something, and no more digits than say something."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import pytest

from portal.core.money import NANO, nano_of, shown


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        ("0", "$0.00"),
        ("1.5", "$1.50"),
        ("1234.567", "$1,234.57"),
        ("0.1", "$0.10"),
        ("0.0999", "$0.10"),
        ("0.0994", "$0.099"),
        ("0.05", "$0.05"),
        ("0.0148", "$0.015"),
        ("0.000431", "$0.00043"),
        ("0.000000042", "$0.000000042"),
        ("0.000000001", "$0.000000001"),
        ("-0.0148", "-$0.015"),
        ("-20", "-$20.00"),
    ],
)
def test_small_amounts_keep_two_figures(dollars: str, text: str) -> None:
    assert shown(nano_of(dollars)) == text


def test_what_is_smaller_than_a_nano_dollar_is_rounded() -> None:
    assert nano_of("0.0000000006") == 1
    assert nano_of(Decimal("2.5")) == 2.5 * NANO
    with pytest.raises(InvalidOperation):
        nano_of("much")
