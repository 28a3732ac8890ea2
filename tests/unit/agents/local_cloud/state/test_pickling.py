"""Every backend that moto has can be written down and read again."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

import pytest
from moto import backends
from moto.core.base_backend import BackendDict
from moto.s3.models import s3_backends

from agents.local_cloud.state.pickling import dump, load, places

ACCOUNT = "100000000001"
#: Those that Orca uses, and those whose objects needed a way of their own.
PACKAGES = ["autoscaling", "awslambda", "cloudwatch", "dynamodb", "ecr", "elbv2", "iam", "kms", "logs", "ssm", "sts"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_backend_comes_back(package: str) -> None:
    every: Any = backends
    known: BackendDict[Any] = every.get_backend(package)
    regions = known[ACCOUNT]
    backend = regions["eu-central-1" if "eu-central-1" in regions else "aws"]
    again = load(dump(backend.__dict__, places()))
    assert again.keys() == backend.__dict__.keys()


def test_a_backend_inside_of_another_is_named_and_stays_the_same_object() -> None:
    backend = s3_backends[ACCOUNT]["aws"]
    again = load(dump({"reaches": backend}, places()))
    assert again["reaches"] is backend


def test_locks_come_back_open() -> None:
    lock = threading.Lock()
    lock.acquire()
    again = load(dump([lock, threading.RLock(), threading.Condition()], {}))
    assert again[0].acquire(blocking=False)
    assert again[1].acquire(blocking=False)
    with again[2]:
        again[2].notify_all()


def test_functions_made_inside_of_functions_come_back_with_what_they_close_over() -> None:
    def adder(amount: int) -> Any:
        return lambda value: value + amount

    assert load(dump(adder(3), {}))(4) == 7
    again = load(dump(defaultdict(lambda: [1]), {}))
    assert again["missing"] == [1]
