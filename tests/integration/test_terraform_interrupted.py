"""Applies that are cancelled, orphaned and killed: nothing is lost, nothing is made twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from portal.gateways.terraform import (
    TerraformCancelled,
    TerraformError,
    TerraformKilled,
    TerraformLocked,
)
from portal.gateways.terraform_process import processes_of
from tests.fixtures.cloud import REPOSITORY, Cloud, wait_until
from tests.terraform.scene import Run, Scene

pytestmark = [pytest.mark.terraform, pytest.mark.cloud]


@pytest.fixture(scope="module")
def scene(local_cloud: Cloud) -> Scene:
    """An account that is ready for workspaces."""
    found = Scene(local_cloud)
    found.agent_publish()
    return found


class Apply(threading.Thread):
    """An apply in a thread, and how it ended."""

    def __init__(self, run: Run) -> None:
        super().__init__(daemon=True)
        self.run_ = run
        self.error: BaseException | None = None
        run.plan()

    def run(self) -> None:
        try:
            self.run_.terraform.apply(self.run_.plan_file)
        except BaseException as error:
            self.error = error


def _terraform_itself(run: Run) -> int:
    """The process of Terraform's own, neither a provider nor what stands between it and the worker."""
    for process in processes_of(run.terraform.data_dir):
        if Path(f"/proc/{process}/exe").resolve().name == "terraform":
            return process
    raise AssertionError("no Terraform is running")


def _instances(scene: Scene, run: Run) -> list[str]:
    filters = [
        {"Name": "tag:orca:workspace", "Values": [run.name]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    found = scene.cloud.client("ec2").describe_instances(Filters=filters)["Reservations"]
    return [instance["InstanceId"] for group in found for instance in group["Instances"]]


def test_one_at_a_time_and_a_cancel_keeps_what_was_made(scene: Scene) -> None:
    run = scene.run()
    started = run.seen("apply_start", "aws_instance")
    apply = Apply(run)
    apply.start()
    assert started.wait(60)

    second = scene.run(run.name)
    with pytest.raises(TerraformLocked) as caught:
        second.plan()
    holder = caught.value.holder
    assert holder is not None
    assert holder == run.terraform.lock_holder()
    assert holder.who.endswith(f"@{os.uname().nodename}")
    assert holder.operation == "Apply"
    assert second.terraform.process_alive()

    run.cancelled.set()
    apply.join(60)
    assert isinstance(apply.error, TerraformCancelled)
    assert not apply.error.state_lost
    assert run.terraform.lock_holder() is None
    assert "module.identity[0].aws_iam_role.instance" in second.terraform.resources()
    assert not second.terraform.process_alive()


def test_a_killed_worker_leaves_a_saved_state_and_no_lock(scene: Scene) -> None:
    run = scene.run()
    run.plan()
    worker = f"""
import threading
from pathlib import Path
from portal.gateways.terraform import TerraformSettings, TerraformWorkspace
settings = {_settings_source(run)}
hear = lambda event: print(event.kind, event.address, flush=True)
workspace = TerraformWorkspace(settings, {run.name!r}, on_event=hear, cancelled=threading.Event())
workspace.apply(Path({str(run.plan_file)!r}))
"""
    with subprocess.Popen([sys.executable, "-c", worker], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("apply_start module.compute[0].aws_instance.this[0]" in line for line in process.stdout)
        process.kill()
    wait_until(lambda: not run.terraform.process_alive(), 60, "the end of Terraform")
    assert run.terraform.lock_holder() is None
    assert "module.identity[0].aws_iam_role.instance" in run.terraform.resources()
    assert not any(c.type == "aws_iam_role" for c in run.plan().changes)


def _settings_source(run: Run) -> str:
    """The run's settings as Python that makes them again."""
    settings = run.terraform.settings
    given = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    given["environment"] = dict(settings.environment)
    fields = ", ".join(
        f"{name}=Path({str(value)!r})" if isinstance(value, Path) else f"{name}={value!r}"
        for name, value in given.items()
    )
    return f"TerraformSettings({fields})"


def test_a_killed_terraform_is_found_and_its_work_taken_over(scene: Scene) -> None:
    run = scene.run()
    made = run.seen("apply_complete", "aws_iam_instance_profile")
    apply = Apply(run)
    apply.start()
    assert made.wait(60)
    before = _instances(scene, run)
    assert len(before) == 1
    os.kill(_terraform_itself(run), signal.SIGKILL)
    apply.join(60)
    assert isinstance(apply.error, TerraformKilled)
    wait_until(lambda: not processes_of(run.terraform.data_dir), 10, "the end of its providers, which are killed")

    later = scene.run(run.name)
    holder = later.terraform.lock_holder()
    assert holder is not None
    assert not later.terraform.process_alive()
    with pytest.raises(TerraformLocked):
        later.plan()
    assert not later.terraform.unlock("some other lock")
    assert later.terraform.unlock(holder.lock_id)
    assert later.terraform.lock_holder() is None
    assert later.terraform.resources() == []

    changes = {change.address: change.action for change in later.plan().changes}
    assert not {"module.storage.aws_s3_bucket.this", "module.identity[0].aws_iam_role.user"} & set(changes)
    assert "module.compute[0].aws_instance.this[0]" not in changes
    assert changes["module.queue[0].aws_sqs_queue.tasks"] == "create"
    assert _instances(scene, run) == before
    assert any("taking over" in event.message for event in later.events)


@pytest.mark.parametrize("last", ["aws_s3_bucket.this", "aws_s3_object.agent_settings"])
def test_what_was_taken_over_can_be_destroyed(scene: Scene, last: str) -> None:
    run = scene.run()
    made = run.seen("apply_complete", last)
    apply = Apply(run)
    apply.start()
    assert made.wait(60)
    os.kill(_terraform_itself(run), signal.SIGKILL)
    apply.join(60)
    later = scene.run(run.name)
    holder = later.terraform.lock_holder()
    assert holder is not None
    later.terraform.unlock(holder.lock_id)
    later.plan(destroy=True)
    later.terraform.apply(later.plan_file)
    assert later.terraform.resources() == []
    names = {role["RoleName"] for role in scene.cloud.client("iam").list_roles()["Roles"]}
    assert not any(run.name in name for name in names)


def test_a_plan_that_the_state_has_overtaken_is_refused(scene: Scene) -> None:
    run = scene.run()
    run.plan(data_only=True)
    other = scene.run(run.name)
    other.plan_file = run.plan_file.with_name("other.tfplan")
    other.build(data_only=True)
    with pytest.raises(TerraformError) as caught:
        run.terraform.apply(run.plan_file)
    assert caught.value.code == "terraform_plan_stale"
