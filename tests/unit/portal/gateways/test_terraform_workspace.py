"""What the gateway asks of Terraform, with a program in Terraform's place that writes down how it was called."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from moto import mock_aws

from portal.gateways.terraform import (
    TerraformError,
    TerraformEvent,
    TerraformKilled,
    TerraformSettings,
    TerraformWorkspace,
)

REGION: Final = "eu-central-1"
BUCKET: Final = "orca-state-1"
SECRET: Final = "b" * 64
LINE = {"@level": "info", "@message": "hello", "@timestamp": "2026-11-21T10:33:18Z", "type": "log"}

PROGRAM = f"""#!{sys.executable}
import json, os, pathlib, signal, stat, sys
command = sys.argv[1]
call = {{"argv": sys.argv[1:], "workspace": os.environ["TF_WORKSPACE"], "environment": dict(os.environ)}}
for argument in sys.argv:
    if argument.startswith("-var-file="):
        file = pathlib.Path(argument.partition("=")[2])
        call["variables"] = json.loads(file.read_text())
        call["mode"] = stat.S_IMODE(file.stat().st_mode)
with open(pathlib.Path(__file__).parent / "calls", "a") as log:
    print(json.dumps(call), file=log)
if command == "init":
    data = pathlib.Path(os.environ["TF_DATA_DIR"])
    (data / "providers").mkdir(parents=True)
    (data / "modules").mkdir()
    (data / "terraform.tfstate").write_text("")
answer = pathlib.Path(__file__).parent / command
if answer.exists():
    exec(answer.read_text())
