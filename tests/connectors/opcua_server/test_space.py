"""What becomes of batches: tags, types, and that nothing goes back in time."""

import asyncio
from collections.abc import Callable

import pytest

from plantgate.sdk import Batch, Sample, Value
from plantgate.testing.context import RecordedLog
from plantgate.testing.simloop import simulate
from plantgate_connectors.opcua_server import space as room
from plantgate_connectors.opcua_server import values
from plantgate_connectors.opcua_server.space import BASE_TYPE, NUMBER_TYPE, OUT_OF_RANGE, WAITING, Space

NOW = 1_795_694_400_000_000_000
SECOND = 1_000_000_000


def batch(*samples: Sample, origin: str = "", position: int = 0) -> Batch:
    made = Batch.of(samples)
    made.origin, made.position = origin, position
    return made


def reading(value: Value, seconds: float = 0.0, tag: str = "a") -> Sample:
    return Sample(tag, value, 0, NOW + int(seconds * SECOND))


def simulated(use: Callable[[Space], object], *, tags_max: int = 1000) -> None:
    async def main() -> None:
        found = use(Space(RecordedLog(), tags_max=tags_max))
        if asyncio.iscoroutine(found):
            await found

    simulate(main)


@pytest.mark.parametrize("mutation", ["none", "forgets the numbers", "forgets the times"])
def test_a_repeat_moves_nothing_back_in_time(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The property, and proof that it can fail: the numbers and the times are each needed."""
    if mutation == "forgets the times":
        monkeypatch.setattr(room, "BACKWARDS_SECONDS", 0.0)
    shown: list[Value] = []

    class Watcher:
        def offer(self, slot: room.Slot, renewed: bool, retimed: bool) -> None:
            shown.append(slot.value)

    def use(space: Space) -> None:
        space.known("a").watchers.append(Watcher())  # type: ignore[union-attr]  # there is room
        timeless = [Sample("a", number, 0, None) for number in (1, 2)]
        for position, sample in enumerate(timeless):
            space.accept(batch(sample, origin="o", position=position), NOW)
        if mutation == "forgets the numbers":
            space._next.clear()
        space.accept(batch(*timeless, origin="o", position=0), NOW)  # the outbox repeats itself
        for position, value in enumerate((3, 4, 3, 4)):  # the machine repeats itself
            space.accept(batch(reading(value, value), origin="o", position=2 + position), NOW)

    simulated(use)
    if mutation == "none":
        assert shown == [1, 2, 3, 4, 4]
    else:
        with pytest.raises(AssertionError):
            assert shown == [1, 2, 3, 4, 4]


def test_a_batch_that_is_half_known_is_taken_from_where_it_is_new() -> None:
    def use(space: Space) -> None:
        space.accept(batch(reading(1, 1), reading(2, 2), origin="o", position=5), NOW)
        space.accept(batch(reading(7, 7, "b"), reading(8, 8, "c"), reading(3, 3), origin="o", position=5), NOW)
        assert space.slots["a"].value == 3
        assert set(space.slots) == {"a"}

    simulated(use)


def test_two_outboxes_number_for_themselves() -> None:
    def use(space: Space) -> None:
        space.accept(batch(reading(1, 1), origin="o", position=100), NOW)
        space.accept(batch(reading(2, 1, "b"), origin="p", position=3), NOW)
        assert space.slots["b"].value == 2

    simulated(use)


def test_a_machine_whose_clock_was_set_back_is_not_frozen() -> None:
    async def use(space: Space) -> None:
        space.accept(batch(reading(1, 3600)), NOW)
        space.accept(batch(reading(2, 0)), NOW)
        assert space.slots["a"].value == 1
        await asyncio.sleep(room.BACKWARDS_SECONDS + 1)
        space.accept(batch(reading(3, 1)), NOW)
        assert space.slots["a"].value == 3

    simulated(use)


@pytest.mark.parametrize(
    ("came", "kind"),
    [
        ([1, 2], values.INT64),
        ([1.5, 2], values.DOUBLE),
        ([1, 2.5, 3], values.DOUBLE),
        ([1.5, 2**60 + 1], NUMBER_TYPE),
        ([1, 2**64 - 1], NUMBER_TYPE),
        ([True, 1], BASE_TYPE),
        (["a", 1.5], BASE_TYPE),
        ([1, [1, 2]], values.INT64),
    ],
)
def test_the_type_of_a_tag_is_that_of_all_its_values(came: list[Value], kind: int) -> None:
    def use(space: Space) -> None:
        for second, value in enumerate(came):
            space.accept(batch(reading(value, second)), NOW)
            body = space.slots["a"].body
            again = values.variant(float(value)) if kind == values.DOUBLE and isinstance(value, int) else None
            assert body in (values.variant(value), again), "the value itself is never another"
        assert space.slots["a"].kind == kind

    simulated(use)


def test_a_number_too_large_is_bad_and_never_another_number() -> None:
    def use(space: Space) -> None:
        assert space.accept(batch(reading(2**70)), NOW) == []
        assert values.parts(space.slots["a"].encoded)[:2] == (b"", OUT_OF_RANGE)

    simulated(use)


def test_tags_with_any_name_have_nodes_of_their_own() -> None:
    names = ["a", "/a", "a/", "a/b", "a//b", "../a", "a\nb", "${a}", "\u202ea", "🏭/🔥", "", "/", "a" * 4000]

    def use(space: Space) -> None:
        assert space.accept(batch(*(reading(number, 0, name) for number, name in enumerate(names))), NOW) == []
        assert [space.slots[name].value for name in names] == list(range(len(names)))
        shown = {slot.name for inside in space.folders.values() for slot in inside.values() if slot is not None}
        assert shown == set(names)

    simulated(use)


def test_a_name_too_long_and_a_tag_too_many_are_named_and_the_others_shown() -> None:
    def use(space: Space) -> None:
        given = [reading(number, 0, f"t{number}") for number in range(3)]
        refused = space.accept(batch(reading(0, 0, "x" * 5000), reading(0, 0, "/" * 100), *given), NOW)
        assert len(refused) == 3
        assert "4096" in refused[0]
        assert "limits.tags_max (2)" in refused[2]
        assert set(space.slots) == {"t0", "t1"}

    simulated(use, tags_max=2)


def test_a_tag_known_before_its_first_value_says_that_it_waits() -> None:
    def use(space: Space) -> None:
        slot = space.known("a")
        assert slot is not None
        assert values.parts(slot.encoded)[1] == WAITING

    simulated(use)
