"""The demo “satellite”: one script over a small sky on one node and on four real instances, to the statement."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_demo import demo_walked

pytestmark = pytest.mark.cloud

_STAGES = [
    "make a small sky",
    "sign up",
    "confirm the e-mail address",
    "get an API token",
    "build the workspace",
    "push the example",
    "look at what there is",
    "try it on a few scenes",
    "blur it on one node",
    "start three more nodes",
    "blur it on four nodes",
    "fetch the archive",
    "blur some in a container",
    "read the month's statement",
    "let Terraform finish",
]
_SCENES = 64


def test_the_demo_blurs_a_sky_on_four_nodes_and_says_what_it_cost(tmp_path: Path) -> None:
    result, said = demo_walked(tmp_path, "satellite")
    assert [stage["name"] for stage in result["stages"]] == _STAGES
    assert result["facts"]["files"] == str(_SCENES)
    assert float(result["facts"]["speed_up"]) >= 2
    assert "to pay" in said
