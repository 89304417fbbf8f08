"""From queued messages to batches: nothing is taken that is not given, whatever a message holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from asyncua import ua

from plantgate.sdk import Batch, Gap, Value
from plantgate.sdk.quality import GOOD, OVERFLOW, UNCERTAIN
from plantgate.testing.clock import WallClock
from plantgate.testing.context import lent
from plantgate_connectors.opcua.addressing import ItemOptions, Resolution
from plantgate_connectors.opcua.alarms import Alarms
from plantgate_connectors.opcua.assembly import ROWS_MAX, Assembly
from plantgate_connectors.opcua.backlog import Arrival, Block, Hole, Interruption
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.decode import Columns
from plantgate_connectors.opcua.envelope import open_response
from plantgate_connectors.opcua.inbox import Inbox
from plantgate_connectors.opcua.nodeids import node_id
from plantgate_connectors.opcua.settings import Structure, Trigger
from plantgate_connectors.opcua.subscription import Subscription
from plantgate_connectors.opcua.values import Values
from tests.connectors.opcua.messages import WHEN_NS, message, value
from tests.connectors.opcua.plant_given import settings

pytestmark = pytest.mark.simulated(seeds=1)

TAGS = ("a", "b", "c")


class PlainValues:
    """Values without a session: a structure type is learned when the test says so."""

    def __init__(self) -> None:
        self.definitions = SimpleNamespace(unlearned=set())
        self.learned = True

    def plain(self, given: object) -> Value:
        variant = cast("ua.Variant", given)
        if isinstance(variant.Value, ua.Range):
            if not self.learned:
                self.definitions.unlearned.add("Range")
                raise ValueError("not learned yet")
            return {"low": variant.Value.Low, "high": variant.Value.High}
        return cast("Value", variant.Value)


@dataclass
class Rig:
    """Three items in a subscription, messages put into its backlog by hand."""

    assembly: Assembly
    continuity: Continuity
    inbox: Inbox
    values: PlainValues
    subscription: Subscription
    sequence: int = 0

    def get(self, values: Sequence[ua.DataValue], *, handles: Sequence[int] | None = None, cut: int = 0) -> None:
        self.sequence += 1
        body = message(values, handles=handles, sequence=self.sequence)
        self.inbox.arrived(open_response(body))
        if cut:
            entry = self.continuity.backlog[len(self.continuity.backlog) - 1]
            assert isinstance(entry, Arrival)
            part = entry.envelope.parts[0]
            broken = bytearray(entry.envelope.body)
            broken[part.start : part.start + 4] = cut.to_bytes(4, "little")
            self.continuity.backlog.replace(
                entry, Arrival(_with(entry.envelope, body=bytes(broken)), entry.subscription, entry.received)
            )

    def take(self) -> Batch:
        batch = self.assembly.next()
        assert batch is not None
        return batch

    @property
    def counters(self) -> dict[str, int]:
        return self.continuity.context.standing.counters


def _with(envelope: Any, **changed: Any) -> Any:
    from dataclasses import replace

    return replace(envelope, **changed)


def rig_of(tmp_path: Path, **given: object) -> Rig:
    clock = WallClock()
    clock.set(WHEN_NS)
    context = lent(tmp_path, clock=clock)
    continuity = Continuity.load(context)
    options = ItemOptions(100.0, 100, True, None, Trigger.STATUS_VALUE, Structure.FLATTEN)
    nodes = [node_id(tag, 2) for tag in TAGS]
    continuity.items.want(Resolution(list(TAGS), list(TAGS), nodes, [options] * len(TAGS)))
    subscription = Subscription(7, 0.1, 5.0, 60.0)
    continuity.subscriptions[7] = subscription
    for handle in range(len(TAGS)):
        continuity.items.settle(handle, 100 + handle, 7)
    context.standing.monitored = len(TAGS)
    inbox, values = Inbox(continuity, context), PlainValues()
    alarms = Alarms(cast("Any", None), cast("Values", values))
    chosen = settings(tags=[{"node": "i=1", "tag": "x"}], **given)
    assembly = Assembly(chosen, continuity, inbox, cast("Values", values), alarms)
    return Rig(assembly, continuity, inbox, values, subscription)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return rig_of(tmp_path)


async def test_what_has_arrived_becomes_one_batch_in_order(rig: Rig) -> None:
    rig.get([value(1.0), value(2.0)])
    rig.get([value(3.0)], handles=[2])
    batch = rig.take()
    assert (batch.tags, batch.values) == (["a", "b", "c"], [1.0, 2.0, 3.0])
    assert batch.times == [WHEN_NS] * 3
    assert rig.assembly.next() is None
    assert len(rig.continuity.backlog) == 0
    assert rig.continuity.context.standing.live == 3


async def test_a_batch_stops_growing_and_the_rest_follows(rig: Rig) -> None:
    for _ in range(3):
        rig.get([value(float(row)) for row in range(3_000)], handles=[0] * 3_000)
    assert [len(rig.take()), len(rig.take())] == [6_000, 3_000]
    assert ROWS_MAX < 6_000


async def test_messages_of_a_batch_are_acknowledged_with_it(rig: Rig) -> None:
    rig.get([value()])
    rig.get([value()])
    first = rig.take()
    rig.get([value()])
    rig.take()
    rig.continuity.accepted(first.cursor)
    assert rig.continuity.to_acknowledge(10) == [(rig.subscription, 1), (rig.subscription, 2)]


async def test_a_malformed_message_is_a_gap_and_the_next_one_is_given(rig: Rig) -> None:
    rig.get([value(1.0)])
    rig.get([value(2.0), value(3.0)], cut=5)
    rig.get([value(4.0)])
    assert rig.take().values == [1.0]
    entry = rig.continuity.backlog[0]
    assert isinstance(entry, Interruption)
    assert (entry.handles, entry.cause, entry.refresh) == ([0, 1, 2], "malformed notification", True)
    assert rig.assembly.next() is None
    rig.continuity.backlog.replace(entry, Block())
    assert rig.take().values == [4.0]
    assert rig.counters["malformed_messages"] == 1


async def test_a_fault_of_ours_costs_the_message_and_names_it_but_loses_no_other(rig: Rig) -> None:
    rig.get([value(1.0)])
    rig.get([value(2.0)])
    entry = rig.continuity.backlog[1]
    assert isinstance(entry, Arrival)
    broken = Arrival(_with(entry.envelope, parts=(None,)), entry.subscription, entry.received)
    rig.continuity.backlog.replace(entry, broken)
    rig.get([value(3.0)])
    assert rig.take().values == [1.0]
    gap = rig.continuity.backlog[0]
    assert isinstance(gap, Interruption)
    rig.continuity.backlog.replace(gap, Block())
    assert rig.take().values == [3.0]


async def test_an_unknown_handle_with_an_overflow_bit_harms_nobody(tmp_path: Path) -> None:
    """It once ended the session with an IndexError, and took every queued message along."""
    rig = rig_of(tmp_path, history="off")
    rig.get([value(1.0), value(2.0, status=OVERFLOW), value(3.0)], handles=[0, 4_000_000_000, 2])
    batch = rig.take()
    assert (batch.tags, batch.values, batch.gaps) == (["a", "c"], [1.0, 3.0], ())
    assert rig.counters["unknown_handles"] == 1


async def test_an_overflow_is_a_gap_before_the_flagged_value(tmp_path: Path) -> None:
    rig = rig_of(tmp_path, history="off")
    rig.get([value(1.0), value(5.0)])
    rig.take()
    rig.get([value(2.0, status=OVERFLOW)])
    batch = rig.take()
    assert batch.gaps == (Gap(("a",), WHEN_NS, WHEN_NS, "queue overflow", None),)
    assert batch.qualities == [OVERFLOW]


async def test_an_overflow_is_looked_for_in_history_before_the_message_is_given(rig: Rig) -> None:
    rig.get([value(1.0, status=OVERFLOW), value(2.0), value(3.0, status=OVERFLOW)], handles=[0, 1, 1])
    assert rig.assembly.next() is None
    gap, block = rig.continuity.backlog
    assert isinstance(gap, Interruption)
    assert gap.handles == [0], "the second is not the first of its item here"
    assert gap.until == {0: (WHEN_NS, 1.0)}
    rig.continuity.backlog.replace(gap)
    batch = rig.take()
    assert batch.values == [1.0, 2.0, 3.0]
    assert [each.tags for each in batch.gaps] == [("b",)]
    assert isinstance(block, Block)


async def test_what_waits_to_be_mended_holds_back_what_came_after_it(rig: Rig) -> None:
    rig.get([value(1.0)])
    rig.sequence += 2
    rig.get([value(4.0)])
    assert rig.take().values == [1.0]
    assert rig.assembly.next() is None
    assert rig.inbox.mend.is_set()
    hole = rig.continuity.backlog[0]
    assert isinstance(hole, Hole)
    rig.continuity.backlog.replace(hole)
    assert rig.take().values == [4.0]


async def test_present_values_of_new_items_are_dropped_if_they_are_no_news(rig: Rig) -> None:
    rig.get([value(1.0), value(2.0)])
    rig.take()
    rig.continuity.last.expect_present([0, 1, 2])
    rig.get([value(1.0), value(2.5), value(3.0)])
    batch = rig.take()
    assert (batch.tags, batch.values) == (["b", "c"], [2.5, 3.0])
    rig.get([value(1.0)])
    assert len(rig.take()) <= 1


async def test_what_was_fetched_is_not_given_twice(rig: Rig) -> None:
    fetched = Columns([0, 0], [1.0, 2.0], [0, 0], [WHEN_NS - 20, WHEN_NS - 10])
    rig.continuity.backlog.push(Block(fetched, mended=True))
    assert rig.take().values == [1.0, 2.0]
    rig.continuity.backlog.push(Block(Columns([0, 0], [2.0, 3.0], [0, 0], [WHEN_NS - 10, WHEN_NS])))
    assert rig.take().values == [3.0]


async def test_a_structure_of_an_unknown_type_waits_until_it_is_learned(rig: Rig) -> None:
    rig.values.learned = False
    structure = value(ua.Variant(ua.Range(0.0, 9.0), ua.VariantType.ExtensionObject))
    rig.get([value(1.0)])
    rig.get([structure, value(2.0)])
    assert rig.take().values == [1.0]
    assert rig.assembly.next() is None
    assert len(rig.continuity.backlog) == 1
    rig.values.definitions.unlearned.clear()
    rig.values.learned = True
    batch = rig.take()
    assert batch.tags == ["a.low", "a.high", "b"]
    assert batch.values == [0.0, 9.0, 2.0]
    assert batch.times == [WHEN_NS] * 3
    assert rig.counters.get("values_undecodable", 0) == 0


async def test_a_clock_an_hour_ahead_makes_good_values_uncertain(rig: Rig) -> None:
    clock = rig.continuity.context.clock
    assert isinstance(clock, WallClock)
    clock.set(WHEN_NS - 2 * 3600 * 10**9)
    rig.get([value(1.0), value(2.0, status=0x80340000)])
    batch = rig.take()
    assert batch.qualities == [UNCERTAIN, 0x80340000]
    assert batch.times == [WHEN_NS] * 2
    assert GOOD not in batch.qualities


async def test_an_item_whose_node_is_gone_is_reported(rig: Rig) -> None:
    rig.get([value(None, ua.VariantType.Null, status=0x80340000), value(2.0, status=0x808C0000)])
    rig.take()
    assert rig.inbox.vanished == {0}
    assert rig.inbox.reconcile.is_set()


async def test_an_interruption_of_which_everything_was_fetched_is_one_record(rig: Rig) -> None:
    rig.get([value(1.0), value(2.0)])
    rig.take()
    rig.continuity.backlog.push(Interruption([0, 1], "connection lost", fetched=4))
    batch = rig.take()
    assert batch.gaps == (Gap(("a", "b"), WHEN_NS, None, "connection lost", 0, 4),)
