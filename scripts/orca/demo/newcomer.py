"""The way of somebody who has never been here: from signing up to their results, a shell and their bucket."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.exceptions import ClientError
from httpx_sse import connect_sse

from scripts.orca.console import ScriptError, say
from scripts.orca.demo.client import Api, Browser
from scripts.orca.demo.shell import Login, key_make, login_from
from scripts.orca.demo.stages import Walk
from scripts.orca.paths import HOME, ROOT
from scripts.orca.run.mail import Mail, mails_in

_EXAMPLE = ROOT / "examples" / "quickstart"
_PIPELINE = ROOT / "examples" / "etl"
_EXPECTED = {"months.csv", "months.png", "summary.md"}
_FINAL = {"succeeded", "failed", "cancelled", "timed_out", "lost"}
_MAIL_WITHIN = 30
_BUILT_WITHIN = 600
_RUN_WITHIN = 600
_LINES_LEAST = 12
# Of what Orca itself writes into a log; the rest is pip's.
_TOLD_OF_ORCA = ("Installing requirements.txt", "Installed in", "Using ")


@dataclass
class Newcomer:
    """Who walks, and what they have got so far."""

    walk: Walk
    browser: Browser
    email: str = field(default_factory=lambda: f"newcomer-{secrets.token_hex(4)}@example.org")
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    api: Api = field(init=False)

    @property
    def url(self) -> str:
        return self.walk.configuration.local_url


def arrived(walk: Walk) -> Newcomer:
    """Somebody who has signed up and has a token: the first three stages of every scenario."""
    person = Newcomer(walk, Browser(walk.configuration.local_url))
    with walk.stage("sign up", "web"):
        person.browser.submit("/accounts/signup/", _signup_form(person))
    with walk.stage("confirm the e-mail address", "web"):
        _confirm(person)
    with walk.stage("get an API token", "web"):
        person.api = Api(person.url, _token(person))
    return person


def walk(walk: Walk) -> None:
    """Every stage in its order."""
    person = arrived(walk)
    with walk.stage("add an SSH key", "web"):
        key = key_make(walk.folder)
        person.api.post("ssh-keys/", {"name": "demo", "public_key": key.with_suffix(".pub").read_text()})
    with walk.stage("build the workspace", "terraform", "worker", "cloud", "relay"):
        workspace = _build(person)
    with walk.stage("upload the example", "web"):
        script = _upload(person)
    with walk.stage("run it and read its log live", "relay", "web", "cloud"):
        run = _run(person, workspace, script)
    with walk.stage("fetch what it made", "web", "cloud"):
        summary = _fetch(person, run)
    with walk.stage("run scripts in an order", "relay", "web", "cloud"):
        _pipeline(person)
    with walk.stage("log in with ssh", "cloud"):
        login = login_from(workspace["ssh"], key)
        _look_around(login, workspace["ssh"]["user"])
    with walk.stage("copy files both ways with scp", "cloud"):
        _copy(login, walk.folder)
    with walk.stage("list the bucket with own credentials", "cloud"):
        _list_bucket(person, workspace)
    if walk.configuration.options.exit:
        with walk.stage("let Terraform finish", "terraform", "cloud"):
            terraform_await(person, workspace)
    _tell(person, login, run, summary)


def _signup_form(person: Newcomer) -> dict[str, str]:
    return {"email": person.email, "password1": person.password, "password2": person.password}


def _confirm(person: Newcomer) -> None:
    mail = next(_mails_to(person.email))
    links = [link for link in mail.links if "/accounts/confirm-email/" in link]
    if not links:
        raise ScriptError(f"The mail “{mail.subject}” names no address to confirm at.")
    person.browser.get(httpx.URL(links[0]).raw_path.decode())


def _mails_to(email: str) -> Iterator[Mail]:
    deadline = time.monotonic() + _MAIL_WITHIN
    while time.monotonic() < deadline:
        for path in sorted((HOME / "mail").glob("*.log")):
            yield from (mail for mail in mails_in(path) if mail.to == email)
        time.sleep(0.1)
    raise ScriptError(f"No mail to {email} in {HOME / 'mail'} after {_MAIL_WITHIN} s.")


def _token(person: Newcomer) -> str:
    wanted = {"email": person.email, "password": person.password, "name": "demo"}
    return str(Api(person.url).post("tokens/", wanted)["token"])


def _build(person: Newcomer) -> dict[str, Any]:
    return workspace_built(person, person.api.post("workspaces/", {"name": "demo"}))


def workspace_built(person: Newcomer, made: dict[str, Any]) -> dict[str, Any]:
    """The workspace that was asked for, when it is ready; says how far Terraform is meanwhile."""
    path = f"workspaces/{made['id']}/"
    progress = Progress(person.api)
    found: dict[str, Any] = person.api.wait(path, progress.is_over, within=_BUILT_WITHIN)
    if found["state"] != "ready":
        said = _terraform_said(person.api, path)
        raise ScriptError(f"The workspace is {found['state']}: {found['state_reason']}", detail=said)
    return found


class Progress:
    """Says how far Terraform is whenever that has changed."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._said = ""

    def is_over(self, workspace: dict[str, Any]) -> bool:
        """Whether the workspace is in a state that it stays in."""
        text = str(workspace["state"])
        if workspace["active_run"]:
            run = self._api.get(f"terraform-runs/{workspace['active_run']}/")
            text += f", {run['resources_done']} of {run['to_add']} resources" if run["to_add"] else ""
        if text != self._said:
            self._said = text
            say(f"    | {text}")
        return workspace["state"] in {"ready", "failed", "degraded"}


