"""Nothing is lost and nothing runs twice unseen, whenever the agent is killed, stopped, cut off or replaced."""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agents.orca_agent import build
from agents.orca_agent.protocol import (
    Desired,
    InstanceRegistered,
    InstanceStopping,
    Release,
    StepFinished,
    StepLog,
    StepReturned,
    StepStarted,
    tasks_body,
)

if TYPE_CHECKING:
    from tests.fixtures.agent import AgentProcess, Events, MotoCloud

    Own = tuple[AgentProcess, Events]

pytest_plugins = ["tests.fixtures.agent"]

WAITS = (
    "import os, time\n"
    "print('waiting', flush=True)\n"
    "while not os.path.exists(os.environ['HOME'] + '/go-on'): time.sleep(0.01)\n"
    "print('went on')"
)


def go_on(agent: AgentProcess) -> None:
    (agent.root / "home/analyst/go-on").touch()


def until(what: str, is_so: object, timeout: float = 15.0) -> None:
    """Wait for something that no event tells."""
    assert callable(is_so)
    end = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > end:
            pytest.fail(f"never: {what}")
        time.sleep(0.01)


def test_a_killed_agent_runs_its_steps_again_after_a_start(own_agent: Own, moto_cloud: MotoCloud) -> None:
    agent, events = own_agent
    agent.start()
    tasks = [moto_cloud.run(WAITS, environment={"ORCA_COLD_START": cold}) for cold in ("", "1")]
    for task in tasks:
        events.wait_for_line(task, "waiting")
    first = events.wait(InstanceRegistered).boot_id
    agent.kill()
    agent.start()
    for task in tasks:
        events.wait(StepStarted, task.step, where=lambda event: event.boot_id != first)
    go_on(agent)
    for task in tasks:
        assert events.finished(task).state == "succeeded"
        assert len({event.id for event in events.of(StepFinished, task.step)}) == 1
    assert agent.stop() == 0
    assert moto_cloud.depth() == (0, 0)


def test_what_may_cost_only_so_much_is_not_begun_again_without_being_asked_for(
    own_agent: Own, moto_cloud: MotoCloud
) -> None:
    agent, events = own_agent
    agent.start()
    task = moto_cloud.run(WAITS, once=True)
    events.wait_for_line(task, "waiting")
    agent.kill()
    agent.start()
    returned = events.wait(StepReturned, task.step)
    assert (returned.run, returned.attempt) == (task.run, task.attempt)
    until("the message is gone", lambda: moto_cloud.depth() == (0, 0))
    assert len(events.of(StepStarted, task.step)) == 1
    assert events.of(StepFinished, task.step) == []


def test_a_killed_agents_steps_die_with_it(own_agent: Own, moto_cloud: MotoCloud) -> None:
    agent, events = own_agent
    agent.start()
    pids = []
    for cold in ("", "1"):
        script = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
        task = moto_cloud.run(script, environment={"ORCA_COLD_START": cold})
        pids.append(int(events.wait(StepLog, task.step).lines[0].text))
    agent.kill()
    for pid in pids:
        until("the step has died", lambda pid=pid: not Path(f"/proc/{pid}").exists())


def test_a_step_that_has_ended_does_not_run_again(own_agent: Own, moto_cloud: MotoCloud) -> None:
    """The agent was killed between telling the end and deleting the message."""
    agent, events = own_agent
    task = moto_cloud.run("print('once')")
    agent.start()
    finished = events.finished(task)
    until("the message is gone", lambda: moto_cloud.depth() == (0, 0))
    agent.kill()
    moto_cloud.send(tasks_body([task]), group=task.run)
    agent.start()
    until("the message is gone again", lambda: moto_cloud.depth() == (0, 0))
    assert events.of(StepFinished, task.step) == [finished]
    assert len(events.of(StepStarted, task.step)) == 1


def test_a_stopped_agent_lets_steps_end_and_gives_the_others_back(own_agent: Own, moto_cloud: MotoCloud) -> None:
    agent, events = own_agent
    agent.start()
    ends = moto_cloud.run("import time; print('waiting', flush=True); time.sleep(2); print('ended')")
    stays = moto_cloud.run(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('waiting', flush=True); "
        "time.sleep(600)"
    )
    for task in (ends, stays):
        events.wait_for_line(task, "waiting")
    assert agent.stop() == 0
    assert events.finished(ends).state == "succeeded"
    events.wait(InstanceStopping, where=lambda event: event.returned == (stays.step,))
    assert events.of(StepFinished, stays.step) == []
    assert moto_cloud.depth() == (1, 0)
    agent.start()
    events.wait(StepStarted, stays.step, where=lambda event: event is not events.of(StepStarted, stays.step)[0])


def test_events_outlive_a_lost_queue_and_a_killed_agent(own_agent: Own, moto_cloud: MotoCloud) -> None:
    agent, events = own_agent
    agent.start()
    events.wait(InstanceRegistered)
    moto_cloud.sqs.delete_queue(QueueUrl=moto_cloud.events_url)
    task = moto_cloud.run("print('unheard')")
    until("the message is gone", lambda: moto_cloud.depth() == (0, 0))
    agent.kill()
    moto_cloud.sqs.create_queue(QueueName=moto_cloud.events_url.rpartition("/")[2])
    agent.start()
    assert events.finished(task).state == "succeeded"
    assert events.text(task) == ["unheard"]
    assert len(events.of(StepStarted, task.step)) == 1


