"""What a step's task says of the files that it needs of earlier ones."""

from __future__ import annotations

import pytest

from agents.orca_agent import protocol
from portal.pipelines.inputs import inputs_of, lacking
from portal.pipelines.models import Run, ScriptVersion, Step
from portal.workspaces.models import Workspace


@pytest.mark.parametrize("truncated", [False, True])
def test_of_more_outputs_than_are_listed_the_agent_looks(
    workspace: Workspace, version: ScriptVersion, truncated: bool
) -> None:
    """Of those that are, the portal has looked by then."""
    run = Run.objects.create(owner=workspace.owner, workspace=workspace, name="r")
    listed = [{"path": "a.csv", "size": 1, "content_type": "text/csv"}]
    given = Step(run=run, workspace=workspace, key="a", name="a", version=version, attempt=1, state="succeeded")
    given.outputs, given.outputs_truncated = listed, truncated
    given.save()
    wanted = [{"step": "a", "files": ["a.csv", "z.csv"]}]
    step = Step.objects.create(
        run=run, workspace=workspace, key="b", name="b", version=version, position=2, needs=["a"], inputs=wanted
    )
    assert lacking(step) == ([] if truncated else ["a/z.csv"])
    (found,) = inputs_of(step, 1)
    prefix = given.object_key("output/")
    assert found == protocol.Input("a", prefix=prefix, files=("a.csv", "z.csv") if truncated else ())
