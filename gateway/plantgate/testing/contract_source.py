"""What every source must do, as test cases that run against a simulated device."""

import asyncio
import random
import tracemalloc
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from plantgate.sdk import Batch, Connector, Gap, Sample, Severity, Source, Unavailable, severity
from plantgate.sdk.quality import BAD, GOOD
from plantgate.testing.context import lent
from plantgate.testing.simloop import STARTS_AT, running

D = TypeVar("D")


@dataclass(slots=True)
class Collected:
    """Everything a source has given, over all its sessions."""

    samples: list[Sample] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    sessions: int = 0

    def add(self, batch: Batch) -> None:
        """Take a batch in."""
        assert len(batch.tags) == len(batch.values) == len(batch.qualities) == len(batch.times), (
            "columns differ in length"
        )
        self.samples += batch
        self.gaps += batch.gaps

    def of(self, produced: Sequence[Sample]) -> list[Sample]:
        """The produced samples among those given, in the order of their first arrival."""
        wanted = {(sample.tag, sample.value) for sample in produced}
        first: dict[tuple[str, object], Sample] = {}
        for sample in self.samples:
            if (sample.tag, sample.value) in wanted:
                first.setdefault((sample.tag, sample.value), sample)
        return list(first.values())

    def missing(self, produced: Sequence[Sample]) -> list[Sample]:
        """The produced samples that were not given."""
        there = {(sample.tag, sample.value) for sample in self.samples}
        return [sample for sample in produced if (sample.tag, sample.value) not in there]


