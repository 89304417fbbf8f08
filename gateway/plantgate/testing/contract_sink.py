"""What every sink must do, as test cases against a simulated far end. The docstring of a case is its promise."""

import asyncio
import math
import random
from pathlib import Path

import pytest

from plantgate.sdk import Batch, Gap, Rejected, Sample, Unavailable, Value
from plantgate.sdk.quality import BAD, GOOD, UNCERTAIN_LAST_USABLE
from plantgate.testing.contract_sink_faults import SinkUnderFaults
from plantgate.testing.simloop import STARTS_AT, running
from plantgate.testing.writing import D


@pytest.mark.simulated
class SinkContract(SinkUnderFaults[D]):
    """Inherit, and override `device` (the far end), `connector` and `arrived`. Each case runs once per seed."""

    async def test_value_quality_and_time_arrive(self, tmp_path: Path) -> None:
        """Values, qualities and times reach the far end as they are.

        Look at: how a row of the batch becomes a message, and what `arrived` reads back.
        """
        written = self.batch(0)
        written.qualities[1], written.qualities[2] = BAD, UNCERTAIN_LAST_USABLE
        async with self.device() as device:
            async with self.connector(device, tmp_path).sink() as sink:
                await sink.accept(written)
            assert list(await self.arrived(device)) == list(written)

    async def test_returns_only_after_the_far_end_has_it(self, tmp_path: Path) -> None:
        """When `accept` returns, the far end has the whole batch.

        Look at: confirmations that are not waited for, and work that is left to a task.
        """
        async with self.device() as device, self.connector(device, tmp_path).sink() as sink:
            for position in range(0, 40, 4):
                await sink.accept(self.batch(position))
                self.all_there(await self.arrived(device), position + 4)

    async def test_the_same_batch_twice_is_harmless(self, tmp_path: Path) -> None:
        """A batch can be offered again, to the same session or to the next; it is accepted, and nothing breaks.

        Look at: keys or positions that the far end refuses the second time.
        """
        async with self.device() as device:
            for _ in range(2):
                async with self.connector(device, tmp_path).sink() as sink:
                    await sink.accept(self.batch(0))
                    await sink.accept(self.batch(0))
            self.all_there(await self.arrived(device), 4)

    async def test_gaps_and_empty_batches_are_taken(self, tmp_path: Path) -> None:
        """A batch may hold gaps, or nothing but gaps.

        Look at: code that takes the first sample of a batch for granted.
        """
        gap = Gap(self.tags[:2], STARTS_AT, None, "session lost", None)
        async with self.device() as device, self.connector(device, tmp_path).sink() as sink:
            await sink.accept(Batch.empty(cursor="0", gaps=(gap,)))
            written = self.batch(0)
            written.gaps = (gap, Gap((self.tags[0],), None, STARTS_AT, "outbox full", 3, 1))
            await sink.accept(written)
            self.all_there(await self.arrived(device), 4)

    async def test_every_kind_of_value_is_taken_or_rejected(self, tmp_path: Path) -> None:
        """NaN, bytes, arrays, structures, huge numbers and texts: taken, or `Rejected` with a reason; nothing else.

        Look at: encoders that raise their own errors; translate them, and go on.
        """
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
                except Rejected as refused:
                    if not str(refused):
                        pytest.fail("`Rejected` without a word: say which value, and why")
            final = self.batch(len(values))
            final.times[0] = None
            await sink.accept(final)
            there = [sample.value for sample in await self.arrived(device)]
            assert there[-len(final) :] == final.values, "after an odd value the sink no longer works"

    async def test_cancelling_leaves_a_sink_that_can_be_opened_again(self, tmp_path: Path, seed: object) -> None:
        """A session can be cancelled at any moment, its opening included; the next one works, and nothing is lost.

        Look at: what is acquired before the `try` whose `finally` releases it, and long waits in `finally`.
        """
        luck = random.Random(f"{seed}/cancel")  # noqa: S311  chooses moments
        async with self.device() as device:
            before: set[asyncio.Task[object]] = set(running().unfinished())
            connector = self.connector(device, tmp_path)
            for position in range(0, 40, 4):
                started = running().elapsed
                try:
                    async with asyncio.timeout(luck.choice((0.0, 0.001, 0.003, 0.01, luck.uniform(0.0, 0.02)))):
                        async with connector.sink() as sink:
                            await sink.accept(self.batch(position))
                except (TimeoutError, Unavailable):
                    pass
                assert running().elapsed - started < 30.0, "a cancelled sink took its time"
            await self.nothing_left(before)
            async with connector.sink() as sink:
                for position in range(0, 40, 4):
                    await sink.accept(self.batch(position))
            self.all_there(await self.arrived(device), 40)

    async def test_closing_leaves_no_task_or_socket(self, tmp_path: Path) -> None:
        """A session that ends takes its tasks and connections with it.

        Look at: tasks outside a `TaskGroup`, and connections that are not closed in a `finally`.
        """
        async with self.device() as device:
            before: set[asyncio.Task[object]] = set(running().unfinished())
            connector = self.connector(device, tmp_path)
            for position in range(0, 12, 4):
                async with connector.sink() as sink:
                    await sink.accept(self.batch(position))
            await self.nothing_left(before)
