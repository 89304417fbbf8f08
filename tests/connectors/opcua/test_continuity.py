"""What is known after a restart is what was accepted, never more: more would be loss that nobody sees."""

import asyncio
import os
from pathlib import Path

import pytest

from plantgate.sdk import Batch, Sample
from plantgate.testing.context import lent
from plantgate_connectors.opcua import ledger
from plantgate_connectors.opcua.addressing import ItemOptions, Resolution
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.decode import Columns
from plantgate_connectors.opcua.ledger import Kept, Ledger
from plantgate_connectors.opcua.nodeids import node_id
from plantgate_connectors.opcua.session import Resume
from plantgate_connectors.opcua.settings import Structure, Trigger
from plantgate_connectors.opcua.subscription import Mark, Subscription

pytestmark = pytest.mark.simulated(seeds=1)

OPTIONS = ItemOptions(100.0, 100, True, None, Trigger.STATUS_VALUE, Structure.FLATTEN)


def resolution(*tags: str) -> Resolution:
    return Resolution(
        list(tags), [f"nsu=urn:press;s={tag}" for tag in tags], [node_id(tag, 2) for tag in tags], [OPTIONS] * len(tags)
    )


async def began(folder: Path, *tags: str) -> tuple[Continuity, Subscription]:
    """A continuity with one subscription that monitors these tags, written down."""
    made = Continuity.load(lent(folder))
    made.items.want(resolution(*tags))
    subscription = Subscription(1, 0.1, 5.0, 3600.0)
    made.subscriptions[1] = subscription
    for handle in range(len(tags)):
        made.items.settle(handle, 100 + handle, 1)
    await made.keep_items()
    return made, subscription


def columns(handle: int, *times: int) -> Columns:
    return Columns([handle] * len(times), [float(time) for time in times], [0] * len(times), list(times))


def give(made: Continuity, given: Columns, *marks: Mark) -> str:
    """A batch of these, as the source gives it; returns its cursor."""
    made.last.note(given)
    rows = zip(given.values, given.qualities, given.times, strict=True)
    return made.give(Batch.of(Sample("a", *row) for row in rows), list(marks)).cursor


def restarted(folder: Path) -> Continuity:
    """What another process finds: only the folder is left."""
    return Continuity.load(lent(folder))


async def test_a_restart_knows_items_subscriptions_and_positions(tmp_path: Path) -> None:
    made, subscription = await began(tmp_path, "a", "b")
    await made.keep_session(Resume(node_id(7), b"nonce", 60.0, "anonymous"))
    made.accepted(give(made, columns(0, 100, 200), (subscription, 4), (subscription, 5)))
    again = restarted(tmp_path)
    assert again.restarted
    assert again.began
    assert again.items.tags == ["a", "b"]
    assert again.items.ids == [100, 101]
    assert again.subscriptions[1].received == 5
    assert again.last.times(2) == [200, None]
    assert again.resume == Resume(node_id(7), b"nonce", 60.0, "anonymous")


async def test_what_was_given_and_not_accepted_is_not_known(tmp_path: Path) -> None:
    made, subscription = await began(tmp_path, "a")
    made.accepted(give(made, columns(0, 100), (subscription, 4)))
    await asyncio.sleep(10)
    give(made, columns(0, 200), (subscription, 5))
    made.remember()
    made.unacknowledged.session_over()
    made.remember()
    again = restarted(tmp_path)
    assert again.subscriptions[1].received == 4
    assert again.last.times(1) == [100]


async def test_a_subscription_id_used_again_does_not_inherit_the_position_of_the_dead(tmp_path: Path) -> None:
    """A server that restarted counts its subscriptions from 1 again."""
    made, dead = await began(tmp_path, "a")
    made.accepted(give(made, columns(0, 100), (dead, 4711)))
    assert made.bury(dead) == [0]
    made.subscriptions[1] = Subscription(1, 0.1, 5.0, 3600.0)
    made.items.settle(0, 200, 1)
    await made.keep_items()
    again = restarted(tmp_path)
    assert again.subscriptions[1].received == 0, "4,711 messages of the new subscription would pass for repeats"


async def test_a_late_acknowledgement_for_a_dead_subscription_does_not_touch_its_successor(tmp_path: Path) -> None:
    made, dead = await began(tmp_path, "a")
    cursor = give(made, columns(0, 100), (dead, 4711))
    made.bury(dead)
    made.subscriptions[1] = Subscription(1, 0.1, 5.0, 3600.0)
    made.items.settle(0, 200, 1)
    await made.keep_items()
    made.accepted(cursor)
    assert made.to_acknowledge(100) == [], "the server would forget message 4711 of a subscription that is another"
    assert restarted(tmp_path).subscriptions[1].received == 0


