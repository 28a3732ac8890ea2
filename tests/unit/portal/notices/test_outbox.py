"""Which notices there are: of whose runs, of which ends, of what did not happen; each once."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.notices import outbox
from portal.notices.models import Notice, Subscription
from portal.notices.sending import notices_send
from portal.pipelines.events import run_ended
from portal.pipelines.models import Pipeline, Run, Step
from portal.pipelines.sweeps import runs_sweep, step_end
from tests.people import person

from .conftest import PipelineMaker, Receiver, RunMaker, SubscriptionMaker, notice

HOUR = timedelta(hours=1)


def kinds() -> list[str]:
    return sorted(Notice.objects.values_list("kind", flat=True))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "expected"),
    [("succeeded", ["success"]), ("failed", ["failure"]), ("timed_out", ["failure"]), ("lost", ["failure"])],
)
def test_an_end_is_told_of(hook: SubscriptionMaker, run_made: RunMaker, state: str, expected: list[str]) -> None:
    hook()
    run = run_made(state)
    outbox.run_ended_note(run=run)
    outbox.run_ended_note(run=run)
    assert kinds() == expected
    assert notice().run == run


@pytest.mark.django_db
def test_who_cancelled_it_knows(hook: SubscriptionMaker, run_made: RunMaker) -> None:
    hook()
    assert outbox.run_ended_note(run=run_made("cancelled")) == 0


@pytest.mark.django_db
def test_only_what_is_wanted_is_told(hook: SubscriptionMaker, run_made: RunMaker) -> None:
    hook(on=["failure"])
    outbox.run_ended_note(run=run_made("succeeded"))
    assert kinds() == []


@pytest.mark.django_db
def test_only_of_what_was_chosen(
    hook: SubscriptionMaker, run_made: RunMaker, pipeline_made: PipelineMaker, version: Any
) -> None:
    nightly, other = pipeline_made("nightly"), pipeline_made("other")
    hook(pipelines=[nightly.pk])
    outbox.run_ended_note(run=run_made("failed"))
    for pipeline in (nightly, other):
        run = run_made("failed", name=pipeline.name)
        Run.objects.filter(pk=run.pk).update(pipeline=pipeline, script=None)
        run.refresh_from_db()
        outbox.run_ended_note(run=run)
    assert notice().subject == "nightly failed"
    hook(scripts=[version.script_id], name="Scripts")
    outbox.run_ended_note(run=run_made("failed", name="script"))
    assert Notice.objects.filter(subscription__name="Scripts").count() == 1


@pytest.mark.django_db
def test_nobody_hears_of_another_persons_runs(hook: SubscriptionMaker, run_made: RunMaker, outsider: User) -> None:
    hook()
    run = run_made("failed")
    Run.objects.filter(pk=run.pk).update(owner=outsider)
    run.refresh_from_db()
    assert outbox.run_ended_note(run=run) == 0
    Subscription.objects.update(on_late=True, on_did_not_run=True, silent_hours=1)
    Run.objects.update(state="running", created_at=timezone.now() - 9 * HOUR)
    assert outbox.absences_note() == 0


@pytest.mark.django_db
def test_each_place_is_told(hook: SubscriptionMaker, mailed: SubscriptionMaker, run_made: RunMaker) -> None:
    hook()
    mailed()
    assert outbox.run_ended_note(run=run_made("failed")) == 2


# --- written with the end itself ------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_notice_is_written_in_the_transaction_that_settles_the_run(
    hook: SubscriptionMaker, run_made: RunMaker
) -> None:
    hook()
    step = run_made("running").steps.get()

    class Killed(Exception):
        pass

    with pytest.raises(Killed), transaction.atomic():
        step_end(step, "failed", "exit_code", "It failed.")
        assert Notice.objects.count() == 1
        raise Killed
    assert (Notice.objects.count(), Run.objects.get().state) == (0, "running")
    step.refresh_from_db()
    step_end(step, "failed", "exit_code", "It failed.")
    assert (Notice.objects.count(), Run.objects.get().state) == (1, "failed")


@pytest.mark.django_db(transaction=True)
def test_a_sweep_that_settles_does_so_in_a_transaction_too(hook: SubscriptionMaker, run_made: RunMaker) -> None:
    hook()
    heard = []

    def listen(sender: object, **_: Any) -> None:
        heard.append(connection.in_atomic_block)

    run_ended.connect(listen)
    try:
        run_made("running").steps.update(state="failed", finished_at=timezone.now())
        runs_sweep()
    finally:
        run_ended.disconnect(listen)
    assert heard == [True]
    assert kinds() == ["failure"]


@pytest.mark.django_db(transaction=True)
def test_killed_between_the_commit_and_the_sending_loses_nothing(
    hook: SubscriptionMaker, run_made: RunMaker, receiver: Receiver
) -> None:
    """A process that is killed with -9 the moment after its commit: the sweep of another sends what it left."""
    hook()
    step = run_made("running").steps.get()
    connection.close()
    child = os.fork()
    if child == 0:
        with transaction.atomic():
            transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
            step_end(step, "failed", "exit_code", "It failed.")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert Run.objects.get().state == "failed"
    assert (notice().state, receiver.heard) == ("waiting", [])
    assert notices_send() == 1
    assert len(receiver.heard) == 1
    assert notice().state == "sent"


@pytest.mark.django_db(transaction=True)
def test_killed_before_the_commit_there_is_neither_end_nor_notice(hook: SubscriptionMaker, run_made: RunMaker) -> None:
    hook()
    step = run_made("running").steps.get()
    connection.close()
    child = os.fork()
    if child == 0:
        with transaction.atomic():
            step_end(step, "failed", "exit_code", "It failed.")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert (Run.objects.get().state, Notice.objects.count()) == ("running", 0)


# --- late ------------------------------------------------------------------------------------------------------------


def aged(run: Run, by: timedelta, **more: Any) -> Run:
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - by, **more)
    run.refresh_from_db()
    return run


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_run_that_does_not_end_is_late_once(hook: SubscriptionMaker, run_made: RunMaker, state: str) -> None:
    hook(on=["late"], late_minutes=30)
    run = run_made(state)
    assert outbox.absences_note() == 0
    aged(run, HOUR)
    assert outbox.absences_note() == 1
    assert outbox.absences_note() == 0
    aged(run, 5 * HOUR, state="succeeded")
    assert outbox.run_ended_note(run=run) <= 1
    assert kinds() == ["late"]
    assert "30 minutes after it was asked for" in notice().facts["why"]


@pytest.mark.django_db
def test_a_run_that_began_long_after_its_slot_is_late(hook: SubscriptionMaker, run_made: RunMaker) -> None:
    hook(on=["late"], late_minutes=30)
    aged(run_made("running"), timedelta(minutes=1), due_at=timezone.now() - HOUR)
    assert outbox.absences_note() == 1
    assert "after its slot" in notice().facts["why"]


@pytest.mark.django_db
def test_it_was_late_also_if_nobody_looked_while_it_ran(hook: SubscriptionMaker, run_made: RunMaker) -> None:
    hook(on=["late", "success"], late_minutes=30)
    outbox.run_ended_note(run=aged(run_made("succeeded"), HOUR))
    assert kinds() == ["late", "success"]


@pytest.mark.django_db
def test_what_was_not_chosen_is_not_late(
    hook: SubscriptionMaker, run_made: RunMaker, pipeline_made: PipelineMaker
) -> None:
    nightly = pipeline_made()
    hook(on=["late"], late_minutes=30, pipelines=[nightly.pk])
    aged(run_made("running"), HOUR)
    assert outbox.absences_note() == 0
    aged(run_made("running"), HOUR, pipeline=nightly)
    assert outbox.absences_note() == 1


# --- did not run -----------------------------------------------------------------------------------------------------


def silenced(hook: SubscriptionMaker, **given: Any) -> Subscription:
    made = hook(on=["did_not_run"], silent_hours=2, **given)
    Subscription.objects.update(created_at=timezone.now() - 9 * HOUR)
    return made


def succeeded(run_made: RunMaker, pipeline: Pipeline, ago: timedelta) -> Run:
    at = timezone.now() - ago
    return aged(run_made("succeeded"), ago, pipeline=pipeline, finished_at=at)


@pytest.mark.django_db
def test_silence_is_told_of_once_until_there_is_a_success(
    hook: SubscriptionMaker, pipeline_made: PipelineMaker, run_made: RunMaker
) -> None:
    pipeline = pipeline_made()
    silenced(hook)
    Pipeline.objects.update(created_at=timezone.now() - 9 * HOUR)
    succeeded(run_made, pipeline, HOUR)
    assert outbox.absences_note() == 0
    Run.objects.update(created_at=timezone.now() - 3 * HOUR, finished_at=timezone.now() - 3 * HOUR)
    aged(run_made("failed"), HOUR, pipeline=pipeline)
    assert outbox.absences_note() == 1
    assert outbox.absences_note() == 0
    assert notice().subject == "nightly has not run well for 2 hours"
    later = succeeded(run_made, pipeline, timedelta(0))
    assert outbox.absences_note() == 0
    aged(later, timedelta(minutes=150), finished_at=timezone.now() - timedelta(minutes=150))
    assert outbox.absences_note() == 1


@pytest.mark.django_db
def test_one_that_never_ran_is_silent_too(hook: SubscriptionMaker, pipeline_made: PipelineMaker) -> None:
    pipeline_made()
    silenced(hook)
    assert outbox.absences_note() == 0, "it is young"
    Pipeline.objects.update(created_at=timezone.now() - 3 * HOUR)
    assert outbox.absences_note() == 1
    Pipeline.objects.update(archived_at=timezone.now())
    Notice.objects.all().delete()
    assert outbox.absences_note() == 0


@pytest.mark.django_db
def test_a_script_is_watched_where_it_was_chosen(hook: SubscriptionMaker, run_made: RunMaker, version: Any) -> None:
    type(version.script).objects.update(created_at=timezone.now() - 9 * HOUR)
    silenced(hook)
    assert outbox.absences_note() == 0, "people run scripts as they like"
    silenced(hook, scripts=[version.script_id], name="Chosen")
    assert outbox.absences_note() == 1
    assert notice().facts["script"] == version.script_id


@pytest.mark.django_db
def test_the_silence_of_others_is_theirs(hook: SubscriptionMaker, pipeline_made: PipelineMaker) -> None:
    silenced(hook)
    pipeline_made(by=person("mallory@example.org"))
    Pipeline.objects.update(created_at=timezone.now() - 9 * HOUR)
    assert outbox.absences_note() == 0


@pytest.mark.django_db
def test_without_notifications_an_end_costs_one_look(run_made: RunMaker, django_assert_num_queries: Any) -> None:
    run = Run.objects.only("id", "state", "owner_id", "name").get(pk=run_made("failed").pk)
    with django_assert_num_queries(1):
        outbox.run_ended_note(run=run)
    assert Step.objects.count() == 1
