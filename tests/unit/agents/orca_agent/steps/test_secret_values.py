"""Secrets are fetched when they are needed, kept a moment, and what is missing is told with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.orca_agent.account import Account
from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.events import Reason
from agents.orca_agent.steps.failure import StepFailed
from agents.orca_agent.steps.secret_values import FRESH, MOST_TOGETHER, SecretValues, write_files
from tests.unit.agents.orca_agent.doubles import MemorySecrets


class Book:
    """Secret values with a clock of the test's own."""

    def __init__(self, **values: str) -> None:
        self.now = 0.0
        self.stored = MemorySecrets(dict(values))
        self.values = SecretValues(self.stored, clock=lambda: self.now)


def refusal(book: Book, *names: str) -> StepFailed:
    with pytest.raises(StepFailed) as failed:
        book.values.get(names)
    return failed.value


def test_a_step_without_secrets_asks_nobody() -> None:
    book = Book(A="1")
    assert book.values.get(()) == {}
    assert book.stored.asked == []


def test_each_is_asked_for_once_within_half_a_minute() -> None:
    book = Book(A="1", B="2", C="3")
    assert book.values.get(("A", "B", "A")) == {"A": "1", "B": "2"}
    assert book.values.get(("B", "C")) == {"B": "2", "C": "3"}
    assert sorted(book.stored.asked) == ["A", "B", "C"]


def test_a_value_that_was_replaced_arrives_within_a_minute() -> None:
    book = Book(A="old")
    book.values.get(("A",))
    book.stored.values["A"] = "new"
    book.now = FRESH - 1
    assert book.values.get(("A",)) == {"A": "old"}
    book.now = FRESH
    assert book.values.get(("A",)) == {"A": "new"}
    assert FRESH < 60


def test_what_is_missing_is_named_with_what_to_do() -> None:
    failed = refusal(Book(A="1"), "A", "TOKEN")
    assert failed.reason == Reason.SECRET_MISSING
    assert failed.message == (
        "It needs a secret TOKEN, which the workspace does not have. Add it on the workspace's page."
    )
    assert "the secrets X, Y, which" in refusal(Book(), "X", "Y").message


def test_what_was_missing_is_there_as_soon_as_it_was_added() -> None:
    book = Book()
    refusal(book, "A")
    book.stored.values["A"] = "1"
    assert book.values.get(("A",)) == {"A": "1"}


def test_an_instance_that_may_not_read_says_so() -> None:
    book = Book()
    book.stored.error = CloudError("AccessDeniedException", "no", status=400)
    failed = refusal(book, "A")
    assert failed.reason == Reason.SECRET_MISSING
    assert "Apply the workspace again" in failed.message


def test_other_troubles_are_the_clouds() -> None:
    book = Book()
    book.stored.error = CloudError("Unreachable", "no", retryable=True)
    with pytest.raises(CloudError, match="Unreachable"):
        book.values.get(("A", "B"))


def test_more_than_an_environment_takes_is_refused() -> None:
    book = Book(A="x" * (MOST_TOGETHER // 2), B="x" * (MOST_TOGETHER // 2 + 1))
    assert refusal(book, "A", "B").reason == Reason.START_FAILED


def test_files_are_for_the_steps_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    write_files({"A": "grün\n", "B": ""}, folder, Account("me", None, None, tmp_path))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"A": "grün\n".encode(), "B": b""}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o400}
    assert folder.stat().st_mode & 0o777 == 0o700
