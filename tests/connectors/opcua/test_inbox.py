"""Messages in order, and what is missing between them noticed."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from asyncua import ua

from plantgate.testing.context import lent
from plantgate_connectors.opcua.backlog import Arrival, Backlog, Block, Entry, Hole, Interruption
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.envelope import SEQUENCE_MAX, open_response
from plantgate_connectors.opcua.inbox import Inbox
from plantgate_connectors.opcua.subscription import Subscription
from tests.connectors.opcua.messages import message, value

pytestmark = pytest.mark.simulated(seeds=1)


@dataclass
class Rig:
    """An inbox with one subscription, number 7, in which item 0 is monitored."""

    inbox: Inbox
    continuity: Continuity
    subscription: Subscription

    def get(self, *sequences: int, subscription: int = 7) -> None:
        for sequence in sequences:
            self.inbox.arrived(open_response(message([value()], sequence=sequence, subscription=subscription)))

    def get_keepalive(self, sequence: int) -> None:
        self.inbox.arrived(open_response(message([], parts=[], sequence=sequence)))

    @property
    def queued(self) -> list[object]:
        """Sequence numbers of arrivals, lists of them for holes, causes of interruptions."""
        return [_short(entry) for entry in self.continuity.backlog]


def _short(entry: Entry) -> object:
    match entry:
        case Arrival(envelope=envelope):
            return envelope.sequence
        case Hole(sequences=sequences):
            return sequences
        case Interruption(cause=cause):
            return cause
        case Block():
            return "block"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    context = lent(tmp_path)
    continuity = Continuity.load(context)
    subscription = Subscription(7, 0.1, 5.0, 60.0)
    continuity.subscriptions[7] = subscription
    continuity.items._add("a", "k", 0, 100, 7)
    return Rig(Inbox(continuity, context), continuity, subscription)


async def test_messages_queue_in_order(rig: Rig) -> None:
    rig.get(1, 2, 3)
    rig.get_keepalive(4)
    rig.get(4)
    assert rig.queued == [1, 2, 3, 4]


async def test_a_gap_in_the_numbers_is_a_hole_before_what_came_after_it(rig: Rig) -> None:
    rig.get(1, 4)
    assert rig.queued == [1, [2, 3], 4]
    assert rig.inbox.mend.is_set()


async def test_a_keepalive_tells_of_missing_messages_too(rig: Rig) -> None:
    rig.get(1)
    rig.get_keepalive(4)
    rig.get(4)
    assert rig.queued == [1, [2, 3], 4]


async def test_a_keepalive_that_repeats_the_last_number_is_no_gap(rig: Rig) -> None:
    """Some servers put the number of the last message into it, not of the next."""
    rig.get(1)
    rig.get_keepalive(1)
    rig.get(2)
    assert rig.queued == [1, 2]


async def test_numbers_wrap_from_the_greatest_to_one(rig: Rig) -> None:
    rig.subscription.received = SEQUENCE_MAX - 1
    rig.get(SEQUENCE_MAX, 1, 2)
    assert rig.queued == [SEQUENCE_MAX, 1, 2]
    rig.subscription.received = SEQUENCE_MAX - 1
    rig.get(3)
    assert rig.queued[3:] == [[SEQUENCE_MAX, 1, 2], 3]


async def test_a_message_that_comes_twice_is_taken_once(rig: Rig) -> None:
    rig.get(1, 2, 2, 3)
    assert rig.queued == [1, 2, 3]


async def test_a_server_that_counts_anew_is_followed_and_the_break_is_named(rig: Rig) -> None:
    rig.subscription.received = 5000
    rig.get(1, 2, 3, 4, 5)
    assert rig.queued == ["messages numbered anew", 3, 4, 5]


async def test_a_jump_no_server_can_have_kept_is_not_asked_for_one_by_one(rig: Rig) -> None:
    rig.get(1, 2_000_000_000)
    hole = rig.continuity.backlog[1]
    assert isinstance(hole, Hole)
    assert hole.beyond
    assert hole.sequences == []
    rig.get(2_000_000_001)
    assert rig.queued == [1, [], 2_000_000_000, 2_000_000_001]


async def test_the_first_message_of_a_subscription_may_overtake_the_answer_that_made_it(rig: Rig) -> None:
    rig.get(1, 2, subscription=9)
    assert rig.queued == []
    made = Subscription(9, 0.1, 5.0, 60.0)
    rig.inbox.adopt(made)
    assert rig.queued == [1, 2]
    assert rig.inbox.unknown == {}


async def test_a_subscription_nobody_knows_is_reported_for_deletion(rig: Rig) -> None:
    rig.get(*range(1, 100), subscription=9)
    assert list(rig.inbox.unknown) == [9]
    assert len(rig.inbox.unknown[9]) < 20
    assert rig.inbox.reconcile.is_set()


async def test_a_subscription_ended_by_the_server_is_an_interruption_of_its_items(rig: Rig) -> None:
    status = ua.StatusChangeNotification(Status=ua.StatusCode(ua.StatusCodes.BadTimeout))
    rig.get(1)
    rig.inbox.arrived(open_response(message([], parts=[status], sequence=2)))
    assert rig.queued == [1, 2, "subscription ended by the server"]
    assert rig.continuity.subscriptions == {}
    assert rig.continuity.items.missing() == []
    assert rig.continuity.items.ids == [0]


async def test_after_an_outage_the_first_message_says_what_was_missed(rig: Rig) -> None:
    rig.subscription.received, rig.subscription.outage = 4, "connection lost"
    rig.get(8)
    hole = rig.continuity.backlog[0]
    assert isinstance(hole, Hole)
    assert (hole.sequences, hole.cause) == ([5, 6, 7], "connection lost")
    rig.subscription.outage = "connection lost"
    rig.get_keepalive(9)
    hole = rig.continuity.backlog[2]
    assert isinstance(hole, Hole)
    assert (hole.sequences, hole.cause) == ([], "connection lost")


async def test_there_is_no_room_beyond_a_bound_in_bytes(rig: Rig) -> None:
    long = [value("x" * 100_000, ua.VariantType.String)] * 10
    count = 0
    while rig.inbox.room():
        count += 1
        rig.inbox.arrived(open_response(message(long, sequence=count)))
    assert count == 9
    rig.continuity.backlog.drop(5)
    assert rig.inbox.room()


async def test_malformed_messages_are_kept_for_a_look_but_not_without_end(rig: Rig) -> None:
    from plantgate_connectors.opcua.bounds import MalformedNotification

    for _ in range(100):
        rig.inbox.malformed(b"nonsense", MalformedNotification("why", 3))
    assert rig.inbox._context.standing.counters["malformed_messages"] == 100
    assert 0 < len(list((rig.inbox._context.folder / "quarantine").iterdir())) < 20


def test_an_entry_is_replaced_in_place() -> None:
    backlog = Backlog()
    first, second, third = (Interruption([], cause) for cause in "abc")
    for entry in (first, second, third):
        backlog.push(entry)
    backlog.replace(second, Block(), Interruption([], "d"))
    assert [_short(entry) for entry in backlog] == ["a", "block", "d", "c"]
    backlog.replace(first)
    assert [_short(entry) for entry in backlog] == ["block", "d", "c"]
