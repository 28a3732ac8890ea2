"""What may and what may not come through the messages between portal and agent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.orca_agent import protocol
from agents.orca_agent.protocol import (
    BadSignature,
    Desired,
    Event,
    Input,
    InstanceHeartbeat,
    InstanceRegistered,
    InstanceStopping,
    InvalidTask,
    LogLine,
    LogSummary,
    Malformed,
    Output,
    ProtocolError,
    Release,
    RunningStep,
    Script,
    StepFinished,
    StepLog,
    StepReturned,
    StepStarted,
    Task,
    TooLarge,
    WrongWorkspace,
)

WORKSPACE, RUN, STEP = "01" + "w" * 24, "01" + "r" * 24, "01" + "s" * 24
KEY = bytes(range(32))
SHA = "ab" * 32

EVENTS: list[Event] = [
    InstanceRegistered(
        "0" * 26, 1.5, "boot", "t3.small", "10.0.0.1", "1.2.3.4", SHA, 2, 2, 2048, ("ssh-ed25519 AAAA",)
    ),
    InstanceHeartbeat("1" * 26, 2.0, "boot", 2, (RunningStep(STEP, 1),), 0.5, 100, 200, "ready"),
    InstanceStopping("2" * 26, 2.0, "boot", (STEP,)),
    StepStarted("3" * 26, 3.0, RUN, STEP, 1, "boot"),
    StepLog("4" * 26, 4.0, RUN, STEP, 1, 1, (LogLine("out", 4.0, "größe"), LogLine("err", 4.1, "")), "boot"),
    StepFinished(
        "5" * 26,
        5.0,
        RUN,
        STEP,
        1,
        "failed",
        1,
        None,
        "exit_code",
        "It ended with 1.",
        3.0,
        5.0,
        12.5,
        0.3,
        LogSummary(2, 10, False, "runs/log.txt"),
        (Output("a/b.csv", 3, "text/csv"),),
        True,
        "boot",
        bytes_in=30,
        bytes_out=20,
        bytes_fetched=10,
    ),
    StepReturned("6" * 26, 3.0, RUN, STEP, 2),
]


INPUTS = (
    Input("fetch", prefix=f"runs/{RUN}/{STEP}/1/output/"),
    Input("far away", manifest="control/inputs/x.json", files=("a/größe.csv",)),
    Input("nothing.left"),
)


def task(**changes: Any) -> Task:
    script = Script(f"scripts/{SHA}.zip", SHA, "main.py", "python", "requirements.txt")
    more = {"inputs": INPUTS, "secret_names": ("TOKEN", "_other1"), "avoid": ("i-0123456789abcdef0",), **changes}
    return Task(WORKSPACE, RUN, STEP, 1, "name", script, ("a", ""), {"A": "1"}, **more)


def key_for(workspace: str) -> bytes | None:
    return KEY if workspace == WORKSPACE else None


def test_every_event_survives_the_envelope() -> None:
    body = protocol.sign_envelope(WORKSPACE, "i-1", EVENTS, KEY, sent_at=9.0)
    envelope = protocol.open_envelope(body, key_for)
    assert list(envelope.events) == EVENTS
    assert (envelope.workspace, envelope.instance, envelope.sent_at) == (WORKSPACE, "i-1", 9.0)
    assert (envelope.rejected, envelope.skipped) == ((), 0)


def test_any_changed_byte_of_the_payload_is_noticed() -> None:
    outer = json.loads(protocol.sign_envelope(WORKSPACE, "i-1", EVENTS[:1], KEY, sent_at=9.0))
    outer["payload"] = outer["payload"].replace("t3.small", "t3.large")
    with pytest.raises(BadSignature):
        protocol.open_envelope(json.dumps(outer), key_for)


def test_a_key_of_another_workspace_does_not_sign() -> None:
    body = protocol.sign_envelope(WORKSPACE, "i-1", EVENTS[:1], b"x" * 32, sent_at=9.0)
    with pytest.raises(BadSignature):
        protocol.open_envelope(body, key_for)


def test_an_unknown_workspace_is_told_apart() -> None:
    body = protocol.sign_envelope("z" * 26, "i-1", [], KEY, sent_at=9.0)
    with pytest.raises(WrongWorkspace):
        protocol.open_envelope(body, key_for)


def test_a_payload_of_one_workspace_cannot_be_sent_as_anothers() -> None:
    outer = json.loads(protocol.sign_envelope("z" * 26, "i-1", [], KEY, sent_at=9.0))
    outer["workspace"] = WORKSPACE
    with pytest.raises(WrongWorkspace):
        protocol.open_envelope(json.dumps(outer), key_for)


def test_an_envelope_has_a_size_limit_on_both_sides() -> None:
    line = LogLine("out", 1.0, '"' * protocol.MAX_LINE)
    log = StepLog("4" * 26, 4.0, RUN, STEP, 1, 1, (line,) * 20)
    with pytest.raises(TooLarge):
        protocol.sign_envelope(WORKSPACE, "i-1", [log], KEY, sent_at=1.0)
    with pytest.raises(TooLarge):
        protocol.open_envelope('{"x":"' + "ü" * 150_000 + '"}', key_for)


def test_characters_that_sqs_refuses_are_escaped() -> None:
    log = StepLog("4" * 26, 4.0, RUN, STEP, 1, 1, (LogLine("out", 1.0, "a\ufffe\uffff\x1bü"),))
    body = protocol.sign_envelope(WORKSPACE, "i-1", [log], KEY, sent_at=1.0)
    assert not {"\ufffe", "\uffff", "\x1b"} & set(body)
    assert protocol.open_envelope(body, key_for).events == (log,)


def test_the_room_that_an_event_takes_is_known_beforehand() -> None:
    log = StepLog("4" * 26, 4.0, RUN, STEP, 1, 1, (LogLine("out", 1.0, '"\\ü\n'),))
    empty = protocol.sign_payload(WORKSPACE, "i-1", [], KEY, sent_at=1.0)
    full = protocol.sign_envelope(WORKSPACE, "i-1", [log], KEY, sent_at=1.0)
    grown = len(full.encode()) - len(empty.encode())
    assert protocol.envelope_bytes(protocol.event_text(log)) - 2 == grown


def test_one_bad_or_unknown_event_does_not_keep_the_others_out() -> None:
    good = json.dumps(protocol.event_json(EVENTS[3]))
    bad = json.dumps({**protocol.event_json(EVENTS[3]), "step": "not an id"})
    new = json.dumps({"kind": "step.danced", "id": "6" * 26, "at": 1.0})
    body = protocol.sign_payload(WORKSPACE, "i-1", [bad, new, good], KEY, sent_at=1.0)
    envelope = protocol.open_envelope(body, key_for)
    assert envelope.events == (EVENTS[3],)
    assert envelope.rejected == ("event.step has the wrong form",)
    assert envelope.skipped == 1


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (0, {"slots": True}),
        (0, {"slots": -1}),
        (0, {"cpus": 2**15}),
        (0, {"memory_mb": 2**31}),
        (1, {"disk_free_mb": 2**31}),
        (0, {"ssh_host_keys": ["a\nb"]}),
        (0, {"ssh_host_keys": "ssh-ed25519 AAAA"}),
        (1, {"running": [{"step": STEP}]}),
        (1, {"load": 1e300}),
        (4, {"lines": [["out", 1.0]]}),
        (4, {"lines": [["shout", 1.0, "x"]]}),
        (4, {"lines": [[["out"], 1.0, "x"]]}),
        (4, {"lines": [["out", "1", "x"]]}),
        (4, {"lines": [["out", 1.0, "\ud800"]]}),
        (4, {"lines": [["out", 1.0, "x" * (protocol.MAX_LINE + 1)]]}),
        (4, {"first": 0}),
        (4, {"first": 2**31}),
        (4, {"attempt": 2**15}),
        (5, {"state": "queued"}),
        (5, {"state": ["failed"]}),
        (5, {"exit_code": 1.5}),
        (5, {"exit_code": 2**31}),
        (5, {"log": {"lines": 2**31}}),
        (5, {"reason": "Bad Reason"}),
        (5, {"outputs": [{"path": "../x", "size": 1}]}),
        (5, {"outputs": [{"path": "x", "size": -1}]}),
        (5, {"at": None}),
        (5, {"id": "0" * 25}),
        (5, {"id": "U" * 26}),
    ],
)
def test_an_event_with_a_wrong_value_is_refused(kind: int, change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        protocol.parse_event({**protocol.event_json(EVENTS[kind]), **change})


def test_keys_of_a_newer_version_are_ignored() -> None:
    for event in EVENTS:
        assert protocol.parse_event({**protocol.event_json(event), "mood": {"x": 1}}) == event


def test_tasks_survive_their_message() -> None:
    tasks = (task(), task(limits=protocol.Limits(60, 64, 8, 1, 1)))
    assert protocol.parse_tasks(protocol.tasks_body(tasks), WORKSPACE) == tasks


def test_a_task_of_another_workspace_is_refused() -> None:
    with pytest.raises(WrongWorkspace):
        protocol.parse_tasks(protocol.tasks_body([task()]), "z" * 26)


@pytest.mark.parametrize(
    "change",
    [
        {"script": None},
        {"script": {"key": "k", "sha256": SHA, "entrypoint": "../main.py", "runtime": "python"}},
        {"script": {"key": "k", "sha256": SHA, "entrypoint": "/main.py", "runtime": "python"}},
        {"script": {"key": "k", "sha256": SHA.upper(), "entrypoint": "main.py", "runtime": "python"}},
        {"script": {"key": "k", "sha256": SHA, "entrypoint": "main.py", "runtime": "perl"}},
        {"arguments": [1]},
        {"arguments": ["a\0b"]},
        {"environment": {"A=B": "1"}},
        {"environment": {"A": 1}},
        {"secret_names": {"A": "1"}},
        {"secret_names": ["A=B"]},
        {"secret_names": ["../A"]},
        {"secret_names": [f"A{n}" for n in range(protocol.MAX_SECRETS + 1)]},
        {"inputs": ["fetch"]},
        {"inputs": [{"step": "fetch"}] * 2},
        {"inputs": [{"step": f"s{n}"} for n in range(protocol.MAX_INPUTS + 1)]},
        {"inputs": [{"prefix": "runs/x/"}]},
        {"inputs": [{"step": ".."}]},
        {"inputs": [{"step": "a/b"}]},
        {"inputs": [{"step": ""}]},
        {"inputs": [{"step": "a\0"}]},
        {"inputs": [{"step": "a", "prefix": "/"}]},
        {"inputs": [{"step": "a", "prefix": "runs/x"}]},
        {"inputs": [{"step": "a", "prefix": "runs/../control/"}]},
        {"inputs": [{"step": "a", "prefix": "runs/x/", "manifest": "m"}]},
        {"inputs": [{"step": "a", "manifest": "/m"}]},
        {"inputs": [{"step": "a", "manifest": "m/"}]},
        {"inputs": [{"step": "a", "manifest": 1}]},
        {"inputs": [{"step": "a", "files": "x"}]},
        {"inputs": [{"step": "a", "files": ["x"] * 101}]},
        {"avoid": "i-1"},
        {"avoid": ["i" * 33]},
        {"avoid": ["i-1"] * 11},
        {"limits": {"seconds": 0}},
        {"limits": {"memory_mb": "64"}},
    ],
)
def test_a_broken_task_keeps_its_identity(change: dict[str, Any]) -> None:
    message = json.loads(protocol.tasks_body([task()]))
    message["tasks"][0].update(change)
    (parsed,) = protocol.parse_tasks(json.dumps(message), WORKSPACE)
    assert isinstance(parsed, InvalidTask)
    assert (parsed.run, parsed.step, parsed.attempt) == (RUN, STEP, 1)


def test_missing_limits_have_defaults() -> None:
    message = json.loads(protocol.tasks_body([task()]))
    message["tasks"][0]["limits"] = {"seconds": 5, "shoes": 2}
    (parsed,) = protocol.parse_tasks(json.dumps(message), WORKSPACE)
    assert isinstance(parsed, Task)
    assert parsed.limits == protocol.Limits(seconds=5)


def test_a_task_of_an_older_portal_has_neither_inputs_nor_secrets_and_avoids_nothing() -> None:
    message = json.loads(protocol.tasks_body([task()]))
    for name in ("inputs", "secret_names", "avoid"):
        del message["tasks"][0][name]
    (parsed,) = protocol.parse_tasks(json.dumps(message), WORKSPACE)
    assert parsed == task(inputs=(), secret_names=(), avoid=())


def test_a_task_of_a_newer_portal_is_read_without_what_is_not_known() -> None:
    message = json.loads(protocol.tasks_body([task()]))
    message["tasks"][0]["prefer"] = ["i-1"]
    assert protocol.parse_tasks(json.dumps(message), WORKSPACE) == (task(),)


def test_desired_state_survives_its_object() -> None:
    desired = Desired(7, ("ssh-ed25519 AAAA me",), (STEP,), True, agent=Release(SHA, f"agents/{SHA}.tar.gz", "b"))
    assert protocol.parse_desired(protocol.desired_body(desired)) == desired
    assert protocol.parse_desired("{}") == Desired()


@pytest.mark.parametrize(
    "body",
    ['{"authorized_keys":["a\\nb"]}', '{"cancelled":["x"]}', '{"draining":1}', "[]", "NaN", b"\xff", ""],
)
def test_broken_desired_state_is_refused(body: str | bytes) -> None:
    with pytest.raises(Malformed):
        protocol.parse_desired(body)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.text() | _json.map(json.dumps))
def test_no_body_breaks_out_of_the_typed_errors(body: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.open_envelope(body, key_for)
    with pytest.raises(ProtocolError):
        protocol.parse_tasks(body, WORKSPACE)


@pytest.mark.parametrize("body", ["[" * 50_000, '{"a":' * 30_000, '{"a":' + "9" * 10_000 + "}"])
def test_a_body_that_strains_the_parser_is_malformed(body: str) -> None:
    with pytest.raises(Malformed):
        protocol.open_envelope(body, key_for)


@settings(deadline=None)
@given(st.data())
def test_no_signed_payload_breaks_out_of_the_typed_errors(data: st.DataObject) -> None:
    """A workspace's key may be in wrong hands: any value anywhere is read, rejected, or a typed error."""
    values = protocol.event_json(data.draw(st.sampled_from(EVENTS)))
    key = data.draw(st.sampled_from(sorted(values)))
    event = json.dumps({**values, key: data.draw(_json)})
    body = protocol.sign_payload(WORKSPACE, "i-1", [event], KEY, sent_at=1.0)
    try:
        envelope = protocol.open_envelope(body, key_for)
    except ProtocolError:
        return
    assert len(envelope.events) + len(envelope.rejected) + envelope.skipped == 1
    for found in envelope.events:
        json.dumps(protocol.event_json(found), allow_nan=False).encode()


@settings(deadline=None)
@given(st.data())
def test_no_task_breaks_out_of_the_typed_errors(data: st.DataObject) -> None:
    message = json.loads(protocol.tasks_body([task()]))
    target = data.draw(st.sampled_from([message, message["tasks"][0], message["tasks"][0]["script"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(_json)
    try:
        protocol.parse_tasks(json.dumps(message), WORKSPACE)
    except ProtocolError as error:
        assert error.code
