"""Steps from their message to their result, run by the agent as a process."""

from __future__ import annotations

import io
import json
import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from agents.orca_agent.ids import new_id
from agents.orca_agent.protocol import (
    Desired,
    InstanceHeartbeat,
    InstanceRegistered,
    Limits,
    StepFinished,
    StepLog,
    StepStarted,
    Task,
    event_json,
    tasks_body,
)

if TYPE_CHECKING:
    from tests.fixtures.agent import AgentProcess, Events, MotoCloud

    Shared = tuple[MotoCloud, Events, AgentProcess]

pytest_plugins = ["tests.fixtures.agent"]


def wheel(name: str, module: str) -> bytes:
    """A small wheel, so that requirements need no network."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{name}.py", module)
        info = f"{name}-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return packed.getvalue()


def test_the_agent_registers_and_tells_that_it_lives(shared_agent: Shared) -> None:
    _, events, _ = shared_agent
    registered = events.wait(InstanceRegistered)
    assert (registered.slots, registered.cpus) == (2, os.cpu_count())
    assert registered.memory_mb > 0
    assert len(registered.agent_version) == 64
    assert events.wait(InstanceHeartbeat).boot_id == registered.boot_id


def test_a_step_leaves_its_log_its_outputs_and_its_result(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(
        "import sys\n"
        "print('hello', *sys.argv[1:])\n"
        "print('trouble', file=sys.stderr)\n"
        "import os; os.makedirs('output/deep')\n"
        "open('output/deep/größe.csv', 'w').write('1,2')\n"
        "open('output/empty', 'w')\n",
        arguments=("a b", ""),
    )
    finished = events.finished(task)
    assert (finished.state, finished.reason, finished.exit_code, finished.signal) == (
        "succeeded",
        "completed",
        0,
        None,
    )
    assert finished.message == ""
    assert finished.started_at <= finished.finished_at
    assert finished.peak_memory_mb > 1
    assert events.text(task) == ["hello a b "]
    assert events.text(task, "err") == ["trouble"]
    assert [(o.path, o.size, o.content_type) for o in finished.outputs] == [
        ("deep/größe.csv", 3, "text/csv"),
        ("empty", 0, "application/octet-stream"),
    ]
    prefix = f"runs/{task.run}/{task.step}/1/"
    assert cloud.get(f"{prefix}output/deep/größe.csv") == b"1,2"
    assert (finished.log.lines, finished.log.key) == (2, "")  # so few that the portal has them all
    assert not finished.log.truncated
    started = events.wait(StepStarted, task.step)
    assert started.boot_id == events.wait(InstanceRegistered).boot_id
    assert events.seen.index(started) < events.seen.index(finished)


def test_a_long_log_lies_in_the_bucket(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("for n in range(1_000): print('line', n)\nimport sys; print('trouble', file=sys.stderr)")
    finished = events.finished(task)
    assert finished.log.key == f"runs/{task.run}/{task.step}/1/log.txt"
    log = [line.split(" ", 1)[1] for line in cloud.get(finished.log.key).decode().splitlines()]
    assert sorted(log) == sorted([*(f"out line {n}" for n in range(1_000)), "err trouble"])
    assert finished.log.lines == 1_001


def test_the_message_goes_and_the_folder_with_it(shared_agent: Shared) -> None:
    cloud, events, agent = shared_agent
    task = cloud.run("print(1)")
    events.finished(task)
    events.wait(InstanceHeartbeat, where=lambda beat: beat.at > events.finished(task).at and not beat.running)
    assert agent.work == []
    until_gone(cloud)


def until_gone(cloud: MotoCloud) -> None:
    """The message is deleted right after the event is written down."""
    for _ in range(200):
        if cloud.depth() == (0, 0):
            return
    pytest.fail(f"messages are left: {cloud.depth()}")


def test_a_step_sees_what_it_should_and_no_keys(shared_agent: Shared) -> None:
    cloud, events, agent = shared_agent
    task = cloud.run(
        "import json, os; print(json.dumps([dict(os.environ), os.getcwd(), os.getuid()]))",
        environment={"MINE": "1", "ORCA_RUN_ID": "forged"},
    )
    events.finished(task)
    environment, folder, uid = json.loads("".join(events.text(task)))
    assert environment["MINE"] == "1"
    assert environment["ORCA_RUN_ID"] == task.run
    assert environment["ORCA_STEP_ID"] == task.step
    assert environment["ORCA_OUTPUT"] == f"{folder}/output"
    assert environment["AWS_REGION"] == "eu-central-1"
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint
    assert not {name for name in environment if "SECRET" in name or "ACCESS_KEY" in name or "TOKEN" in name}
    assert uid != 0
    assert environment["HOME"] == str(agent.root / "home/analyst")


def test_secrets_stay_on_the_instance(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    secret = "s3cr3t-with-ünïcode"
    cloud.put_secret("PASSWORD", secret)
    task = cloud.run(
        "import os, sys\n"
        "s = os.environ['PASSWORD']\n"
        "print('x' * 8190 + s + 'y')\n"
        "print(('-' * 80 + '\\n') * 300)\n"
        "sys.stdout.write(s[:5]); sys.stdout.flush(); sys.stdout.write(s[5:] + '\\n')\n"
        "sys.exit('bad ' + s)",
        secret_names=("PASSWORD",),
    )
    finished = events.finished(task)
    everything = json.dumps([event_json(e) for e in events.seen], ensure_ascii=False)
    assert secret not in everything
    assert secret.encode() not in cloud.get(finished.log.key)
    assert events.text(task)[-1] == "***"
    assert events.text(task, "err") == ["bad ***"]


def test_lines_come_while_the_step_runs(shared_agent: Shared) -> None:
    cloud, events, agent = shared_agent
    task = cloud.run(
        "import os, time\nprint('waiting')\nwhile not os.path.exists(os.environ['HOME'] + '/go-on'): time.sleep(0.01)"
    )
    events.wait_for_line(task, "waiting")
    assert events.of(StepFinished, task.step) == []
    events.wait(InstanceHeartbeat, where=lambda beat: task.step in [running.step for running in beat.running])
    (agent.root / "home/analyst/go-on").touch()
    assert events.finished(task).state == "succeeded"


@pytest.mark.parametrize("cold", ["", "1"])
def test_an_exception_is_shown_as_python_shows_it(shared_agent: Shared, cold: str) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("def f():\n    1/0\nf()", environment={"ORCA_COLD_START": cold})
    finished = events.finished(task)
    assert (finished.state, finished.reason, finished.exit_code) == ("failed", "exit_code", 1)
    shown = events.text(task, "err")
    assert shown[0] == "Traceback (most recent call last):"
    assert shown[-1] == "ZeroDivisionError: division by zero"
    assert len([line for line in shown if line.startswith("  File")]) == 2


@pytest.mark.parametrize("cold", ["", "1"])
def test_a_script_may_use_processes_and_threads(shared_agent: Shared, cold: str) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(
        "import atexit, multiprocessing, threading, time\n"
        "def double(x): return 2 * x\n"
        "if __name__ == '__main__':\n"
        "    atexit.register(print, 'at exit')\n"
        "    for kind in ('fork', 'spawn'):\n"
        "        with multiprocessing.get_context(kind).Pool(2) as pool: print(pool.map(double, [1, 2]))\n"
        "    threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()\n",
        environment={"ORCA_COLD_START": cold},
    )
    assert events.finished(task).state == "succeeded"
    assert events.text(task) == ["[2, 4]", "[2, 4]", "thread", "at exit"]


def test_a_module_beside_the_script_may_hide_one_of_the_standard_library(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    script = cloud.script({"main.py": "import json; print(json.MINE)", "json.py": "MINE = 'mine'"})
    task = cloud.run(script)
    events.finished(task)
    assert events.text(task) == ["mine"]


def test_a_script_in_a_folder_finds_its_neighbours(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    files = {"src/main.py": "import helper, os; print(helper.x, os.path.exists('src'))", "src/helper.py": "x = 7"}
    task = cloud.run(cloud.script(files, entrypoint="src/main.py"))
    events.finished(task)
    assert events.text(task) == ["7 True"]


def test_shell_scripts_run_by_the_interpreter_that_they_name(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    files = {"go": "#!/bin/bash\nnames=(a b)\necho ${names[1]} $1; exit 3"}
    task = cloud.run(cloud.script(files, entrypoint="go", runtime="shell"), arguments=("x",))
    finished = events.finished(task)
    assert events.text(task) == ["b x"]
    assert (finished.state, finished.exit_code) == ("failed", 3)
    assert finished.message == "It ended with exit code 3."


def test_requirements_are_installed_once(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    files: dict[str, str | bytes] = {
        "main.py": "import demo, sys; print(demo.x, sys.prefix)",
        "requirements.txt": "./demo-1.0-py3-none-any.whl\n",
        "demo-1.0-py3-none-any.whl": wheel("demo", "x = 'from the wheel'"),
    }
    script = cloud.script(files, requirements="requirements.txt")
    first, second = cloud.run(script), cloud.run(script)
    assert events.finished(first, 60).state == "succeeded"
    assert events.finished(second).state == "succeeded"
    assert events.text(first) == events.text(second)
    assert events.text(first)[0].startswith("from the wheel ")
    said = [line for task in (first, second) for line in events.text(task, "orca")]
    assert len([line for line in said if line.startswith("Installed in ")]) == 1
    assert any("demo" in line for line in said)


def test_requirements_that_cannot_be_had_fail_with_the_reason(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    script = cloud.script({"main.py": "", "requirements.txt": "./missing.whl\n"}, requirements="requirements.txt")
    finished = events.finished(cloud.run(script), 60)
    assert (finished.state, finished.reason) == ("failed", "requirements_failed")
    assert "missing.whl" in finished.message


def test_the_output_limit_keeps_what_fits(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run(
        "for name in 'abc': open('output/' + name, 'wb').write(b'x' * 700_000)", limits=Limits(output_mb=1)
    )
    finished = events.finished(task)
    assert (finished.state, finished.reason, finished.exit_code) == ("failed", "output_limit", 0)
    assert [output.path for output in finished.outputs] == ["a"]
    assert finished.outputs_truncated
    assert cloud.keys(f"runs/{task.run}/{task.step}/1/output/") == [f"runs/{task.run}/{task.step}/1/output/a"]


def test_several_tasks_of_one_message_all_end(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    script = cloud.script({"main.py": "import sys; print(sys.argv[1])"})
    tasks = [cloud.task(script, arguments=(str(number),)) for number in range(5)]
    cloud.send(tasks_body(tasks), group=new_id())
    assert [events.finished(task).state for task in tasks] == ["succeeded"] * 5
    assert [events.text(task) for task in tasks] == [[str(number)] for number in range(5)]


def test_a_task_that_makes_no_sense_fails_and_says_why(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.task("print(1)")
    message = json.loads(tasks_body([task]))
    message["tasks"][0]["script"]["runtime"] = "cobol"
    cloud.send(json.dumps(message), group=task.run)
    finished = events.finished(task)
    assert (finished.state, finished.reason) == ("failed", "task_invalid")
    assert "runtime" in finished.message


def test_a_message_of_another_workspace_is_not_run(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    foreign = Task(new_id(), new_id(), new_id(), 1, "n", cloud.script({"main.py": "print(1)"}))
    cloud.send(tasks_body([foreign]), group="foreign")
    own = cloud.run("print(1)")
    events.finished(own)
    assert events.of(StepStarted, foreign.step) == []


def test_a_cancelled_step_is_stopped(shared_agent: Shared) -> None:
    cloud, events, _ = shared_agent
    task = cloud.run("import time; print('there'); time.sleep(600)")
    events.wait_for_line(task, "there")
    late = cloud.task("print('never')")
    cloud.desire(Desired(generation=1, cancelled=(task.step, late.step)))
    finished = events.finished(task)
    assert (finished.state, finished.reason, finished.signal) == ("cancelled", "cancelled", 15)
    cloud.send(tasks_body([late]), group=late.run)
    assert events.finished(late).state == "cancelled"
    assert events.of(StepStarted, late.step) == []
    assert events.of(StepLog, late.step) == []