def _terraform_said(api: Api, path: str) -> str:
    runs = api.get(f"{path}terraform-runs/")["results"]
    lines = api.get(f"terraform-runs/{runs[0]['id']}/lines/") if runs else []
    return "\n".join(line["text"] for line in lines[-20:])


def _upload(person: Newcomer) -> str:
    names = ("main.py", "requirements.txt")
    files = [("files", (name, (_EXAMPLE / name).read_bytes())) for name in names]
    version = person.api.post("scripts/", data={"name": "quickstart"}, files=files)
    return str(version["script"])


def _run(person: Newcomer, workspace: dict[str, Any], script: str) -> dict[str, Any]:
    asked = {"workspace": workspace["id"], "script": script, "arguments": ["--year", "2014"]}
    run = person.api.post("runs/", asked)
    log = [text for stream, text in _live_log(person, run["id"]) if stream != "orca"]
    found: dict[str, Any] = person.api.wait(f"runs/{run['id']}/", lambda answer: answer["state"] in _FINAL, within=10)
    step = found["steps"][0]
    if found["state"] != "succeeded":
        raise ScriptError(f"The run {found['state']}: {step['message']} ({step['reason']})")
    if len(log) < _LINES_LEAST:
        raise ScriptError(f"Only {len(log)} lines of the log came live: {log}")
    return found


def _pipeline(person: Newcomer) -> None:
    for path in sorted(_PIPELINE.glob("*.py")):
        person.api.post("scripts/", data={"name": path.stem}, files=[("files", ("main.py", path.read_bytes()))])
    version = person.api.post("pipelines/", {"source": (_PIPELINE / "pipeline.yaml").read_text()})
    run = person.api.post(f"pipelines/{version['pipeline']}/runs/", {"parameters": {"year": "2014"}})
    found = person.api.wait(f"runs/{run['id']}/", lambda answer: answer["state"] in _FINAL, within=60)
    if found["state"] != "succeeded":
        said = "\n".join(f"{step['key']}: {step['state']} {step['message']}" for step in found["steps"])
        raise ScriptError(f"The pipeline's run {found['state']}.", detail=said)
    began = sorted(found["steps"], key=lambda step: str(step["started_at"]))
    say(f"    | {' → '.join(step['key'] for step in began)}")


