"""What pages show of a pipeline, of one that is still being written, and of an example to begin with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from portal.accounts.models import User
from portal.core.errors import OrcaError
from portal.pipelines.definitions import Draft
from portal.pipelines.models import OPEN, Pipeline, Run
from portal.pipelines.pipelines import pipeline_check
from portal.pipelines.selectors import pipeline_names, pipeline_version_get, runs_listed, script_names
from portal.schedules.selectors import schedules_of
from portal.web.code_shown import code_html
from portal.web.graph import layout, needs_of
from portal.web.pictures import Node, dag_svg
from portal.web.states import Look
from portal.workspaces.models import Workspace
from portal.workspaces.selectors import workspaces_of

_RUNS, _VERSIONS, _SCHEDULES, _PROBLEMS = 8, 50, 20, 50
_PLAIN = Look("", "plain", "circle")


@dataclass(frozen=True)
class Parameter:
    """A parameter as the form to run a pipeline asks for it."""

    name: str
    value: str
    description: str
    required: bool
    error: str = ""


def definition_dag(steps: Sequence[Mapping[str, Any]]) -> SafeString:
    """The picture of a definition's steps, which have no states."""
    return dag_svg(layout(needs_of(steps)), {step["name"]: Node(step["name"], _PLAIN, "") for step in steps})


def pipeline_shown(
    owner: User,
    pipeline: Pipeline,
    number: int | None,
    *,
    given: Mapping[str, str] | None = None,
    refused: OrcaError | None = None,
) -> dict[str, Any]:
    """All that its page shows, of its version ``number``; ``given`` and why it was ``refused``, if it was to be run."""
    newest = pipeline_version_get(pipeline=pipeline)
    version = newest if number in (None, newest.number) else pipeline_version_get(pipeline=pipeline, number=number)
    steps = version.definition["steps"]
    return {
        "pipeline": pipeline,
        "newest": newest,
        "version": version,
        "steps": steps,
        "dag": definition_dag(steps),
        "left_out": layout(needs_of(steps)).left_out,
        "source": code_html(version.source, "pipeline.yaml"),
        "versions": pipeline.versions.select_related("written_by").order_by("-number")[:_VERSIONS],
        "parameters": _parameters(newest.definition.get("parameters", {}), given or {}, refused),
        "refused": refused,
        "runs": runs_shown(owner, pipeline),
        "schedules": schedules_of(owner).filter(pipeline=pipeline).order_by("next_at", "id")[:_SCHEDULES],
        "open": pipeline.runs.filter(state__in=OPEN).count(),
    }


def runs_shown(owner: User, pipeline: Pipeline) -> list[Run]:
    """Its newest runs."""
    return list(runs_listed(owner).filter(pipeline=pipeline)[:_RUNS])


def _parameters(
    defined: Mapping[str, Mapping[str, Any]], given: Mapping[str, str], refused: OrcaError | None
) -> list[Parameter]:
    errors = refused.fields if refused else {}
    return [
        Parameter(
            name,
            given.get(name, parameter["default"] or ""),
            parameter["description"],
            parameter["default"] is None,
            errors.get(name, ""),
        )
        for name, parameter in defined.items()
    ]


def problems_shown(owner: User, source: str) -> dict[str, Any]:
    """What is wrong with a source, or the picture of what it says."""
    problems = pipeline_check(owner=owner, source=source)
    if problems:
        return {"problems": problems[:_PROBLEMS], "more": max(0, len(problems) - _PROBLEMS), "checked": True}
    definition = Draft(source).definition
    return {"problems": [], "steps": definition["steps"], "dag": definition_dag(definition["steps"]), "checked": True}


@dataclass(frozen=True)
class Example:
    """A pipeline to begin with; ``lacking`` names what one needs first: a workspace, a script."""

    source: str
    lacking: list[str]


def example(owner: User) -> Example:
    """A small pipeline of a person's own scripts, under a name that is free."""
    scripts = [name for _, name in script_names(owner)]
    usable = workspaces_of(owner).filter(state__in=Workspace.TAKES_RUNS).values_list("name", flat=True).first()
    taken = {name for _, name in pipeline_names(owner)}
    free = (name for name in ("my-pipeline", *(f"my-pipeline-{n}" for n in range(2, 1_000))) if name not in taken)
    first = scripts[0] if scripts else "my-script"
    second = scripts[1] if len(scripts) > 1 else first
    source = _EXAMPLE.format(
        name=next(free, "my-pipeline"),
        workspace=_yaml(usable or "my-workspace"),
        first=_yaml(first),
        second=_yaml(second),
    )
    return Example(source, [*([] if usable else ["workspace"]), *([] if scripts else ["script"])])


def _yaml(text: str) -> str:
    """A name as YAML: in quotes where it is more than a plain word, or could be taken for a number or true."""
    plain = text.replace("-", "").replace("_", "")
    word = plain.isascii() and plain.isalnum() and plain[0].isalpha() and text[0] != "-"
    return (
        text if word and text.lower() not in {"true", "false", "null", "yes", "no", "on", "off"} else json.dumps(text)
    )


_EXAMPLE = """\
name: {name}
description: What it is for
workspace: {workspace}
concurrency: queue        # forbid, queue, replace or allow a run while another one is open
parameters:
  day: {{default: today, description: Which day to work on}}
steps:
  - name: first
    script: {first}
    arguments: ["--day", "${{{{ parameters.day }}}}"]
    retries: 2
  - name: left
    script: {second}
    needs: [first]        # without it: the step before
  - name: right
    script: {second}
    needs: [first]
  - name: last
    script: {first}
    needs: [left, right]  # finds what they left below $ORCA_INPUTS/left and $ORCA_INPUTS/right
"""
