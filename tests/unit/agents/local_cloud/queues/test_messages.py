"""A queue's messages follow what the SQS guide documents. Time is a number that the test moves."""

from __future__ import annotations

import copy
import threading
import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agents.local_cloud.queues.messages import Messages
from agents.local_cloud.queues.model import Held, NotInFlight, StaleReceipt, Wanted
from agents.local_cloud.queues.receipts import Receipt


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def queue(*, fifo: bool = True) -> tuple[Messages, Clock]:
    clock = Clock()
    return Messages(fifo=fifo, clock=clock), clock


def send(messages: Messages, *names: str, group: str = "g") -> None:
    for name in names:
        messages.send(name, name, group=group if messages.fifo else "", deduplication="")


def take(messages: Messages, limit: int = 1, **more: Any) -> list[tuple[Held, Receipt]]:
    return messages.receive(Wanted(limit=limit, **more))


def names(taken: list[tuple[Held, Receipt]]) -> list[str]:
    return [held.message_id for held, _ in taken]


# Order and groups


def test_a_group_gives_its_messages_in_order_and_nothing_while_one_is_in_flight() -> None:
    messages, _ = queue()
    send(messages, "1", "2", "3")
    first = take(messages)
    assert names(first) == ["1"]
    assert take(messages, 10) == []
    messages.delete(first[0][1])
    assert names(take(messages, 10)) == ["2", "3"]
    assert take(messages, 10) == []


def test_other_groups_go_on_meanwhile_the_oldest_first() -> None:
    messages, _ = queue()
    send(messages, "a1", "a2", group="a")
    send(messages, "b1", group="b")
    send(messages, "c1", group="c")
    assert names(take(messages)) == ["a1"]
    assert names(take(messages, 10)) == ["b1", "c1"]


def test_one_call_may_take_several_of_a_group_and_the_rest_waits_for_all_of_them() -> None:
    messages, _ = queue()
    send(messages, "1", "2", "3")
    batch = take(messages, 2)
    assert names(batch) == ["1", "2"]
    messages.delete(batch[1][1])
    assert take(messages) == []
    messages.delete(batch[0][1])
    assert names(take(messages)) == ["3"]


def test_a_message_that_comes_back_is_still_the_first_of_its_group() -> None:
    messages, clock = queue()
    send(messages, "1", "2")
    take(messages, visibility=10)
    clock.now += 9.9
    assert take(messages) == []
    clock.now += 0.2
    assert names(take(messages, 10)) == ["1", "2"]


def test_a_standard_queue_locks_no_groups() -> None:
    messages, _ = queue(fifo=False)
    send(messages, "1", "2", "3")
    assert [names(take(messages)) for _ in range(4)] == [["1"], ["2"], ["3"], []]


def test_a_delayed_message_comes_later() -> None:
    messages, clock = queue(fifo=False)
    messages.send("late", "late", delay=5)
    messages.send("now", "now")
    assert names(take(messages, 10)) == ["now"]
    assert messages.counts() == (0, 1, 1)
    clock.now += 5
    assert names(take(messages, 10)) == ["late"]


# Receipts


def test_a_newer_receipt_takes_the_old_one_s_power() -> None:
    messages, clock = queue(fifo=False)
    send(messages, "1")
    old = take(messages, visibility=10)[0][1]
    clock.now += 11
    new = take(messages, visibility=10)[0][1]
    with pytest.raises(StaleReceipt):
        messages.delete(old)
    messages.delete(new)
    assert messages.counts() == (0, 0, 0)
    messages.delete(new)


def test_an_expired_receipt_still_deletes_from_a_standard_queue_but_not_from_a_fifo_one() -> None:
    for fifo in (False, True):
        messages, clock = queue(fifo=fifo)
        send(messages, "1")
        receipt = take(messages, visibility=10)[0][1]
        clock.now += 11
        if fifo:
            with pytest.raises(StaleReceipt):
                messages.delete(receipt)
        else:
            messages.delete(receipt)
        assert sum(messages.counts()) == (1 if fifo else 0)


def test_visibility_can_be_prolonged_cut_short_and_given_back() -> None:
    messages, clock = queue()
    send(messages, "1")
    receipt = take(messages, visibility=10)[0][1]
    messages.change_visibility(receipt, 30)
    clock.now += 20
    assert take(messages) == []
    messages.change_visibility(receipt, 0)
    again = take(messages, visibility=10)
    assert names(again) == ["1"]
    assert again[0][0].receipts == 2
    with pytest.raises(StaleReceipt):
        messages.change_visibility(receipt, 5)
    clock.now += 11
    with pytest.raises(NotInFlight):
        messages.change_visibility(again[0][1], 5)