async def test_unacknowledged_batches_come_first_in_the_next_session_and_in_order(tmp_path: Path) -> None:
    made, subscription = await began(tmp_path, "a")
    cursors = [give(made, columns(0, time), (subscription, time)) for time in (1, 2, 3)]
    made.accepted(cursors[0])
    made.unacknowledged.session_over()
    first = made.unacknowledged.give_again()
    made.unacknowledged.session_over()
    again = []
    while (batch := made.unacknowledged.give_again()) is not None:
        again.append(batch.cursor)
    assert first is not None
    assert first.cursor == cursors[1]
    assert again == cursors[1:]


async def test_acknowledgements_not_sent_in_one_session_are_sent_in_the_next(tmp_path: Path) -> None:
    made, subscription = await began(tmp_path, "a")
    made.accepted(give(made, columns(0, 1), (subscription, 8), (subscription, 9)))
    assert made.to_acknowledge(1) == [(subscription, 8)]
    assert made.to_acknowledge(1) == [(subscription, 9)]
    assert made.to_acknowledge(1) == []


async def test_files_of_different_times_are_not_mixed(tmp_path: Path) -> None:
    made, subscription = await began(tmp_path / "one", "a")
    made.accepted(give(made, columns(0, 100), (subscription, 4)))
    other, _ = await began(tmp_path / "two", "x", "a")
    folder = made.context.folder
    (other.context.folder / "subscriptions.json").replace(folder / "subscriptions.json")
    again = restarted(tmp_path / "one")
    assert again.last.handles() == []
    assert again.subscriptions == {}
    assert not again.began


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format":2}', b'{"format":99}', os.urandom(300)])
async def test_a_damaged_file_starts_anew(tmp_path: Path, damage: bytes) -> None:
    made, _ = await began(tmp_path, "a")
    for name in ("subscriptions.json", "positions", "session.json"):
        await made.keep_session(Resume(node_id(7), None, 60.0))
        await made.keep_items()
        (made.context.folder / name).write_bytes(damage)
        again = restarted(tmp_path)
        assert again.resume is None or name != "session.json"
        again.items.want(resolution("a", "c"))
        await again.keep_items()
        assert restarted(tmp_path).items.tags[-1] == "c"


async def test_the_session_token_is_for_its_owner_alone(tmp_path: Path) -> None:
    made, _ = await began(tmp_path, "a")
    await made.keep_session(Resume(node_id(7), b"nonce", 60.0))
    assert (made.context.folder / "session.json").stat().st_mode & 0o077 == 0
    made.forget_session()
    assert restarted(tmp_path).resume is None


async def test_a_handle_never_goes_to_another_tag(tmp_path: Path) -> None:
    made, _ = await began(tmp_path, "a", "b")
    made.items.want(resolution("b", "c"))
    assert made.items.tags == ["a", "b", "c"]
    assert made.items.wanted == {1, 2}
    assert made.items.surplus() == [0]
    assert made.items.missing() == [2]


async def test_an_item_with_other_options_or_another_node_is_another_item(tmp_path: Path) -> None:
    made, _ = await began(tmp_path, "a")
    changed = resolution("a")
    changed.nodes = [node_id("a", 5)]
    made.items.want(changed)
    assert made.items.surplus() == [0]
    assert made.items.missing() == [1]
    slower = resolution("a")
    slower.options = [ItemOptions(5000.0, 100, True, None, Trigger.STATUS_VALUE, Structure.FLATTEN)]
    made.items.want(slower)
    assert made.items.missing() == [2]


def test_a_ledger_survives_a_kill_in_the_middle_of_a_write(tmp_path: Path) -> None:
    path = tmp_path / "positions"
    made = Ledger.make(path, 7, {}, [], 3)
    for number in range(1, 20):
        made.accept({5: number, 6: 2 * number})
        whole = path.read_bytes()
        assert ledger.read(path) == Kept(7, {5: number, 6: 2 * number}, {})
        for torn in range(64, 64 + 2 * 4032, 37):
            path.write_bytes(whole[:torn] + b"\xa5" + whole[torn + 1 :])
            found = ledger.read(path)
            assert found is not None
            assert found.positions.get(5, 0) in (number, number - 1)
        path.write_bytes(whole)
    made.close()


def test_a_ledger_takes_over_what_the_former_held_when_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "positions"
    small = Ledger.make(path, 7, {5: 1}, [100], 1)
    small.remember([200, 300])
    small.close()
    assert ledger.read(path) == Kept(7, {5: 1}, {0: 200})
    Ledger.make(path, 7, {5: 9}, [None, 2, -3], 50).close()
    assert ledger.read(path) == Kept(7, {5: 9}, {1: 2, 2: -3})


def test_a_ledger_is_found_missing_or_foreign_without_a_crash(tmp_path: Path) -> None:
    assert ledger.read(tmp_path / "none") is None
    (tmp_path / "other").write_bytes(os.urandom(20_000))
    assert ledger.read(tmp_path / "other") is None
