"""What every sink must do, as test cases that run against a simulated far end."""

import asyncio
import math
import random
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from plantgate.sdk import Batch, Connector, Gap, Rejected, Sample, Unavailable, Value
from plantgate.sdk.quality import BAD, GOOD, UNCERTAIN_LAST_USABLE
from plantgate.testing.simloop import STARTS_AT, running

D = TypeVar("D")


@pytest.mark.simulated
class SinkContract(Generic[D]):
    """Inherit, and override `device` (the far end), `connector` and `arrived`. Each case runs once per seed."""

    host: ClassVar[str] = ""
    """The host the connector dials on the simulated network; the cases of a bad network need it."""
    tags: ClassVar[tuple[str, ...]] = ("line1/a", "line1/b", "line1/c")
    """Tags of the samples written; at least two."""
    patience_seconds: ClassVar[float] = 600.0
    """Simulated time within which everything must have arrived, faults included."""

    @abstractmethod
    def device(self) -> AbstractAsyncContextManager[D]:
        """The simulated far end, running while the context is."""

    @abstractmethod
    def connector(self, device: D, tmp_path: Path) -> Connector[Any]:
        """The connector, set up for `device`; `lent(tmp_path)` makes a context."""

    @abstractmethod
    async def arrived(self, device: D) -> Sequence[Sample]:
        """What the far end now holds, in its order of arrival, repeats included."""

    def batch(self, position: int, count: int = 4) -> Batch:
        """A batch of readings numbered from `position`, as an outbox would give it."""
        batch = Batch.of(
            Sample(self.tags[number % len(self.tags)], float(number), GOOD, STARTS_AT + number * 1_000_000)
            for number in range(position, position + count)
        )
        batch.origin, batch.position, batch.received = "contract", position, STARTS_AT + position * 1_000_000
        batch.cursor = str(position + count)
        return batch

    # Cases.

    async def test_value_quality_and_time_arrive(self, tmp_path: Path) -> None:
        written = self.batch(0)
        written.qualities[1], written.qualities[2] = BAD, UNCERTAIN_LAST_USABLE
        async with self.device() as device:
            async with self.connector(device, tmp_path).sink() as sink:
                await sink.accept(written)
            assert list(await self.arrived(device)) == list(written)

    async def test_returns_only_after_the_far_end_has_it(self, tmp_path: Path) -> None:
        async with self.device() as device, self.connector(device, tmp_path).sink() as sink:
            for position in range(0, 40, 4):
                await sink.accept(self.batch(position))
                self._all_there(await self.arrived(device), position + 4)

    @pytest.mark.bad_network
    async def test_does_not_return_while_the_far_end_is_cut_off(self, tmp_path: Path) -> None:
        async with self.device() as device:
            returned = False
            try:
                async with self.connector(device, tmp_path).sink() as sink:
                    await sink.accept(self.batch(0))
                    running().network.cut(self.host)
                    async with asyncio.timeout(self.patience_seconds):
                        await sink.accept(self.batch(4))
                    returned = True
            except (Unavailable, TimeoutError):
                pass
            assert not returned, "accepted, though nothing can have reached the far end"
            running().network.heal(self.host)
            assert len(await self.arrived(device)) <= 4

    async def test_the_same_batch_twice_is_harmless(self, tmp_path: Path) -> None:
        async with self.device() as device:
            for _ in range(2):
                async with self.connector(device, tmp_path).sink() as sink:
                    await sink.accept(self.batch(0))
                    await sink.accept(self.batch(0))
            self._all_there(await self.arrived(device), 4)

    async def test_gaps_and_empty_batches_are_taken(self, tmp_path: Path) -> None:
        gap = Gap(self.tags[:2], STARTS_AT, None, "session lost", None)
        async with self.device() as device, self.connector(device, tmp_path).sink() as sink:
            await sink.accept(Batch.empty(cursor="0", gaps=(gap,)))
            written = self.batch(0)
            written.gaps = (gap, Gap((self.tags[0],), None, STARTS_AT, "outbox full", 3, 1))
            await sink.accept(written)
            self._all_there(await self.arrived(device), 4)

    async def test_every_kind_of_value_is_taken_or_rejected(self, tmp_path: Path) -> None:
        values: list[Value] = [
            True, 0, -(2**63), 2**64 - 1, 1.5, -0.0, math.nan, math.inf, -math.inf, 5e-324, "", "ünïcödé \0 \n\"',",
            "x" * 100_000, b"", b"\xff\x00", None, [1, 2, 3], [], {"a": 1, "b": [True, None]}, [[1.0], [math.nan]],
        ]  # fmt: skip
        async with self.device() as device, self.connector(device, tmp_path).sink() as sink:
            for position, value in enumerate(values):
                written = Batch.of([Sample(self.tags[0], value, GOOD, STARTS_AT)])
                written.origin, written.position = "contract", position
                try:
                    await sink.accept(written)
                except Rejected:
                    continue
            final = self.batch(len(values))
            final.times[0] = None
            await sink.accept(final)
            there = [sample.value for sample in await self.arrived(device)]
            assert there[-len(final) :] == final.values, "after an odd value the sink no longer works"

    async def test_cancelling_leaves_a_sink_that_can_be_opened_again(self, tmp_path: Path, seed: object) -> None:
        luck = random.Random(f"{seed}/cancel")  # noqa: S311  chooses moments
        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            for position in range(0, 40, 4):
                started = running().elapsed
                try:
                    async with asyncio.timeout(luck.choice((0.0, 0.001, 0.003, 0.01))):
                        async with connector.sink() as sink:
                            await sink.accept(self.batch(position))
                except (TimeoutError, Unavailable):
                    pass
                assert running().elapsed - started < 30.0, "a cancelled sink took its time"
            async with connector.sink() as sink:
                for position in range(0, 40, 4):
                    await sink.accept(self.batch(position))
            self._all_there(await self.arrived(device), 40)

    @pytest.mark.bad_network
    async def test_nothing_is_lost_or_rejected_while_the_far_end_comes_and_goes(
        self, tmp_path: Path, seed: object
    ) -> None:
        luck = random.Random(f"{seed}/faults")  # noqa: S311  chooses moments
        network = running().network

        async def trouble() -> None:
            for _ in range(8):
                await asyncio.sleep(luck.uniform(0.0, 3.0))
                luck.choice((network.reset, network.cut, network.refuse, network.hold))(self.host)
                await asyncio.sleep(luck.uniform(0.0, 60.0))
                network.heal(self.host)

        async with self.device() as device:
            troubling = asyncio.create_task(trouble())
            await self._deliver(self.connector(device, tmp_path), [self.batch(p) for p in range(0, 200, 4)], luck)
            await troubling
            there = await self.arrived(device)
        self._all_there(there, 200)
        self._in_order(there)

    async def test_closing_leaves_no_task_or_socket(self, tmp_path: Path) -> None:
        async with self.device() as device:
            before = set(running().unfinished())
            connector = self.connector(device, tmp_path)
            for position in range(0, 12, 4):
                async with connector.sink() as sink:
                    await sink.accept(self.batch(position))
            await asyncio.sleep(10.0)
            left = [task for task in running().unfinished() if task not in before]
            assert not left, f"left behind: {left}"
            if self.host:
                assert running().network.connections(self.host) == 0, "a connection was left open"

    # How they are done.

    async def _deliver(self, connector: Connector[Any], batches: Sequence[Batch], luck: random.Random) -> None:
        """What a pump does: in order, each until accepted, a new session after each `Unavailable`."""
        waiting = list(batches)
        try:
            async with asyncio.timeout(2 * self.patience_seconds):
                while waiting:
                    try:
                        async with connector.sink() as sink:
                            while waiting:
                                await sink.accept(waiting[0])
                                del waiting[0]
                                await asyncio.sleep(luck.uniform(0.0, 2.0))
                    except Unavailable as away:
                        await asyncio.sleep(away.retry_after_seconds or 1.0)
        except TimeoutError:
            pytest.fail(f"{len(waiting)} batches could not be delivered")

    def _all_there(self, there: Sequence[Sample], count: int) -> None:
        values = {sample.value for sample in there if isinstance(sample.value, float)}
        missing = {float(number) for number in range(count)} - values
        assert not missing, f"accepted, and not there: {sorted(missing)[:5]}"

    def _in_order(self, there: Sequence[Sample]) -> None:
        newest: defaultdict[str, float] = defaultdict(lambda: -1.0)
        seen: set[tuple[str, Value]] = set()
        for sample in there:
            if (sample.tag, sample.value) in seen:
                continue  # a repeat: harmless
            assert isinstance(sample.value, float)
            seen.add((sample.tag, sample.value))
            assert sample.value > newest[sample.tag], f"{sample.tag} arrived out of order"
            newest[sample.tag] = sample.value