def test_twelve_hours_from_its_receipt_is_the_longest_that_a_message_hides() -> None:
    messages, clock = queue()
    send(messages, "1")
    receipt = take(messages, visibility=43000)[0][1]
    clock.now += 40000
    messages.change_visibility(receipt, 3200)
    with pytest.raises(ValueError, match="12 hours"):
        messages.change_visibility(receipt, 3201)


def test_handles_say_which_receipt_they_are_and_nothing_else_is_one() -> None:
    receipt = Receipt.new("id", 3)
    assert Receipt.parse(receipt.handle) == receipt
    for junk in ("", "junk", "AAAA", receipt.handle[:-4]):
        assert Receipt.parse(junk) is None or Receipt.parse(junk) != receipt


# Deduplication, dead letters, retention


def test_a_deduplication_id_counts_for_five_minutes_even_when_the_message_has_gone() -> None:
    messages, clock = queue()
    first = messages.send("1", "body", group="g", deduplication="d")
    messages.delete(take(messages)[0][1])
    clock.now += 299
    assert messages.send("2", "body", group="g", deduplication="d").message_id == first.message_id
    assert messages.counts() == (0, 0, 0)
    clock.now += 2
    assert messages.send("3", "body", group="g", deduplication="d").message_id == "3"


def test_a_message_that_nobody_could_finish_is_buried_and_the_next_one_goes_on() -> None:
    messages, clock = queue()
    send(messages, "poison", "fine")
    graves: list[str] = []
    wanted = Wanted(limit=1, visibility=1, maximum_receipts=2, bury=lambda held: graves.append(held.message_id))
    for _ in range(2):
        assert names(messages.receive(wanted)) == ["poison"]
        clock.now += 2
    assert names(messages.receive(wanted)) == ["fine"]
    assert graves == ["poison"]
    assert messages.counts() == (0, 1, 0)


def test_a_message_past_its_retention_is_gone() -> None:
    messages, clock = queue()
    send(messages, "old")
    clock.now += 61
    send(messages, "new")
    assert names(take(messages, 10, retention=60)) == ["new"]
    assert sum(messages.counts()) == 1


def test_a_purge_empties_even_what_is_in_flight() -> None:
    messages, _ = queue()
    send(messages, "1", "2")
    receipt = take(messages)[0][1]
    messages.purge()
    assert messages.counts() == (0, 0, 0)
    messages.delete(receipt)
    send(messages, "3")
    assert names(take(messages)) == ["3"]


# Waiting


def waits(messages: Messages, **more: Any) -> tuple[threading.Thread, list[Any]]:
    """A poller in a thread, waiting for up to ten seconds; what it got, and when, appears in the list."""
    got: list[Any] = []

    def poll() -> None:
        taken = messages.receive(Wanted(wait=10, **more))
        got.extend((names(taken), time.monotonic()))

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    until = time.monotonic() + 5
    while not messages._changed._waiters and time.monotonic() < until:  # type: ignore[attr-defined]
        time.sleep(0.001)
    return thread, got


@pytest.mark.parametrize("event", ["send", "delete", "give back", "expire"])
def test_a_long_poll_wakes_for_everything_that_makes_a_message_available(event: str) -> None:
    messages = Messages(fifo=True)
    receipt = None
    if event != "send":
        send(messages, "1", "2")
        receipt = take(messages, visibility=0.3 if event == "expire" else 30)[0][1]
    thread, got = waits(messages)
    began = time.monotonic()
    if event == "send":
        send(messages, "1")
    elif event == "delete" and receipt:
        messages.delete(receipt)
    elif event == "give back" and receipt:
        messages.change_visibility(receipt, 0)
    thread.join(5)
    assert got[0] == (["2"] if event == "delete" else ["1"])
    assert got[1] - began < (0.6 if event == "expire" else 0.2)


def test_waiting_for_a_group_in_flight_costs_no_time_of_the_processor() -> None:
    messages = Messages(fifo=True)
    send(messages, "1", "2")
    receipt = take(messages, visibility=30)[0][1]
    thread, got = waits(messages)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1
    messages.delete(receipt)
    thread.join(5)
    assert got[0] == ["2"]


