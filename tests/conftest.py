"""What every test may use. Actors come from ``tests.people``, clouds from ``tests.fixtures``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import boto3
import botocore.session
import pytest
from django.conf import settings
from moto import mock_aws

from portal.clouds.models import CloudAccount
from portal.clouds.services import platform_ensure
from portal.core.ids import new_id
from portal.gateways import aws, aws_platform, aws_queue, aws_storage
from tests import environment

pytest_plugins = ["tests.fixtures.cloud", "tests.fixtures.orca"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """SQLite in a file, as in production: in memory, threads share one cache, whose locks nobody waits for."""
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        database["TEST"]["NAME"] = f"{environment.HOME}/tests.sqlite3"


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(environment.HOME, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def services_read_once() -> Iterator[None]:
    """Every session of boto3 reads what services look like: megabytes, for each test anew."""
    with pytest.MonkeyPatch.context() as patch:
        loader = botocore.session.create_loader()
        patch.setattr(botocore.session, "create_loader", lambda *_: loader)
        yield


def forget_clouds() -> None:
    """Drop what the gateways remember of a cloud that is gone."""
    aws.forget_sessions()
    aws_platform.own_account_id.cache_clear()
    aws_platform.events_queue_url.cache_clear()
    aws_platform.dead_events_queue_url.cache_clear()
    aws_storage._delivered.clear()
    aws_queue._urls.clear()


@pytest.fixture
def paper_cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """moto inside the test: quick, without IAM and without instances that boot."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    forget_clouds()
    with mock_aws():
        yield
    forget_clouds()


@pytest.fixture
def cloud_account(db: None, paper_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> CloudAccount:
    """Orca's own account, set up."""
    archive = tmp_path_factory.mktemp("agent") / f"{new_id()}.tar.gz"
    archive.write_bytes(b"not really an agent")
    return platform_ensure(archive=archive)


def workspace_resources_make(workspace_id: str) -> None:
    """The bucket and the queues that Terraform would have made."""
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    s3.create_bucket(Bucket=f"orca-{workspace_id}", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for name in ("tasks", "tasks-dead"):
        sqs.create_queue(QueueName=f"orca-{workspace_id}-{name}.fifo", Attributes={"FifoQueue": "true"})
