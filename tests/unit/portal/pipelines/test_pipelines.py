"""Pipelines: saved, run in order, tried again, stopped, and run again from where they failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from django.utils import timezone

from agents.orca_agent import protocol
from portal.accounts.models import User
from portal.core.errors import Conflict, Invalid
from portal.pipelines import again, progress, services
from portal.pipelines.events import run_ended
from portal.pipelines.models import LogChunk, Outbox, Pipeline, PipelineVersion, Run, ScriptVersion, State, Step
from portal.pipelines.pipelines import pipeline_apply, pipeline_archive, pipeline_check, pipeline_run
from portal.workspaces.models import Instance, Workspace
from tests.unit.portal.pipelines.conftest import Agent, queued_tasks, ready_workspace

HEAD = "name: nightly\nworkspace: lab\n"
CHAIN = "steps: [{name: a, script: hello}, {name: b, script: hello}, {name: c, script: hello}]\n"
DIAMOND = """
steps:
  - {name: a, script: hello}
  - {name: b, script: hello, needs: [a]}
  - {name: c, script: hello, needs: [a]}
  - {name: d, script: hello, needs: [b, c]}
"""
pytestmark = pytest.mark.usefixtures("version")


class Bench:
    """A pipeline, its runs, and the agent that does their steps."""

    def __init__(self, owner: User, workspace: Workspace, agent: Agent, committed: Any) -> None:
        self.owner, self.workspace, self.agent, self.committed = owner, workspace, agent, committed

    def save(self, steps: str, head: str = HEAD) -> Pipeline:
        pipeline, _, _ = pipeline_apply(owner=self.owner, source=head + steps)
        return pipeline

    def run(self, pipeline: Pipeline, **given: Any) -> Run:
        with self.committed(execute=True):
            return pipeline_run(pipeline=pipeline, by=self.owner, **given)

    def do(self, act: Callable[..., Any], **given: Any) -> Any:
        with self.committed(execute=True):
            return act(**given)

    def end(self, run: Run, key: str, state: str = "succeeded", **more: Any) -> None:
        step = Step.objects.get(run=run, key=key)
        given = {"exit_code": 0 if state == "succeeded" else 1} | more
        self.agent.say(self.agent.finished(step, state, attempt=step.attempt, **given))

    def states(self, run: Run) -> dict[str, str]:
        return {step.key: str(step.state) for step in Step.objects.filter(run=run).order_by("position")}

    def sent(self) -> list[str]:
        """The names of the steps that have gone out, in the order of their going."""
        rows = Outbox.objects.filter(sent_at__isnull=False).select_related("step").order_by("created_at", "id")
        return [row.step.key for row in rows]

    def state(self, run: Run) -> str:
        return str(Run.objects.get(pk=run.pk).state)


@pytest.fixture
def bench(owner: User, workspace: Workspace, agent: Agent, django_capture_on_commit_callbacks: Any) -> Bench:
    return Bench(owner, workspace, agent, django_capture_on_commit_callbacks)


def test_the_same_again_is_no_new_version(bench: Bench, owner: User) -> None:
    first, one, changed = pipeline_apply(owner=owner, source=HEAD + CHAIN)
    assert (one.number, changed) == (1, True)
    assert pipeline_apply(owner=owner, source=HEAD + CHAIN)[1:] == (one, False)
    same, two, changed = pipeline_apply(owner=owner, source=HEAD + "concurrency: allow\n" + DIAMOND)
    assert (same.pk, two.number, changed, same.concurrency) == (first.pk, 2, True, "allow")


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("name: p\nworkspace: nowhere\n" + CHAIN, "line 2, workspace", "no workspace nowhere"),
        (HEAD + "steps:\n  - {name: a, script: gone}\n", "line 4, steps.0.script", "no script gone"),
        (HEAD + "steps:\n  - {name: a, script: hello, version: 9}\n", "line 4, steps.0.version", "no version 9"),
        (
            HEAD + "steps:\n  - {name: a, script: hello, limits: {seconds: 0}}\n",
            "line 4, steps.0.limits",
            "must be from",
        ),
        (HEAD + "environment: {LD_PRELOAD: x}\n" + CHAIN, "line 4, steps.0.environment", "LD_"),
    ],
)
def test_what_its_owner_does_not_have_is_named(bench: Bench, owner: User, source: str, place: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        pipeline_apply(owner=owner, source=source)
    assert words in caught.value.fields[place]
    assert words in pipeline_check(owner=owner, source=source)[0].message
    assert not Pipeline.objects.exists()


def test_the_only_workspace_needs_no_name(bench: Bench, owner: User, workspace: Workspace) -> None:
    pipeline, _, _ = pipeline_apply(owner=owner, source="name: p\n" + CHAIN)
    assert pipeline.workspace == workspace
    ready_workspace(owner, workspace.cloud_account, name="other")
    (problem,) = pipeline_check(owner=owner, source="name: q\n" + CHAIN)
    assert (problem.field, problem.message) == ("workspace", "Say which workspace: lab, other.")


def test_steps_follow_each_other(bench: Bench) -> None:
    run = bench.run(bench.save(CHAIN))
    assert bench.states(run) == {"a": "queued", "b": "waiting", "c": "waiting"}
    bench.agent.say(bench.agent.started(Step.objects.get(run=run, key="a")))
    assert bench.state(run) == "running"
    bench.end(run, "a")
    assert (bench.states(run)["b"], bench.sent(), bench.state(run)) == ("queued", ["a", "b"], "running")
    bench.end(run, "b")
    bench.end(run, "c")
    assert (bench.state(run), bench.sent()) == ("succeeded", ["a", "b", "c"])


def test_a_step_waits_for_all_that_it_needs(bench: Bench) -> None:
    run = bench.run(bench.save(DIAMOND))
    bench.end(run, "a")
    assert bench.states(run) == {"a": "succeeded", "b": "queued", "c": "queued", "d": "waiting"}
    bench.end(run, "c")
    assert bench.states(run)["d"] == "waiting"
    bench.end(run, "b")
    assert bench.states(run)["d"] == "queued"


def test_a_sequence_is_one_group_and_branches_are_others(bench: Bench) -> None:
    pipeline = bench.save(DIAMOND)
    lanes = dict(Step.objects.filter(run=bench.run(pipeline)).values_list("key", "lane"))
    assert lanes["a"] == lanes["b"] == lanes["d"] == pipeline.pk
    assert lanes["c"] not in {lanes["a"], ""}


def test_a_failure_stops_the_rest(bench: Bench) -> None:
    run = bench.run(bench.save(DIAMOND))
    bench.end(run, "a")
    bench.end(run, "b", "failed")
    assert bench.states(run)["d"] == "skipped"
    asked = Step.objects.get(run=run, key="c")
    assert asked.cancel_requested_at is not None  # it lay in the queue
    bench.end(run, "c", "cancelled", exit_code=None, signal=15)
    assert bench.state(run) == "failed"


def test_what_does_not_need_the_failed_step_may_go_on(bench: Bench) -> None:
    steps = DIAMOND + "  - {name: e, script: hello, needs: [c]}\n  - {name: f, script: hello, needs: [d]}\n"
    run = bench.run(bench.save(steps, HEAD + "on_failure: continue\n"))
    bench.end(run, "a")
    bench.end(run, "b", "failed")
    assert bench.states(run) == {
        "a": "succeeded",
        "b": "failed",
        "c": "queued",
        "d": "skipped",
        "e": "waiting",
        "f": "skipped",
    }
    bench.end(run, "c")
    bench.end(run, "e")
    assert bench.state(run) == "failed"


RETRIED = "steps: [{name: a, script: hello, retries: {count: 2, backoff_seconds: 0, exit_codes: [75]}}]\n"


def test_a_step_is_tried_again(bench: Bench) -> None:
    run = bench.run(bench.save(RETRIED))
    bench.end(run, "a", "failed", exit_code=75)
    step = Step.objects.get(run=run)
    assert (step.state, step.attempt, bench.state(run)) == ("queued", 2, "queued")
    assert [(one["attempt"], one["exit_code"]) for one in step.tries] == [(1, 75)]
    bench.end(run, "a", "failed", exit_code=75)
    bench.end(run, "a")
    assert (bench.state(run), [one["attempt"] for one in Step.objects.get(run=run).tries]) == ("succeeded", [1, 2])
    assert [task.attempt for task in queued_tasks(bench.workspace)] == [1, 2, 3]


@pytest.mark.parametrize(("state", "code"), [("failed", 1), ("cancelled", None), ("timed_out", None)])
def test_only_what_was_named_is_tried_again(bench: Bench, state: str, code: int | None) -> None:
    run = bench.run(bench.save(RETRIED))
    bench.end(run, "a", state, exit_code=code)
    assert bench.state(run) == state


def test_tries_come_to_an_end(bench: Bench) -> None:
    run = bench.run(bench.save(RETRIED))
    for _ in range(3):
        bench.end(run, "a", "failed", exit_code=75)
    assert (bench.state(run), Step.objects.get(run=run).attempt) == ("failed", 3)


def test_a_second_end_of_a_try_does_not_use_up_the_next(bench: Bench) -> None:
    run = bench.run(bench.save(RETRIED))
    step = Step.objects.get(run=run)
    bench.end(run, "a", "failed", exit_code=75)
    bench.agent.say(bench.agent.finished(step, "failed", attempt=1, exit_code=75))
    step.refresh_from_db()
    assert (step.state, len(step.tries)) == ("queued", 1)


def test_each_try_has_a_log_of_its_own(bench: Bench) -> None:
    run = bench.run(bench.save(RETRIED))
    step = Step.objects.get(run=run)
    bench.agent.say(bench.agent.started(step), bench.agent.log(step, 1, "first"))
    bench.end(run, "a", "failed", exit_code=75)
    bench.agent.say(bench.agent.started(step, attempt=2), bench.agent.log(step, 1, "second", attempt=2))
    bench.agent.say(bench.agent.log(step, 2, "late"))
    found = LogChunk.objects.order_by("execution", "first")
    assert [(c.execution, c.first, c.lines[0][2]) for c in found] == [(1, 1, "first"), (1, 2, "late"), (2, 1, "second")]


def test_a_retry_waits_and_the_sweep_begins_it(bench: Bench) -> None:
    run = bench.run(bench.save("steps: [{name: a, script: hello, retries: {count: 3, backoff_seconds: 100}}]\n"))
    bench.end(run, "a", "failed")
    step = Step.objects.get(run=run)
    assert step.state == "waiting"
    assert step.retry_at is not None
    assert 90 < (step.retry_at - timezone.now()).total_seconds() <= 100
    assert progress.retries_sweep() == 0
    Step.objects.update(retry_at=timezone.now())
    assert bench.do(progress.retries_sweep) == 1
    bench.end(run, "a", "failed")
    step.refresh_from_db()
    assert step.retry_at is not None
    assert (step.retry_at - timezone.now()).total_seconds() > 190


def test_a_run_is_stopped(bench: Bench) -> None:
    run = bench.run(bench.save(CHAIN))
    bench.end(run, "a")
    bench.do(services.run_cancel, run=run, by=bench.owner)
    assert bench.states(run) == {"a": "succeeded", "b": "queued", "c": "cancelled"}
    bench.end(run, "b", "cancelled", exit_code=None, signal=15)
    assert bench.state(run) == "cancelled"


def test_the_next_run_waits(bench: Bench) -> None:
    pipeline = bench.save(CHAIN)
    runs = [bench.run(pipeline) for _ in range(3)]
    assert [Run.objects.get(pk=run.pk).held for run in runs] == [False, True, True]
    assert set(bench.states(runs[1]).values()) == {"waiting"}
    for key in "abc":
        bench.end(runs[0], key)
    assert [bench.states(run)["a"] for run in runs] == ["succeeded", "queued", "waiting"]
    bench.do(services.run_cancel, run=runs[2])
    assert bench.state(runs[2]) == "cancelled"
    for key in "abc":
        bench.end(runs[1], key)
    assert bench.state(runs[1]) == "succeeded"


def test_a_second_run_is_refused(bench: Bench) -> None:
    pipeline = bench.save(CHAIN, HEAD + "concurrency: forbid\n")
    bench.run(pipeline)
    with pytest.raises(Conflict) as caught:
        bench.run(pipeline)
    assert (caught.value.code, Run.objects.count()) == ("pipeline_busy", 1)


def test_a_new_run_replaces_the_old(bench: Bench) -> None:
    pipeline = bench.save(CHAIN, HEAD + "concurrency: replace\n")
    old, new = bench.run(pipeline), bench.run(pipeline)
    assert set(bench.states(new).values()) == {"waiting"}  # until the old one has let go
    bench.end(old, "a", "cancelled", exit_code=None, signal=15)
    assert (bench.state(old), bench.states(new)["a"]) == ("cancelled", "queued")


def test_runs_may_overlap_where_the_pipeline_says_so(bench: Bench) -> None:
    pipeline = bench.save(CHAIN, HEAD + "concurrency: allow\n")
    assert [bench.states(bench.run(pipeline))["a"] for _ in range(2)] == ["queued", "queued"]


def test_parameters_fill_the_texts(bench: Bench) -> None:
    head = HEAD + "parameters: {day: today, must: }\nenvironment: {DAY: 'd-${{ parameters.day }}'}\n"
    pipeline = bench.save(
        "steps: [{name: a, script: hello, arguments: ['${{parameters.must}}', '${{ run.id }}']}]\n", head
    )
    run = bench.run(pipeline, parameters={"must": "x y"})
    step = Step.objects.get(run=run)
    assert (step.arguments, step.environment) == (["x y", run.pk], {"DAY": "d-today"})
    assert run.parameters == {"day": "today", "must": "x y"}


@pytest.mark.parametrize("given", [{}, {"must": "x", "other": "y"}, {"must": "x" * 10_001}])
def test_parameters_that_do_not_fit_are_refused(bench: Bench, given: dict[str, str]) -> None:
    pipeline = bench.save(CHAIN, HEAD + "parameters: {must: }\n")
    with pytest.raises(Invalid):
        bench.run(pipeline, parameters=given)
    assert not Run.objects.exists()


def test_a_run_keeps_the_version_that_it_ran_with(bench: Bench, owner: User) -> None:
    pipeline = bench.save(CHAIN)
    run = bench.run(pipeline)
    bench.save(DIAMOND)
    assert len(bench.states(run)) == 3
    for key in "abc":
        bench.end(run, key)
    repeated = bench.do(again.run_again, run=run, by=owner)
    assert repeated.pipeline_version == PipelineVersion.objects.get(number=1)
    assert (len(bench.states(repeated)), repeated.again_of) == (3, run)


def test_a_retry_starts_where_it_failed(bench: Bench, owner: User) -> None:
    run = bench.run(bench.save(CHAIN))
    bench.end(run, "a")
    bench.end(run, "b", "failed")
    retried = bench.do(again.run_retry, run=Run.objects.get(pk=run.pk), by=owner)
    assert bench.states(retried) == {"a": "succeeded", "b": "queued", "c": "waiting"}
    done, origin = Step.objects.get(run=retried, key="a"), Step.objects.get(run=run, key="a")
    assert (done.origin, done.object_key("output/x")) == (origin, origin.object_key("output/x"))
    bench.end(retried, "b")
    bench.end(retried, "c")
    assert bench.state(retried) == "succeeded"
    with pytest.raises(Conflict):
        again.run_retry(run=Run.objects.get(pk=retried.pk), by=owner)


def test_one_step_is_done_again(bench: Bench, owner: User) -> None:
    run = bench.run(bench.save(DIAMOND))
    for key in "abcd":
        bench.end(run, key)
    made = bench.do(again.step_again, step=Step.objects.get(run=run, key="d"), by=owner)
    assert bench.states(made) == {"b": "succeeded", "c": "succeeded", "d": "queued"}
    bench.end(made, "d")
    assert bench.state(made) == "succeeded"


def test_a_running_run_is_not_run_again_in_part(bench: Bench, owner: User) -> None:
    run = bench.run(bench.save(CHAIN))
    with pytest.raises(Conflict):
        again.run_retry(run=run, by=owner)


def test_what_is_used_is_not_deleted(bench: Bench, owner: User, version: ScriptVersion) -> None:
    pipeline = bench.save(CHAIN)
    run = bench.run(pipeline)
    with pytest.raises(Conflict) as caught:
        services.script_archive(script=version.script, by=owner)
    assert caught.value.code == "script_in_use"
    with pytest.raises(Conflict) as caught:
        pipeline_archive(pipeline=pipeline, by=owner)
    assert caught.value.code == "pipeline_running"
    for key in "abc":
        bench.end(run, key)
    pipeline_archive(pipeline=pipeline, by=owner)
    pipeline.refresh_from_db()
    with pytest.raises(Conflict):
        bench.run(pipeline)
    services.script_archive(script=version.script, by=owner)
    with pytest.raises(Conflict):
        bench.do(again.run_again, run=Run.objects.get(pk=run.pk), by=owner)


def test_a_step_runs_in_a_workspace_of_its_own(bench: Bench, owner: User, workspace: Workspace) -> None:
    other = ready_workspace(owner, workspace.cloud_account, name="other")
    Instance.objects.filter(workspace=other).update(instance_id="i-other")
    run = bench.run(bench.save("steps: [{name: a, script: hello}, {name: b, script: hello, workspace: other}]\n"))
    bench.end(run, "a")
    assert [task.step for task in queued_tasks(other)] == [Step.objects.get(run=run, key="b").pk]


def test_the_end_of_a_run_is_told_once(bench: Bench) -> None:
    told: list[str] = []

    def hear(sender: object, run: Run, **_: Any) -> None:
        told.append(f"{run.pk} {run.state}")

    run_ended.connect(hear)
    try:
        run = bench.run(bench.save(CHAIN))
        for key in "abc":
            bench.end(run, key)
        bench.end(run, "c")
    finally:
        run_ended.disconnect(hear)
    assert told == [f"{run.pk} succeeded"]


def test_a_pipeline_of_a_thousand_steps_begins(bench: Bench) -> None:
    source = "steps:\n" + "".join(f"  - {{name: s{n}, script: hello}}\n" for n in range(1_000))
    run = bench.run(bench.save(source))
    bench.end(run, "s0")
    counted = list(Step.objects.filter(run=run, state=State.QUEUED).values_list("key", flat=True))
    assert counted == ["s1"]
    bench.end(run, "s1", "failed")
    assert (bench.state(run), Step.objects.filter(run=run, state=State.SKIPPED).count()) == ("failed", 998)


def output(path: str) -> protocol.Output:
    return protocol.Output(path, 3, "text/csv")


def test_a_step_is_told_where_its_inputs_lie(bench: Bench) -> None:
    run = bench.run(bench.save(DIAMOND))
    queued_tasks(bench.workspace)
    bench.end(run, "a", outputs=(output("a.csv"),))
    bench.end(run, "b")
    bench.end(run, "c", outputs=(output("c.csv"),))
    tasks = {task.step: task for task in queued_tasks(bench.workspace) if isinstance(task, protocol.Task)}
    steps = {step.key: step for step in Step.objects.filter(run=run)}
    given = {key: tasks[step.pk].inputs for key, step in steps.items() if step.pk in tasks}
    assert given["b"] == (protocol.Input("a", prefix=steps["a"].object_key("output/")),)
    assert given["d"] == (protocol.Input("b"), protocol.Input("c", prefix=steps["c"].object_key("output/")))


def test_inputs_of_another_workspace_are_links(bench: Bench, owner: User, workspace: Workspace) -> None:
    other = ready_workspace(owner, workspace.cloud_account, name="other")
    run = bench.run(bench.save("steps: [{name: a, script: hello}, {name: b, script: hello, workspace: other}]\n"))
    step = Step.objects.get(run=run, key="a")
    s3 = boto3.client("s3")
    s3.put_object(Bucket=workspace.bucket, Key=step.object_key("output/x/a.csv").replace("/0/", "/1/"), Body=b"1,2")
    bench.end(run, "a", outputs=(output("x/a.csv"),))
    (task,) = queued_tasks(other)
    assert isinstance(task, protocol.Task)
    (given,) = task.inputs
    manifest = json.loads(s3.get_object(Bucket=other.bucket, Key=given.manifest)["Body"].read())
    (file,) = manifest["files"]
    assert (given.step, file["path"], file["size"]) == ("a", "x/a.csv", 3)
    assert workspace.bucket in file["url"]
    assert given.manifest.startswith("control/")


def test_a_missing_input_ends_the_step_before_it_begins(bench: Bench) -> None:
    steps = "steps: [{name: a, script: hello}, {name: b, script: hello, inputs: [{step: a, files: [x.csv, y.csv]}]}]\n"
    run = bench.run(bench.save(steps))
    bench.end(run, "a", outputs=(output("x.csv"),))
    step = Step.objects.get(run=run, key="b")
    assert (step.state, step.reason, bench.state(run)) == ("failed", "input_missing", "failed")
    assert "a/y.csv" in step.message
    assert "x.csv" not in step.message