def test_nothing_is_given_to_a_poller_whose_client_has_gone() -> None:
    messages = Messages(fifo=True)
    thread, got = waits(messages, connected=lambda: False)
    send(messages, "1")
    assert names(take(messages, visibility=30)) == ["1"]
    messages.close()
    thread.join(5)
    assert got[0] == []


def test_many_consumers_never_get_the_same_message_and_none_is_missed() -> None:
    messages = Messages(fifo=True)
    received: list[str] = []
    lock = threading.Lock()

    def consume() -> None:
        while True:
            taken = messages.receive(Wanted(limit=3, wait=0.5, visibility=60))
            if not taken:
                return
            with lock:
                received.extend(names(taken))
            for _, receipt in taken:
                messages.delete(receipt)

    consumers = [threading.Thread(target=consume) for _ in range(6)]
    for consumer in consumers:
        consumer.start()
    for number in range(300):
        send(messages, f"{number}", group=f"g{number % 7}")
    for consumer in consumers:
        consumer.join(20)
    assert sorted(received, key=int) == [str(number) for number in range(300)]
    for group in range(7):
        mine = [int(one) for one in received if int(one) % 7 == group]
        assert mine == sorted(mine)


def test_a_deep_queue_costs_hardly_more_than_a_shallow_one() -> None:
    def cost(depth: int) -> float:
        messages, _ = queue()
        for number in range(depth):
            send(messages, f"{number}", group=f"g{number % 50}")
        began = time.perf_counter()
        for number in range(300):
            send(messages, f"more {number}", group=f"g{number % 50}")
            for _, receipt in take(messages):
                messages.delete(receipt)
        return time.perf_counter() - began

    shallow = min(cost(10) for _ in range(3))
    assert min(cost(5000) for _ in range(3)) < shallow * 4 + 0.02


# Keeping


class Replayed(RuleBasedStateMachine):
    """Whatever is done to a queue, its records make the same queue again, at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.records: list[tuple[Any, ...]] = []
        self.messages = Messages(fifo=True, clock=self.clock, record=self.remember)
        self.receipts: list[Receipt] = []
        self.count = 0

    def remember(self, record: tuple[Any, ...]) -> None:
        self.records.append(copy.deepcopy(record))

    @rule(group=st.sampled_from("abc"), delay=st.sampled_from([0, 0, 3]))
    def send(self, group: str, delay: int) -> None:
        self.count += 1
        self.messages.send(f"m{self.count}", self.count, group=group, deduplication=f"d{self.count}", delay=delay)

    @rule(limit=st.integers(1, 4), visibility=st.sampled_from([0, 2, 10]))
    def receive(self, limit: int, visibility: int) -> None:
        self.receipts += [receipt for _, receipt in take(self.messages, limit, visibility=visibility)]

    @rule(pick=st.integers(0, 50), seconds=st.sampled_from([None, 0, 5]))
    def acknowledge(self, pick: int, seconds: int | None) -> None:
        if not self.receipts:
            return
        receipt = self.receipts[pick % len(self.receipts)]
        try:
            if seconds is None:
                self.messages.delete(receipt)
            else:
                self.messages.change_visibility(receipt, seconds)
        except (StaleReceipt, NotInFlight):
            pass

    @rule(seconds=st.sampled_from([1, 3, 20]))
    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def rewrite(self) -> None:
        self.records = copy.deepcopy(self.messages.snapshot())

    @rule()
    def restart(self) -> None:
        again = Messages(fifo=True, clock=self.clock, record=self.remember)
        again.restore(copy.deepcopy(self.records))
        assert again.counts() == self.messages.counts()
        self.messages = again

    @invariant()
    def counts_agree_with_what_is_held(self) -> None:
        waiting, in_flight, delayed = self.messages.counts()
        held = list(self.messages._held.values())
        assert in_flight == sum(one.in_flight for one in held)
        assert delayed == sum(one.delayed for one in held)
        assert waiting == len(held) - in_flight - delayed
        for name, group in self.messages._groups.items():
            mine = [one for one in held if one.group == name]
            assert group.in_flight == sum(one.in_flight for one in mine)
            assert sorted(order for order, _ in group.waiting) == sorted(
                one.order for one in mine if not one.in_flight and not one.delayed
            )


TestReplayed = Replayed.TestCase
TestReplayed.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