@pytest.mark.simulated
class LiveSourceContract(Generic[D]):
    """For a device that cannot repeat itself (a polled register): what is missed while away is gone, the rest holds.

    Inherit, and override `device`, `connector` and `produce`. Each case runs once per seed.
    """

    host: ClassVar[str] = ""
    """The host the connector dials on the simulated network; the cases of a bad network need it."""
    tags: ClassVar[tuple[str, ...]] = ("line1/a", "line1/b", "line1/c")
    """Tags the connector reads; at least two."""
    patience_seconds: ClassVar[float] = 600.0
    """Simulated time within which everything must have arrived, faults included."""
    stalled_samples: ClassVar[int] = 10_000
    """How many samples are produced in each half of the case about memory."""
    stalled_bytes_max: ClassVar[int] = 400_000
    """How much the second half may add to what source and device together hold."""

    @abstractmethod
    def device(self) -> AbstractAsyncContextManager[D]:
        """The simulated device, running while the context is."""

    @abstractmethod
    def connector(self, device: D, tmp_path: Path) -> Connector[Any]:
        """The connector, set up for `device` and `tags`; `lent(tmp_path)` makes a context."""

    @abstractmethod
    async def produce(self, device: D, samples: Sequence[Sample]) -> None:
        """Let the device have these readings, one after the other, no faster than it can show them."""

    def sample(self, tag: str, number: int, quality: int = GOOD) -> Sample:
        """The `number`th reading of a tag; override where values must be of another type. No two may be equal."""
        return Sample(tag, float(number), quality, STARTS_AT + number * 1_000_000)

    def series(self, first: int, count: int) -> list[Sample]:
        """`count` readings of every tag, interleaved."""
        return [self.sample(tag, number) for number in range(first, first + count) for tag in self.tags]

    # Cases.

    async def test_gives_value_quality_and_time_as_the_device_has_them(self, tmp_path: Path) -> None:
        produced = [self.sample(self.tags[0], 1), self.sample(self.tags[1], 2)]
        async with self.device() as device:
            got = await self._collect_while(device, tmp_path, produced)
        assert sorted(got.of(produced), key=lambda sample: sample.tag) == sorted(
            produced, key=lambda sample: sample.tag
        )

    async def test_bad_quality_is_passed_on(self, tmp_path: Path) -> None:
        tag = self.tags[0]
        async with self.device() as device, self.connector(device, tmp_path).source() as source:
            got = Collected()
            await self.produce(device, [self.sample(tag, 1), self.sample(tag, 2, BAD)])
            try:
                await self._read_until(
                    source, got, lambda: any(severity(s.quality) is Severity.BAD for s in got.samples)
                )
            except TimeoutError:
                pytest.fail(f"a sample of bad quality never came, only {got.samples[:3]}")

    async def test_keeps_order_within_a_tag(self, tmp_path: Path) -> None:
        produced = self.series(1, 60)
        async with self.device() as device:
            got = await self._collect_while(device, tmp_path, produced)
        assert not got.missing(produced), f"never arrived: {got.missing(produced)[:3]}"
        self._in_order(got.of(produced))

    async def test_cancelling_a_read_loses_nothing(self, tmp_path: Path, seed: object) -> None:
        produced = self.series(1, 40)
        luck = random.Random(f"{seed}/cancel")  # noqa: S311  chooses moments
        got = Collected()
        async with self.device() as device, self.connector(device, tmp_path).source() as source:
            making = asyncio.create_task(self.produce(device, produced))
            try:
                async with asyncio.timeout(self.patience_seconds):
                    while got.missing(produced):
                        batch = await _read_for(source, luck.choice((0.0, 0.001, 0.01, 0.1, 1.0)))
                        if batch is not None:
                            got.add(batch)
                            await source.ack(batch.cursor)
            except TimeoutError:
                pytest.fail(f"lost by cancelling a read: {got.missing(produced)[:3]} and more")
            finally:
                await _end(making)
        self._in_order(got.of(produced))

    @pytest.mark.bad_network
    async def test_survives_a_reset(self, tmp_path: Path, seed: object) -> None:
        await self._through(tmp_path, seed, lambda: running().network.reset(self.host), heal=False)

    @pytest.mark.bad_network
    async def test_survives_a_stall(self, tmp_path: Path, seed: object) -> None:
        await self._through(tmp_path, seed, lambda: running().network.cut(self.host), heal=True)

    @pytest.mark.bad_network
    async def test_survives_a_refusal(self, tmp_path: Path, seed: object) -> None:
        def away() -> None:
            running().network.refuse(self.host)
            running().network.reset(self.host)

        await self._through(tmp_path, seed, away, heal=True)

    @pytest.mark.bad_network
    async def test_survives_a_slow_link(self, tmp_path: Path) -> None:
        produced = self.series(1, 20)
        async with self.device() as device:
            link = running().network.link(self.host)
            link.latency_seconds, link.split = (0.05, 0.4), 1.0
            got = await self._collect_while(device, tmp_path, produced)
        assert not got.missing(produced)
        self._in_order(got.of(produced))

    async def test_closing_leaves_no_task_or_socket(self, tmp_path: Path) -> None:
        async with self.device() as device:
            before = set(running().unfinished())
            connector = self.connector(device, tmp_path)
            for _ in range(3):
                async with connector.source() as source:
                    await self.produce(device, self.series(1, 1))
                    await _read_for(source, 5.0)
            await asyncio.sleep(10.0)
            left = [task for task in running().unfinished() if task not in before]
            assert not left, f"left behind: {left}"
            if self.host:
                assert running().network.connections(self.host) == 0, "a connection was left open"

    @pytest.mark.simulated(seeds=1)
    async def test_memory_stays_bounded_under_a_stalled_pump(self, tmp_path: Path) -> None:
        count = self.stalled_samples // len(self.tags)
        async with self.device() as device, self.connector(device, tmp_path).source() as source:
            first, second = self.series(1, count), self.series(1 + count, count)  # made before anything is measured
            with _measured() as held:
                await self._stalled(asyncio.create_task(self.produce(device, first)))
                half = held()
                await self._stalled(asyncio.create_task(self.produce(device, second)))
                grown = held() - half
            assert grown < self.stalled_bytes_max, f"nobody read, and {grown} more bytes were held"
            await _read_for(source, 1.0)

    # How they are done.

    async def _stalled(self, making: asyncio.Task[None]) -> None:
        """Wait for the device to have produced; a device that waits for its reader is given up on."""
        await asyncio.wait([making], timeout=self.patience_seconds)
        await _end(making)
        await asyncio.sleep(10.0)  # what is under way arrives

    async def _through(self, tmp_path: Path, seed: object, fault: Callable[[], None], *, heal: bool) -> None:
        """Readings before, during and after a few faults at seeded moments."""
        luck = random.Random(f"{seed}/faults")  # noqa: S311  chooses moments
        network = running().network
        early, late = self.series(1, 30), self.series(1001, 5)

        async def play(device: D) -> None:
            for start in range(0, len(early), len(early) // 5):
                await self.produce(device, early[start : start + len(early) // 5])
                await asyncio.sleep(luck.uniform(0.0, 5.0))
                fault()
                await asyncio.sleep(luck.uniform(0.0, 40.0) if heal else 0.0)
                if heal:
                    network.heal(self.host)
            await asyncio.sleep(self.patience_seconds / 2)
            await self.produce(device, late)

        async with self.device() as device:
            got = await self._collect(device, tmp_path, play, late)
        assert not got.missing(late), f"never came back: {got.missing(late)[:3]} did not arrive"
        self._in_order(got.of(early + late))
        self._accounted_for(got, early)

    def _accounted_for(self, got: Collected, produced: Sequence[Sample]) -> None:
        """A device that cannot repeat owes no account of what happened while nobody was connected."""

    async def _collect_while(self, device: D, tmp_path: Path, produced: Sequence[Sample]) -> Collected:
        return await self._collect(device, tmp_path, lambda device: self.produce(device, produced), produced)

    async def _collect(
        self, device: D, tmp_path: Path, play: Callable[[D], Any], wanted: Sequence[Sample]
    ) -> Collected:
        """Read and acknowledge until everything wanted is there, opening a new session after each `Unavailable`."""
        got, connector = Collected(), self.connector(device, tmp_path)
        playing: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(2 * self.patience_seconds):
                while True:
                    try:
                        async with connector.source() as source:
                            got.sessions += 1
                            playing = playing or asyncio.create_task(play(device))
                            await self._read_until(source, got, lambda: not got.missing(wanted))
                            return got
                    except Unavailable as away:
                        await asyncio.sleep(away.retry_after_seconds or 1.0)
        except TimeoutError:
            pytest.fail(f"after {got.sessions} sessions still missing: {got.missing(wanted)[:3]}")
        finally:
            if playing is not None:
                await _end(playing)

    async def _read_until(self, source: Source, got: Collected, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(2 * self.patience_seconds):
            while not enough():
                batch = await source.read()
                got.add(batch)
                await source.ack(batch.cursor)

    def _in_order(self, samples: Sequence[Sample]) -> None:
        by_tag: defaultdict[str, list[int]] = defaultdict(list)
        for sample in samples:
            assert sample.time is not None, "the device gave a time, and it was lost"
            by_tag[sample.tag].append(sample.time)
        for tag, times in by_tag.items():
            assert times == sorted(times), f"{tag} came out of order"


class SourceContract(LiveSourceContract[D]):
    """For a device that gives again what was not acknowledged: nothing is lost, or a gap record says so."""

    repeats_current_value: ClassVar[bool] = False
    """True if a new session begins with the current value of every tag, as an OPC UA subscription does."""

    async def test_repeats_what_was_not_acknowledged(self, tmp_path: Path) -> None:
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
        self._in_order(again.of(produced))

    async def test_repeats_after_a_restart_what_was_not_acknowledged_or_names_it_in_a_gap(self, tmp_path: Path) -> None:
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
        self._accounted_for(again, produced)

    async def test_forgets_what_was_acknowledged(self, tmp_path: Path) -> None:
        first, second = self.series(1, 10), self.series(1001, 2)
        async with self.device() as device:
            connector, got = self.connector(device, tmp_path), Collected()
            async with connector.source() as source:
                await self.produce(device, first)
                await self._read_until(source, got, lambda: not got.missing(first))
            again = Collected()
            async with connector.source() as source:
                await self.produce(device, second)
                await self._read_until(source, again, lambda: not again.missing(second))
        allowed = (
            {max(s.time or 0 for s in first if s.tag == tag) for tag in self.tags} if self.repeats_current_value else ()
        )
        repeated = [sample for sample in again.of(first) if sample.time not in allowed]
        assert not repeated, f"acknowledged, and given again: {repeated[:3]}"

    def _accounted_for(self, got: Collected, produced: Sequence[Sample]) -> None:
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

    async def _again(self, source: Source, again: Collected, produced: Sequence[Sample]) -> None:
        while again.missing(produced):
            batch = await _read_for(source, self.patience_seconds)
            if batch is None:
                return
            again.add(batch)


async def _read_for(source: Source, seconds: float) -> Batch | None:
    patience = asyncio.timeout(seconds)
    try:
        async with patience:
            return await source.read()
    except TimeoutError:
        if patience.expired():
            return None
        raise


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel it if need be; what it raised is raised here."""
    if not task.done():
        task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()):
        raise error


@contextmanager
def _measured() -> Iterator[Callable[[], int]]:
    """Bytes allocated by Python and alive."""
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        if started:
            tracemalloc.stop()


__all__ = ["Collected", "LiveSourceContract", "SourceContract", "lent"]
