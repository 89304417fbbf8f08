"""What the cases of a source's contract share: a device, a connector for it, and ways of reading from it."""

import asyncio
import tracemalloc
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from plantgate.sdk import Batch, Connector, Gap, Sample, Source, Unavailable
from plantgate.sdk.quality import GOOD
from plantgate.testing.event_loop import where_is
from plantgate.testing.simloop import STARTS_AT, running

D = TypeVar("D")


@dataclass(slots=True)
class Collected:
    """Everything a source has given, over all its sessions."""

    samples: list[Sample] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    sessions: int = 0
    _there: set[tuple[str, object]] = field(default_factory=set)

    def add(self, batch: Batch) -> None:
        """Take a batch in."""
        assert len(batch.tags) == len(batch.values) == len(batch.qualities) == len(batch.times), (
            "columns differ in length"
        )
        self.samples += batch
        self._there.update(zip(batch.tags, batch.values, strict=True))
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
        return [sample for sample in produced if (sample.tag, sample.value) not in self._there]


class SourceUnderTest(Generic[D]):
    """Override `device`, `connector` and `produce`, and say what your device is like."""

    host: ClassVar[str] = ""
    """The host the connector dials on the simulated network; the cases of a bad network need it."""
    tags: ClassVar[tuple[str, ...]] = ("line1/a", "line1/b", "line1/c")
    """Tags the connector reads; at least two."""
    dials: ClassVar[bool] = True
    """False if the connector listens at `host` and its devices dial it: nobody can then be found away."""
    gives_time: ClassVar[bool] = True
    """False if the device puts no time on its readings; the connector must then give None, never a time of its own."""
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
        return Sample(tag, float(number), quality, STARTS_AT + number * 1_000_000 if self.gives_time else None)

    def is_the_devices(self, task: "asyncio.Task[Any]") -> bool:
        """Whether a task belongs to the simulated device, which may keep it after the connector has gone."""
        return False

    # How the cases are done.

    def series(self, first: int, count: int) -> list[Sample]:
        """`count` readings of every tag, interleaved."""
        return [self.sample(tag, number) for number in range(first, first + count) for tag in self.tags]

    async def nothing_left(self, before: "set[asyncio.Task[Any]]") -> None:
        """Every task but those of `before` has ended, and every connection is closed."""
        await asyncio.sleep(10.0)
        left = [task for task in running().unfinished() if task not in before and not self.is_the_devices(task)]
        assert not left, "left behind: " + "; ".join(map(where_is, left))
        if self.host:
            assert running().network.connections(self.host) == 0, "a connection was left open"

    async def collect_while(self, device: D, tmp_path: Path, produced: Sequence[Sample]) -> Collected:
        """Read until everything is there, while the device gives it."""
        return await self.collect(
            device, self.connector(device, tmp_path), lambda device: self.produce(device, produced), produced
        )

    async def collect(
        self, device: D, connector: Connector[Any], play: Callable[[D], Any], wanted: Sequence[Sample]
    ) -> Collected:
        """Read and acknowledge until everything wanted is there, opening a new session after each `Unavailable`."""
        got = Collected()
        playing: asyncio.Task[None] | None = None
        patience = asyncio.timeout(2 * self.patience_seconds)
        try:
            async with patience:
                while True:
                    try:
                        async with connector.source() as source:
                            got.sessions += 1
                            playing = playing or asyncio.create_task(play(device))
                            await self.read_until(source, got, lambda: not got.missing(wanted))
                            return got
                    except Unavailable as away:
                        await asyncio.sleep(away.retry_after_seconds or 1.0)
        except TimeoutError:
            if not patience.expired():
                raise  # the connector's own, which is no verdict
            pytest.fail(f"after {got.sessions} sessions still missing: {got.missing(wanted)[:3]}")
        finally:
            if playing is not None:
                await end(playing)

    async def read_until(self, source: Source, got: Collected, enough: Callable[[], bool]) -> None:
        """Read and acknowledge. Raises `TimeoutError` when patience is at its end."""
        async with asyncio.timeout(2 * self.patience_seconds):
            while not enough():
                batch = await source.read()
                got.add(batch)
                await source.ack(batch.cursor)

    def in_order(self, samples: Sequence[Sample], produced: Sequence[Sample]) -> None:
        """In the order in which the device had them, tag by tag, each with the device's time or with none."""
        place = {(sample.tag, sample.value): number for number, sample in enumerate(produced)}
        by_tag: defaultdict[str, list[int]] = defaultdict(list)
        for sample in samples:
            if self.gives_time:
                assert sample.time is not None, "the device gave a time, and it was lost"
            else:
                assert sample.time is None, f"the device gave no time; {sample.time} was made up"
            by_tag[sample.tag].append(place[sample.tag, sample.value])
        for tag, places in by_tag.items():
            assert places == sorted(places), f"{tag} came out of order"

    def accounted_for(self, got: Collected, produced: Sequence[Sample]) -> None:
        """A device that cannot repeat owes no account of what happened while nobody was connected."""


async def read_for(source: Source, seconds: float) -> Batch | None:
    """A batch, or None if none came in time."""
    patience = asyncio.timeout(seconds)
    try:
        async with patience:
            return await source.read()
    except TimeoutError:
        if patience.expired():
            return None
        raise


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel it if need be; what it raised is raised here."""
    if not task.done():
        task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()):
        raise error


@contextmanager
def measured() -> Iterator[Callable[[], int]]:
    """Bytes allocated by Python and alive."""
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        if started:
            tracemalloc.stop()