print({json.dumps(json.dumps(LINE))}, flush=True)
"""


class Scene:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "bin" / "terraform"
        self.program.parent.mkdir()
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        root = folder / "terraform" / "envs" / "workspace"
        root.mkdir(parents=True)
        (root / "main.tf").write_text("")
        (folder / "terraform" / "modules").mkdir()
        (folder / "terraform.rc").write_text("")
        self.events: list[TerraformEvent] = []
        self.plan_file = folder / "x.tfplan"

    def answers(self, command: str, code: str) -> None:
        """What the program does for ``command``."""
        (self.program.parent / command).write_text(code)

    def workspace(self, name: str = "w1") -> TerraformWorkspace:
        settings = TerraformSettings(
            binary=str(self.program),
            cli_config=self.folder / "terraform.rc",
            root=self.folder / "terraform" / "envs" / "workspace",
            data_root=self.folder / "data",
            state_bucket=BUCKET,
            region=REGION,
            environment={"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"},
            path_style=True,
        )
        return TerraformWorkspace(settings, name, on_event=self.events.append, cancelled=threading.Event())

    def calls(self, command: str) -> list[dict[str, Any]]:
        text = (self.program.parent / "calls").read_text()
        return [call for call in map(json.loads, text.splitlines()) if call["argv"][0] == command]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with mock_aws():
        s3 = boto3.client("s3", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="y")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield Scene(tmp_path)


def test_init_asks_for_the_workspace_that_is_always_there(scene: Scene) -> None:
    scene.workspace("w1").init()
    scene.workspace("w2").init()
    (call,) = scene.calls("init")
    assert call["workspace"] == "default"
    assert set(call["argv"]) == {
        "init",
        "-json",
        "-input=false",
        "-lock-timeout=0s",
        f"-backend-config=bucket={BUCKET}",
        f"-backend-config=region={REGION}",
        "-backend-config=use_path_style=true",
    }


def test_plan_names_its_workspace_and_never_waits(scene: Scene) -> None:
    scene.workspace().plan({"signing_key": SECRET}, out=scene.plan_file)
    (call,) = scene.calls("plan")
    assert call["workspace"] == "w1"
    assert {"-json", "-input=false", "-lock-timeout=0s", f"-out={scene.plan_file}"} <= set(call["argv"])
    assert "-destroy" not in call["argv"]


def test_secrets_are_in_a_file_of_the_owners_and_nowhere_else(scene: Scene) -> None:
    scene.workspace().plan({"signing_key": SECRET}, out=scene.plan_file)
    (call,) = scene.calls("plan")
    assert call["variables"] == {"signing_key": SECRET}
    assert call["mode"] == 0o600
    assert SECRET not in json.dumps([call["argv"], call["environment"]])
    assert list((scene.folder / "data").rglob("*.tfvars*")) == []


def test_the_file_of_secrets_goes_when_terraform_fails_too(scene: Scene) -> None:
    scene.answers("plan", "sys.exit(1)")
    with pytest.raises(TerraformError):
        scene.workspace().plan({"signing_key": SECRET}, out=scene.plan_file)
    assert list((scene.folder / "data").rglob("*.tfvars*")) == []


def test_plan_can_destroy_and_rebuild(scene: Scene) -> None:
    scene.workspace().plan({}, out=scene.plan_file, destroy=True)
    scene.workspace().plan({}, out=scene.plan_file, rebuild=["module.compute[0].aws_instance.this[0]"])
    destroy, rebuild = scene.calls("plan")
    assert "-destroy" in destroy["argv"]
    assert "-replace=module.compute[0].aws_instance.this[0]" in rebuild["argv"]


def test_apply_applies_the_plan_and_nothing_else(scene: Scene) -> None:
    scene.workspace().apply(scene.plan_file)
    (call,) = scene.calls("apply")
    assert call["argv"][-1] == str(scene.plan_file)
    assert not any(argument.startswith(("-var", "-auto", "-target")) for argument in call["argv"])


def test_every_line_is_told(scene: Scene) -> None:
    scene.workspace().apply(scene.plan_file)
    assert [event.message for event in scene.events] == ["hello", "hello"]


def test_the_reason_of_a_failure_is_told(scene: Scene) -> None:
    said = {**LINE, "type": "diagnostic", "diagnostic": {"severity": "error", "summary": "Saved plan is stale"}}
    scene.answers("apply", f"print({json.dumps(json.dumps(said))}); sys.exit(1)")
    with pytest.raises(TerraformError) as caught:
        scene.workspace().apply(scene.plan_file)
    assert caught.value.code == "terraform_plan_stale"


def test_an_orderly_failure_needs_no_search(scene: Scene) -> None:
    scene.answers("apply", "sys.exit(1)")
    workspace = scene.workspace()
    with pytest.raises(TerraformError):
        workspace.apply(scene.plan_file)
    workspace.plan({}, out=scene.plan_file)
    assert scene.calls("state") == []


def test_after_a_kill_the_next_plan_looks_for_what_was_left(scene: Scene) -> None:
    scene.answers("apply", "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(TerraformKilled) as caught:
        scene.workspace().apply(scene.plan_file)
    assert (caught.value.code, caught.value.state_lost) == ("terraform_killed", True)
    scene.answers("state", "sys.exit('No state file was found!')")
    variables = {"workspace_id": "01j00000000000000000000001", "region": REGION, "s3_use_path_style": True}
    scene.workspace().plan(variables, out=scene.plan_file)
    assert len(scene.calls("state")) == 1
    scene.workspace().plan(variables, out=scene.plan_file)
    assert len(scene.calls("state")) == 1, "it looks once"


def test_outputs_are_plain_values(scene: Scene) -> None:
    found = {"bucket": {"sensitive": False, "type": "string", "value": "b"}, "ids": {"value": ["i-1"]}}
    scene.answers("output", f"print({json.dumps(json.dumps(found, indent=2))}); sys.exit()")
    assert scene.workspace().outputs() == {"bucket": "b", "ids": ["i-1"]}


def test_resources_are_what_terraform_made(scene: Scene) -> None:
    listed = "data.aws_x.y\nmodule.a.data.aws_x.y\nmodule.a[0].aws_x.database[0]"
    scene.answers("state", f"print({listed!r}); sys.exit()")
    assert scene.workspace().resources() == ["module.a[0].aws_x.database[0]"]


def test_nothing_was_ever_applied(scene: Scene) -> None:
    scene.answers("state", "sys.exit('No state file was found!')")
    scene.answers("output", "print('{}'); sys.exit()")
    assert scene.workspace().resources() == []
    assert scene.workspace().outputs() == {}


def test_no_process_is_left(scene: Scene) -> None:
    workspace = scene.workspace()
    workspace.apply(scene.plan_file)
    assert not workspace.process_alive()


def test_a_running_terraform_is_seen(scene: Scene) -> None:
    seen: list[bool] = []
    workspace = scene.workspace()
    workspace._on_event = lambda event: seen.append(workspace.process_alive())
    scene.answers("apply", f"print({json.dumps(json.dumps(LINE))}, flush=True); import time; time.sleep(0.3)")
    workspace.init()
    workspace.apply(scene.plan_file)
    assert seen[1]


def test_a_missing_configuration_says_how_to_mend_it(scene: Scene) -> None:
    (scene.folder / "terraform.rc").unlink()
    with pytest.raises(TerraformError) as caught:
        scene.workspace().init()
    assert "terraform_mirror" in caught.value.hint
