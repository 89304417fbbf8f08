"""What every source must do, as test cases against a simulated device. The docstring of a case is its promise."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from plantgate.sdk import Batch, Sample, Severity, Source, severity
from plantgate.sdk.quality import BAD
from plantgate.testing.context import lent
from plantgate.testing.contract_source_faults import SourceUnderFaults
from plantgate.testing.process import Process
from plantgate.testing.reading import Collected, D, end, measured, read_for
from plantgate.testing.simloop import running


@pytest.mark.simulated
class LiveSourceContract(SourceUnderFaults[D]):
    """For a device that cannot repeat itself (a polled register): what is missed while away is gone, the rest holds.

    Inherit, and override `device`, `connector` and `produce`. Each case runs once per seed.
    """

    async def test_gives_value_quality_and_time_as_the_device_has_them(self, tmp_path: Path) -> None:
        """Values, qualities and times pass through as they are; a time is the device's or None, never ours.

        Look at: how a reading becomes a row of the batch.
        """
        produced = [self.sample(self.tags[0], 1), self.sample(self.tags[1], 2)]
        async with self.device() as device:
            got = await self.collect_while(device, tmp_path, produced)
        assert sorted(got.of(produced), key=lambda sample: sample.tag) == sorted(
            produced, key=lambda sample: sample.tag
        )

    async def test_bad_quality_is_passed_on(self, tmp_path: Path) -> None:
        """What the device does not vouch for is given as bad, not dropped and not as good.

        Look at: readings that are skipped because they have no usable value.
        """
        tag = self.tags[0]
        async with self.device() as device, self.connector(device, tmp_path).source() as source:
            got = Collected()
            await self.produce(device, [self.sample(tag, 1), self.sample(tag, 2, BAD)])
            try:
                await self.read_until(
                    source, got, lambda: any(severity(s.quality) is Severity.BAD for s in got.samples)
                )
            except TimeoutError:
                pytest.fail(f"a sample of bad quality never came, only {got.samples[:3]}")

    async def test_keeps_order_within_a_tag(self, tmp_path: Path) -> None:
        """Readings of one tag come in the order in which the device had them.

        Look at: several tasks or queues between the wire and `read`.
        """
        produced = self.series(1, 60)
        async with self.device() as device:
            got = await self.collect_while(device, tmp_path, produced)
        assert not got.missing(produced), f"never arrived: {got.missing(produced)[:3]}"
        self.in_order(got.of(produced), produced)

    async def test_cancelling_a_read_loses_nothing(self, tmp_path: Path, seed: object) -> None:
        """A `read` that is cancelled leaves everything for the next one.

        Look at: what `read` holds in a local variable across an `await`; keep it on the object.
        """
        produced = self.series(1, 40)
        luck = random.Random(f"{seed}/cancel")  # noqa: S311  chooses moments
        got = Collected()
        async with self.device() as device, self.connector(device, tmp_path).source() as source:
            making = asyncio.create_task(self.produce(device, produced))
            try:
                async with asyncio.timeout(self.patience_seconds):
                    while got.missing(produced):
                        batch = await read_for(source, luck.choice((0.0, 0.001, 0.01, 0.1, 1.0)))
                        if batch is not None:
                            got.add(batch)
                            await source.ack(batch.cursor)
            except TimeoutError:
                pytest.fail(f"lost by cancelling a read: {got.missing(produced)[:3]} and more")
            finally:
                await end(making)
        self.in_order(got.of(produced), produced)

    async def test_closing_leaves_no_task_or_socket(self, tmp_path: Path) -> None:
        """A session that ends takes its tasks and connections with it.

        Look at: tasks outside a `TaskGroup`, and connections that are not closed in a `finally`.
        """
        async with self.device() as device:
            before: set[asyncio.Task[object]] = set(running().unfinished())
            connector = self.connector(device, tmp_path)
            for _ in range(3):
                async with connector.source() as source:
                    await self.produce(device, self.series(1, 1))
                    await read_for(source, 5.0)
            await self.nothing_left(before)

    @pytest.mark.simulated(seeds=1)
    async def test_memory_stays_bounded_under_a_stalled_pump(self, tmp_path: Path) -> None:
        """While nobody reads, the source stops taking: waiting is backpressure, up to the device.

        Look at: queues without a bound, and tasks that read on while `read` is not called.
        """
        count = self.stalled_samples // len(self.tags)
        async with self.device() as device, self.connector(device, tmp_path).source() as source:
            first, second = self.series(1, count), self.series(1 + count, count)  # made before anything is measured
            with measured() as held:
                await self._stalled(asyncio.create_task(self.produce(device, first)))
                half = held()
                await self._stalled(asyncio.create_task(self.produce(device, second)))
                grown = held() - half
            assert grown < self.stalled_bytes_max, f"nobody read, and {grown} more bytes were held"
            await read_for(source, 1.0)

    async def _stalled(self, making: "asyncio.Task[None]") -> None:
        """Wait for the device to have produced; a device that waits for its reader is given up on."""
        await asyncio.wait([making], timeout=self.patience_seconds)
        await end(making)
        await asyncio.sleep(10.0)  # what is under way arrives


class SourceContract(LiveSourceContract[D]):
    """For a device that gives again what was not acknowledged: nothing is lost, or a gap record says so."""

    repeats_current_value: ClassVar[bool] = False
    """True if a new session begins with the current value of every tag, as an OPC UA subscription does."""

    async def test_repeats_what_was_not_acknowledged(self, tmp_path: Path) -> None:
        """What was read and not acknowledged is given again by the next session.

        Look at: anything that tells the device "I have it" in `read`; only `ack` may.
        """
        produced = self.series(1, 10)
        async with self.device() as device:
            connector, got = self.connector(device, tmp_path), Collected()
            async with connector.source() as source:
                await self.produce(device, produced)
                while got.missing(produced):
                    got.add(await self._next(source))
            again = Collected()
            async with connector.source() as source:
                await self._again(source, again, produced)
        assert not again.missing(produced), "a batch was never acknowledged, so a new session must give it again"
        self.in_order(again.of(produced), produced)

    async def test_repeats_after_a_restart_what_was_not_acknowledged_or_names_it_in_a_gap(self, tmp_path: Path) -> None:
        """The same after the gateway was restarted; what the device no longer has is named in a gap.

        Look at: state that must survive is in `context.folder`; the rest must be asked of the device.
        """
        produced = self.series(1, 10)
        async with self.device() as device:
            got = Collected()
            async with self.connector(device, tmp_path).source() as source:
                await self.produce(device, produced)
                while got.missing(produced):
                    got.add(await self._next(source))
            again = Collected()
            async with self.connector(device, tmp_path).source() as source:  # another process: only the folder is left
                await self.produce(device, self.series(1001, 1))
                await self._again(source, again, produced)
        self.accounted_for(again, produced)

    async def test_repeats_after_a_crash_what_was_not_acknowledged_or_names_it_in_a_gap(
        self, tmp_path: Path, seed: object
    ) -> None:
        """The same after the gateway was killed in the middle of it: no `finally` has run, nothing was said goodbye to.

        Look at: files in `context.folder` that are half written, and sessions the device still believes in.
        """
        luck = random.Random(f"{seed}/crash")  # noqa: S311  chooses moments
        produced = self.series(1, 30)
        safe, again = Collected(), Collected()

        async with self.device() as device:
            opened = asyncio.Event()

            async def gateway() -> None:
                async with self.connector(device, tmp_path).source() as source:
                    opened.set()
                    while True:
                        batch = await source.read()
                        safe.add(batch)
                        await source.ack(batch.cursor)

            crashing = Process(gateway)
            await opened.wait()
            making = asyncio.create_task(self.produce(device, produced))
            await asyncio.sleep(luck.uniform(0.0, 0.2))
            crashing.kill()
            await asyncio.wait([making], timeout=self.patience_seconds)
            await end(making)
            missing = safe.missing(produced)
            late = self.series(1001, 1)
            again = await self.collect(
                device, self.connector(device, tmp_path), lambda device: self.produce(device, late), late
            )
        self.in_order(again.of(produced), produced)
        self.accounted_for(again, missing)

    async def test_forgets_what_was_acknowledged(self, tmp_path: Path) -> None:
        """What was acknowledged is not given again: the device, or the connector's own position, has moved on.

        Look at: `ack`, and what a new session asks the device for.
        """
        first, second = self.series(1, 10), self.series(1001, 2)
        async with self.device() as device:
            connector, got = self.connector(device, tmp_path), Collected()
            async with connector.source() as source:
                await self.produce(device, first)
                await self.read_until(source, got, lambda: not got.missing(first))
            again = Collected()
            async with connector.source() as source:
                await self.produce(device, second)
                await self.read_until(source, again, lambda: not again.missing(second))
        allowed = (
            {max(s.time or 0 for s in first if s.tag == tag) for tag in self.tags} if self.repeats_current_value else ()
        )
        repeated = [sample for sample in again.of(first) if sample.time not in allowed]
        assert not repeated, f"acknowledged, and given again: {repeated[:3]}"

    def accounted_for(self, got: Collected, produced: Sequence[Sample]) -> None:
        """Every sample is there, or a gap of its tag says how many are not."""
        for tag in self.tags:
            missing = [sample for sample in got.missing(produced) if sample.tag == tag]
            gaps = [gap for gap in got.gaps if tag in gap.tags]
            assert gaps or not missing, f"{len(missing)} samples of {tag} are missing, and no gap says so"
            if missing and all(gap.lost is not None for gap in gaps) and all(len(gap.tags) == 1 for gap in gaps):
                named = sum(gap.lost or 0 for gap in gaps)
                assert named >= len(missing), f"{len(missing)} samples of {tag} are missing, the gaps say {named}"

    async def _next(self, source: Source) -> Batch:
        try:
            async with asyncio.timeout(self.patience_seconds):
                return await source.read()
        except TimeoutError:
            pytest.fail("nothing more came, though not everything had come")

    async def _again(self, source: Source, again: Collected, produced: list[Sample]) -> None:
        while again.missing(produced):
            batch = await read_for(source, self.patience_seconds)
            if batch is None:
                return
            again.add(batch)


__all__ = ["Collected", "LiveSourceContract", "SourceContract", "lent"]