def test_the_agent_waits_for_what_terraform_has_not_made_yet(own_agent: Own, moto_cloud: MotoCloud) -> None:
    agent, events = own_agent
    settings = moto_cloud.get("control/agent.json")
    moto_cloud.s3.delete_object(Bucket=moto_cloud.bucket, Key="control/agent.json")
    moto_cloud.sqs.delete_queue(QueueUrl=moto_cloud.tasks_url)
    agent.start()
    moto_cloud.s3.put_object(Bucket=moto_cloud.bucket, Key="control/agent.json", Body=settings)
    events.wait(InstanceRegistered)
    moto_cloud.sqs.create_queue(QueueName=moto_cloud.tasks_queue, Attributes={"FifoQueue": "true"})
    assert events.finished(moto_cloud.run("print(1)")).state == "succeeded"


def test_a_draining_agent_takes_nothing_until_it_may(own_agent: Own, moto_cloud: MotoCloud) -> None:
    agent, events = own_agent
    moto_cloud.desire(Desired(generation=1, draining=True, authorized_keys=("ssh-ed25519 AAAA one",)))
    keys = agent.root / "home/analyst/.ssh/authorized_keys"
    keys.parent.mkdir(parents=True)
    keys.write_text("ssh-rsa AAAA a person's own\n")
    if os.geteuid() == 0:
        os.chown(keys, pwd.getpwnam("nobody").pw_uid, -1)
    agent.start()
    until("the desired state is applied", lambda: "AAAA one" in keys.read_text())
    task = moto_cloud.run("print(1)")
    again = moto_cloud.run("print(1)")
    time.sleep(0.5)
    assert events.of(StepStarted) == []
    moto_cloud.desire(Desired(generation=2, authorized_keys=("ssh-ed25519 AAAA two",)))
    assert events.finished(task).state == "succeeded"
    assert events.finished(again).state == "succeeded"
    lines = keys.read_text().splitlines()
    assert lines[0] == "ssh-rsa AAAA a person's own"
    assert [line for line in lines if line.startswith("ssh-ed25519")] == ["ssh-ed25519 AAAA two"]
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600


def put_release(cloud: MotoCloud, content: bytes, sha256: str = "") -> Release:
    sha256 = sha256 or hashlib.sha256(content).hexdigest()
    key = f"agents/{sha256}.tar.gz"
    cloud.s3.put_object(Bucket=cloud.bucket, Key=key, Body=content)
    return Release(sha256, key, cloud.bucket)


def test_another_release_takes_over_and_a_broken_one_does_not(
    own_agent: Own, moto_cloud: MotoCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, events = own_agent
    original = build.contents()
    broken = {**original, "agents/orca_agent/agent.py": b"raise ImportError('broken')\n"}
    monkeypatch.setattr(build, "contents", lambda: broken)
    unusable = put_release(moto_cloud, build.archive())
    monkeypatch.setattr(build, "contents", lambda: {**original, "agents/orca_agent/new.py": b""})
    better = put_release(moto_cloud, build.archive())
    forged = put_release(moto_cloud, build.archive(), sha256="ab" * 32)
    agent.start()
    first = events.wait(InstanceRegistered)
    assert first.agent_version == agent.code.name
    for generation, release in enumerate((unusable, forged)):
        moto_cloud.desire(Desired(generation, agent=release))
        assert events.finished(moto_cloud.run("print('the old one')")).state == "succeeded"
    moto_cloud.desire(Desired(9, agent=better))
    until("it is unpacked", (agent.root / "opt/orca-agent" / better.sha256).exists)
    meanwhile = [moto_cloud.run("print('between')") for _ in range(3)]
    found = events.wait(InstanceRegistered, where=lambda event: event.agent_version == better.sha256, timeout=60)
    assert found.boot_id != first.boot_id
    for task in meanwhile:
        assert events.finished(task).state == "succeeded"
    assert {event.agent_version for event in events.of(InstanceRegistered)} == {
        agent.code.name,
        better.sha256,
    }
    assert agent.stop() == 0


def test_tasks_of_one_message_that_have_ended_are_told_again_and_the_others_run(
    own_agent: Own, moto_cloud: MotoCloud
) -> None:
    agent, events = own_agent
    agent.start()
    quick, slow = moto_cloud.task("print('quick')"), moto_cloud.task(WAITS)
    moto_cloud.send(tasks_body([quick, slow]), group="both")
    events.wait_for_line(slow, "waiting")
    ended = events.finished(quick)
    agent.kill()
    go_on(agent)
    agent.start()
    assert events.finished(slow).state == "succeeded"
    events.wait(InstanceRegistered, where=lambda event: event is not events.of(InstanceRegistered)[0])
    assert {event.id for event in events.of(StepFinished, quick.step)} == {ended.id}
    assert len(events.of(StepStarted, quick.step)) == 1
