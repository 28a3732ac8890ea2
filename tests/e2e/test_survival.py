"""Whatever process is killed, every accepted run ends, and what was built is not lost."""

from __future__ import annotations

import secrets
import time

import pytest

from scripts.orca.bench.installation import Lab, Orca, person_signed_up
from tests.fixtures.cloud import wait_until

pytestmark = pytest.mark.cloud

SLOW = "import time\nfor i in range(8):\n    print(i, flush=True)\n    time.sleep(0.5)\n"


@pytest.mark.parametrize("name", ["relay", "web", "cloud", "worker", "terraform", "jobs", "beat", "redis"])
def test_a_process_killed_in_the_middle_of_a_run_costs_nothing(lab: Lab, running_orca: Orca, name: str) -> None:
    run = lab.run(SLOW)
    lab.person.until(f"runs/{run['id']}/", lambda found: found["state"] == "running")
    before = running_orca.pid_of(name)
    running_orca.kill(name)
    wait_until(lambda: running_orca.pid_of(name) not in {0, before}, 30, f"{name}'s return")
    wait_until(lab.person.is_answered, 30, "the portal's answer")
    ended = lab.person.ended(run, seconds=120)
    assert ended["state"] == "succeeded"
    # What a killed relay had in its hands comes again when the queue's visibility timeout is over.
    wait_until(lambda: lab.person.log(ended)[-8:] == [str(i) for i in range(8)], 45, "the whole log")


def test_a_stopped_workspace_keeps_its_home_and_does_what_was_asked_meanwhile(lab: Lab) -> None:
    person, path = lab.person, f"workspaces/{lab.workspace}/"
    word = secrets.token_hex(8)
    home = "import os, pathlib, pwd\nhome = pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir) / 'kept.txt'\n"
    person.ended(lab.run(home + f"home.write_text('{word}')"))
    person.post(path + "stop/")
    person.until(path, lambda w: w["state"] == "stopped", seconds=180)
    run = lab.run(home + "print(home.read_text())")
    assert person.get(f"runs/{run['id']}/")["state"] == "queued"
    person.post(path + "start/")
    person.until(path, lambda w: w["state"] == "ready", seconds=60)
    assert person.log(person.ended(run)) == [word]


def test_a_worker_killed_during_apply_is_noticed_and_the_data_outlives_a_rebuild(running_orca: Orca) -> None:
    person = person_signed_up(running_orca)
    made = person.post("workspaces/", {"name": "killed"})
    path = f"workspaces/{made['id']}/"
    run = f"terraform-runs/{made['active_run']}/"
    person.until(run, lambda r: r["state"] == "applying" and r["resources_done"] >= 3, seconds=120)
    running_orca.kill("terraform")
    ended = person.until(run, lambda r: r["state"] in {"succeeded", "failed"}, seconds=240)
    assert (ended["state"], ended["error_message"]) == ("succeeded", "")
    ready = person.until(path, lambda w: w["state"] == "ready", seconds=60)
    assert len(ready["instances"]) == 1
    script = person.upload("keep", main_py="open('output/kept.txt', 'w').write('still here')")
    kept = person.ended(person.run(made["id"], script))
    assert kept["state"] == "succeeded"
    person.post(path + "destroy/")
    person.until(path, lambda w: w["state"] == "destroyed", seconds=240)
    step = kept["steps"][0]["id"]
    link = person.get(f"runs/{kept['id']}/steps/{step}/outputs/link/", path="kept.txt")["url"]
    assert person.api.get(link, headers={"Authorization": ""}).status_code in {200, 400}
    refused = person.api.post(path + "destroy/", json={"delete_data": True, "confirm_name": "wrong"})
    assert refused.status_code == 422
    person.post(path + "destroy/", {"delete_data": True, "confirm_name": "killed"})
    began = time.monotonic()
    person.until(path, lambda w: w["state"] == "destroyed" and not w["data_kept"], seconds=240)
    assert time.monotonic() - began < 240
