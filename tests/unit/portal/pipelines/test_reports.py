"""What agents say: believed only with the right signature, applied once, in any order, to their own rows alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from agents.orca_agent import protocol
from portal.clouds.models import CloudAccount
from portal.core.ids import new_id
from portal.pipelines import reports, selectors
from portal.pipelines.models import LogChunk, Run, State, Step
from portal.pipelines.reports import Signers, envelope_open, envelopes_apply
from portal.workspaces.control import signing_key
from portal.workspaces.models import Instance, Workspace
from tests.people import person
from tests.unit.portal.pipelines.conftest import Agent, envelope_apply, only_step, ready_workspace

Press = Callable[..., Run]


def test_a_run_goes_through_its_states(run_started: Press, agent: Agent) -> None:
    run = run_started()
    step = only_step(run)
    agent.say(agent.started(step))
    run.refresh_from_db()
    assert run.state == State.RUNNING
    outputs = (protocol.Output("chart.png", 10, "image/png"),)
    agent.say(agent.log(step, 1, "one", "two"), agent.finished(step, outputs=outputs, cpu_seconds=0.5))
    run.refresh_from_db()
    step.refresh_from_db()
    assert (run.state, step.state, step.exit_code, step.cpu_seconds) == (State.SUCCEEDED, State.SUCCEEDED, 0, 0.5)
    assert step.outputs == [{"path": "chart.png", "size": 10, "content_type": "image/png"}]
    assert [line.text for line in selectors.log_lines(step)] == ["one", "two"]
    assert [line.number for line in selectors.log_lines(step, after=1)] == [2]


def test_the_same_message_twice_changes_nothing_twice(run_started: Press, agent: Agent, workspace: Workspace) -> None:
    step = only_step(run_started())
    events = [agent.started(step), agent.log(step, 1, "x"), agent.finished(step)]
    body = protocol.sign_envelope(
        workspace.pk, "i-0123456789abcdef0", events, signing_key(workspace), sent_at=time.time()
    )
    assert envelope_apply(body=body) == 3
    envelope_apply(body=body)
    assert LogChunk.objects.count() == 1
    step.refresh_from_db()
    assert step.state == State.SUCCEEDED


def test_the_end_before_the_beginning_is_the_end(run_started: Press, agent: Agent) -> None:
    run = run_started()
    step = only_step(run)
    agent.say(agent.finished(step, "failed", exit_code=3, reason="exit_code", message="It ended with 3."))
    agent.say(agent.started(step))
    run.refresh_from_db()
    step.refresh_from_db()
    assert (run.state, step.state, step.exit_code) == (State.FAILED, State.FAILED, 3)


def test_a_second_end_changes_nothing(run_started: Press, agent: Agent) -> None:
    step = only_step(run_started())
    agent.say(agent.finished(step))
    agent.say(agent.finished(step, "failed", exit_code=1))
    step.refresh_from_db()
    assert (step.state, step.exit_code) == (State.SUCCEEDED, 0)


def test_a_wrong_signature_is_refused(run_started: Press, agent: Agent) -> None:
    step = only_step(run_started())
    agent.key = b"x" * 32
    with pytest.raises(protocol.BadSignature):
        agent.say(agent.finished(step))
    step.refresh_from_db()
    assert step.state == State.QUEUED


def test_an_unknown_workspace_is_refused() -> None:
    body = protocol.sign_envelope(new_id(), "i-1", [], b"k" * 32, sent_at=1.0)

    def nobody(_: str) -> bytes | None:
        return None

    with pytest.raises(protocol.ProtocolError):
        protocol.open_envelope(body, nobody)


def test_another_workspaces_run_is_out_of_reach(
    run_started: Press, cloud_account: CloudAccount, django_capture_on_commit_callbacks: Any
) -> None:
    step = only_step(run_started())
    stranger = ready_workspace(person("eve@example.org"), cloud_account)
    eve = Agent(stranger, django_capture_on_commit_callbacks)
    eve.say(eve.started(step), eve.log(step, 1, "mine now"), eve.finished(step), eve.heartbeat(step))
    step.refresh_from_db()
    assert (step.state, step.seen_at == step.released_at) == (State.QUEUED, True)
    assert not LogChunk.objects.exists()


def test_a_tampered_payload_is_refused(run_started: Press, agent: Agent, workspace: Workspace) -> None:
    step = only_step(run_started())
    body = protocol.sign_envelope(
        workspace.pk, "i-1", [agent.finished(step, "failed")], signing_key(workspace), sent_at=1.0
    )
    outer = json.loads(body)
    outer["payload"] = outer["payload"].replace("failed", "succeeded")
    with pytest.raises(protocol.BadSignature):
        envelope_apply(body=json.dumps(outer))


def test_a_logs_key_outside_its_own_place_is_ignored(run_started: Press, agent: Agent) -> None:
    step = only_step(run_started())
    agent.say(agent.finished(step, log=protocol.LogSummary(1, 1, False, "control/agent.json")))
    step.refresh_from_db()
    assert step.log_key == ""


def test_what_a_leaving_agent_gives_back_waits_again(run_started: Press, agent: Agent) -> None:
    run = run_started()
    step = only_step(run)
    agent.say(agent.started(step))
    agent.say(protocol.InstanceStopping(id=new_id(), at=time.time(), boot_id="boot", returned=(step.pk,)))
    run.refresh_from_db()
    assert run.state == State.QUEUED
    assert Instance.objects.get().state == "stopping"
    agent.say(agent.started(step))
    agent.say(agent.finished(step))
    run.refresh_from_db()
    assert run.state == State.SUCCEEDED


def test_the_first_report_makes_a_workspace_ready(agent: Agent, workspace: Workspace) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(state="applying", ready_at=None)
    agent.instance = "i-00000000000000002"
    agent.say(
        protocol.InstanceRegistered(
            id=new_id(),
            at=time.time(),
            boot_id="b2",
            instance_type="t3.small",
            private_ip="10.0.0.1",
            public_ip="127.1.2.3",
            agent_version="a" * 64,
            slots=4,
            cpus=2,
            memory_mb=2000,
            ssh_host_keys=(),
        )
    )
    workspace.refresh_from_db()
    assert (workspace.state, workspace.ready_at is not None) == ("ready", True)
    assert Instance.objects.get(instance_id="i-00000000000000002").public_ip == "127.1.2.3"


def test_a_clock_that_runs_ahead_does_not_make_an_instance_immortal(agent: Agent) -> None:
    ahead = agent.heartbeat()
    agent.say(protocol.InstanceHeartbeat(**{**vars(ahead), "at": time.time() + 10_000}))
    seen = Instance.objects.get().heartbeat_at
    assert seen is not None
    assert seen.timestamp() <= time.time()


def test_whether_an_instance_can_run_containers_is_known(agent: Agent) -> None:
    for said, known in (("none", "none"), ("coming", "coming"), ("ready", "ready"), ("<b>podman</b>", ""), ("", "")):
        agent.say(protocol.InstanceHeartbeat(**{**vars(agent.heartbeat()), "engine": said}))
        assert Instance.objects.get().engine == known


def test_what_begins_again_writes_its_log_anew(run_started: Press, agent: Agent) -> None:
    """The agent was killed and its successor does the same attempt: late lines of the first do not mix in."""
    step = only_step(run_started())
    agent.say(agent.started(step, boot_id="first"), agent.log(step, 1, "a", "b", boot_id="first"))
    late = agent.log(step, 3, "late", boot_id="first")
    agent.say(agent.started(step, boot_id="second"), agent.log(step, 1, "c", boot_id="second"), late)
    step.refresh_from_db()
    assert (step.executions, step.boot_id, step.log_lines) == (2, "second", 1)
    assert [line.text for line in selectors.log_lines(step)] == ["c"]


def test_lines_of_an_execution_whose_end_did_not_count_are_left_out(run_started: Press, agent: Agent) -> None:
    step = only_step(run_started())
    agent.say(agent.started(step), agent.log(step, 1, "mine"), agent.finished(step))
    agent.say(agent.log(step, 1, "a rival's", boot_id="other"))
    step.refresh_from_db()
    assert (step.executions, step.log_lines) == (1, 1)
    assert [line.text for line in selectors.log_lines(step)] == ["mine"]


def test_lines_may_come_before_the_beginning_that_they_belong_to(run_started: Press, agent: Agent) -> None:
    step = only_step(run_started())
    begun = agent.started(step)
    agent.say(agent.log(step, 1, "early"))
    agent.say(begun)
    step.refresh_from_db()
    assert (step.executions, step.state) == (1, State.RUNNING)
    assert [line.text for line in selectors.log_lines(step)] == ["early"]


def test_many_messages_at_once_are_applied_in_one_go(
    run_started: Press, agent: Agent, workspace: Workspace, django_assert_max_num_queries: Any
) -> None:
    steps = [only_step(run_started()) for _ in range(4)]
    bodies = [
        protocol.sign_envelope(
            workspace.pk,
            agent.instance,
            [agent.started(step), agent.log(step, 1, "x"), agent.finished(step)],
            signing_key(workspace),
            sent_at=time.time(),
        )
        for step in steps
    ]
    signers = Signers()
    envelopes = [envelope_open(body=body, signers=signers) for body in bodies]
    with django_assert_max_num_queries(38):  # two of each run's own, and what is handed out next
        assert envelopes_apply(envelopes=[*envelopes, *envelopes], signers=signers) == 12
    assert list(Run.objects.values_list("state", flat=True)) == [State.SUCCEEDED] * 4


def test_a_rival_that_was_quicker_undoes_the_whole(
    run_started: Press, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = only_step(run_started())
    write = reports._Book.write

    def overtaken(book: Any) -> Any:
        Step.objects.filter(pk=step.pk).update(state=State.CANCELLED)
        return write(book)

    monkeypatch.setattr(reports._Book, "write", overtaken)
    with pytest.raises(reports.Overtaken):
        agent.say(agent.started(step), agent.log(step, 1, "x"), agent.finished(step))
    assert not LogChunk.objects.exists()
    step.refresh_from_db()
    assert step.state == State.QUEUED