def _live_log(person: Newcomer, run: str) -> Iterator[tuple[str, str]]:
    """Stream and text of each line as the run's page gets them, until the run has ended; shows them, too."""
    deadline, shown = time.monotonic() + _RUN_WITHIN, 0
    while time.monotonic() < deadline:
        with connect_sse(person.browser.http, "GET", f"/runs/{run}/live/", params={"after": shown}) as source:
            source.response.raise_for_status()
            for event in source.iter_sse():
                if event.event == "end":
                    return
                if time.monotonic() > deadline:
                    break
                for number, stream, text, *_ in event.json()["lines"] if event.event == "lines" else []:
                    shown = number
                    if stream != "orca" or text.startswith(_TOLD_OF_ORCA):
                        say(f"    | {text}")
                    yield stream, text
    raise ScriptError(f"The run has not ended after {_RUN_WITHIN} s.", f"Its page: {person.url}/runs/{run}/")


def _fetch(person: Newcomer, run: dict[str, Any]) -> str:
    step = run["steps"][0]
    sizes = {output["path"]: output["size"] for output in step["outputs"]}
    if missing := _EXPECTED - sizes.keys():
        raise ScriptError(f"The run left no {', '.join(sorted(missing))}; it left {', '.join(sizes) or 'nothing'}.")
    contents = {}
    for path in sorted(_EXPECTED):
        link = person.api.get(f"runs/{run['id']}/steps/{step['id']}/outputs/link/", path=path)["url"]
        answer = httpx.get(link, timeout=30, trust_env=False).raise_for_status()
        if len(answer.content) != sizes[path]:
            raise ScriptError(f"{path} has {len(answer.content)} bytes, and not {sizes[path]} as the run says.")
        contents[path] = answer.content
    if not contents["months.png"].startswith(b"\x89PNG"):
        raise ScriptError("months.png is no PNG picture.")
    return contents["summary.md"].decode()


def _look_around(login: Login, user: str) -> None:
    said = login.run("whoami && python3 -c 'print(6 * 7)'").split()
    if said != [user, "42"]:
        raise ScriptError(f"The shell answered {said}.")


def _copy(login: Login, folder: Path) -> None:
    there, back = folder / "there.bin", folder / "back.bin"
    there.write_bytes(secrets.token_bytes(1_000_000))
    login.copy_there(there, "there.bin")
    login.copy_here("there.bin", back)
    if there.read_bytes() != back.read_bytes():
        raise ScriptError("What came back by scp is not what was sent.")


def terraform_await(person: Newcomer, workspace: dict[str, Any]) -> None:
    """A workspace works as soon as its instance is up, while Terraform still waits for AWS to confirm the queues."""
    path = f"workspaces/{workspace['id']}/"
    found = person.api.wait(path, lambda answer: answer["active_run"] is None, within=_BUILT_WITHIN)
    if found["state"] != "ready":
        raise ScriptError(f"The workspace became {found['state']}: {found['state_reason']}")


def _list_bucket(person: Newcomer, workspace: dict[str, Any]) -> None:
    lent = person.api.post(f"workspaces/{workspace['id']}/credentials/")
    s3 = boto3.client(
        "s3",
        endpoint_url=lent["endpoint_url"] or None,
        region_name=lent["region"],
        aws_access_key_id=lent["access_key_id"],
        aws_secret_access_key=lent["secret_access_key"],
        aws_session_token=lent["session_token"],
    )
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=lent["bucket"])["Contents"]]
    if not any(key.endswith("/output/summary.md") for key in keys):
        raise ScriptError(f"The bucket {lent['bucket']} does not show the outputs, but {keys[:10]}.")
    try:
        s3.get_object(Bucket=lent["bucket"], Key="control/agent.json")
    except ClientError as error:
        if error.response["Error"]["Code"] == "AccessDenied":
            return
        raise ScriptError(f"Reading control/agent.json was not denied, but: {error}") from error
    raise ScriptError("A person's credentials can read the agent's signing key.")


def _tell(person: Newcomer, login: Login, run: dict[str, Any], summary: str) -> None:
    page = f"{person.walk.configuration.url}/runs/{run['id']}/"
    person.walk.facts.update(email=person.email, password=person.password, ssh=login.command, page=page)
    say("\n" + "\n".join(f"    {line}" for line in summary.strip().splitlines()) + "\n")
    say(f"  The run's page  {page}")
    say(f"  Sign in as      {person.email}, password {person.password}")
    say(f"  A shell         {login.command}\n")
