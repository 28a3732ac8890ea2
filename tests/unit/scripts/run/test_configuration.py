"""What `scripts/run` starts and what it tells the processes, by what the person has set."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from portal import celery_app
from portal.workspaces.terraform_runs import EXECUTE
from scripts.orca.run import configuration
from scripts.orca.run.configuration import Configuration, configuration_publish, configuration_read
from scripts.orca.run.options import parse
from scripts.orca.run.services import services

_SETTABLE = ("AWS_", "ORCA_", "DATABASE_URL", "ALLOWED_HOSTS", "NO_PROXY")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and an environment in which nothing is set."""
    for name in list(os.environ):
        if name.startswith(_SETTABLE):
            monkeypatch.delenv(name)
    monkeypatch.setattr(configuration, "HOME", tmp_path)
    monkeypatch.setattr(configuration, "RUN", tmp_path / "run")
    monkeypatch.setattr(configuration, "ENV_FILE", tmp_path / "orca.env")
    monkeypatch.setattr("scripts.orca.run.services.HOME", tmp_path)
    monkeypatch.setattr(configuration, "socket_folder", lambda: tmp_path)
    return tmp_path


def _read(*arguments: str) -> Configuration:
    return configuration_read(parse(list(arguments)))


def _names(found: Configuration) -> list[str]:
    return [service.name for service in services(found)]


def test_by_default_everything_is_embedded() -> None:
    found = _read()
    assert _names(found) == ["redis", "cloud", "worker", "terraform", "jobs", "beat", "relay", "web"]
    assert found.environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:5566"
    assert found.environment["ORCA_BROKER_URL"].startswith("redis+socket:///")
    assert found.url == found.local_url == "http://127.0.0.1:8000"


def test_the_embedded_cloud_never_sees_a_persons_own_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "real")
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(Path.home() / ".aws" / "config"))
    environment = _read().environment
    assert "real" not in environment.values()
    assert environment["AWS_PROFILE"] == "platform"
    assert Path(environment["AWS_CONFIG_FILE"]).read_text() == ""


def test_an_account_of_aws_is_used_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    found = _read("--cloud", "aws")
    assert "cloud" not in _names(found)
    assert found.environment["AWS_PROFILE"] == "work"
    assert "AWS_ENDPOINT_URL" not in found.environment


@pytest.mark.parametrize(
    ("name", "value", "left_out"),
    [
        ("AWS_ENDPOINT_URL", "http://cloud.example.org", "cloud"),
        ("ORCA_REDIS_URL", "redis://redis.example.org", "redis"),
        ("ORCA_BROKER_URL", "sqs://", "redis"),
    ],
)
def test_what_somebody_else_provides_is_not_started(name: str, value: str, left_out: str, home: Path) -> None:
    (home / "orca.env").write_text(f"{name}={value}\n")
    found = _read()
    assert left_out not in _names(found)
    assert found.environment[name] == value


def test_without_redis_the_broker_is_left_to_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("scripts.orca.run.configuration.RUN_PACKAGES", _without_redis())
    found = _read()
    assert "redis" not in _names(found)
    assert "ORCA_BROKER_URL" not in found.environment


def _without_redis() -> object:
    from scripts.orca.setup.packages import Package

    return (Package("redis-server", lambda: False, "nothing"),)


def test_the_environment_wins_over_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "orca.env").write_text("ORCA_SLOTS=2\nORCA_MAX_WORKSPACES=7\n")
    monkeypatch.setenv("ORCA_SLOTS", "8")
    environment = _read().environment
    assert (environment["ORCA_SLOTS"], environment["ORCA_MAX_WORKSPACES"]) == ("8", "7")


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:81"), ("::1", "http://[::1]:81")])
def test_the_address_can_be_reached_from_here(host: str, url: str) -> None:
    assert _read("--host", host, "--port", "81").local_url == url


def test_the_published_environment_can_be_read_by_a_shell_and_nobody_else(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCA_PUBLIC_URL", "http://a b'c$HOME")
    path = configuration_publish(_read())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    script = f"set -a; . {shlex.quote(str(path))}; set +a; printenv ORCA_PUBLIC_URL"
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": os.defpath})
    assert said.stdout == "http://a b'c$HOME\n"
    assert "SECRET_KEY" not in path.read_text()


def test_every_task_has_a_queue_that_one_service_reads_and_chores_never_wait_for_terraform() -> None:
    readers = {
        service.command[service.command.index("--queues") + 1]: service.name
        for service in services(_read())
        if "--queues" in service.command
    }
    celery_app.loader.import_default_modules()
    ours = sorted(name for name in celery_app.tasks if name.startswith("portal."))
    found = {name: readers[celery_app.amqp.router.route({}, name)["queue"].name] for name in ours}
    assert set(found.values()) == {"worker", "terraform", "jobs"}
    assert [name for name, reader in found.items() if reader == "terraform"] == [EXECUTE]
    assert {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} <= found.keys()
