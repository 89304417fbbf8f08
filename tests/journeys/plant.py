"""The world around the gateway: a device that keeps what is not acknowledged, and far ends that come and go."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from plantgate.sdk import Batch, Cursor, Gap, Sample, Sink, Unavailable
from plantgate.testing.simloop import STARTS_AT, running

OVERFLOW = "queue overflow"


@dataclass
class Device:
    """Produces readings, numbered over all tags; keeps the newest `capacity` of them until they are acknowledged."""

    luck: random.Random
    tags: tuple[str, ...] = ("line1/a", "line1/b", "line1/c")
    capacity: int = 1_000_000
    names_what_it_loses: bool = True
    produced: list[Sample] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    acknowledged: int = 0
    kept: deque[int] = field(default_factory=deque)
    away_until: float = 0.0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def live(self, count: int) -> None:
        """Produce so many readings, in bursts."""
        while len(self.produced) < count:
            await asyncio.sleep(self.luck.expovariate(4.0))
            for _ in range(self.luck.randrange(1, 6)):
                self.produce()
            if self.luck.random() < 0.03:
                self.away_until = running().elapsed + self.luck.uniform(0.0, 20.0)

    def produce(self) -> None:
        """One reading of the next tag."""
        number = len(self.produced)
        time = self.time(number)
        self.produced.append(Sample(self.tags[number % len(self.tags)], number, 0, time))
        self.kept.append(number)
        while len(self.kept) > self.capacity:
            self.lost.add(self.kept.popleft())
        news, self.news = self.news, asyncio.Event()
        news.set()

    def time(self, number: int) -> int:
        """The device's time of a reading."""
        return STARTS_AT + number * 1_000_000

    def number(self, time: int | None) -> int:
        """The reading of that time."""
        assert time is not None
        return (time - STARTS_AT) // 1_000_000

    @asynccontextmanager
    async def session(self) -> AsyncIterator["DeviceSession"]:
        """What a connector would be to it."""
        await asyncio.sleep(self.luck.uniform(0.0, 0.02))
        if running().elapsed < self.away_until:
            raise Unavailable("device: away")
        yield DeviceSession(self)


class DeviceSession:
    """A `Source`: begins with the oldest reading that is not acknowledged."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.following = device.acknowledged

    async def read(self) -> Batch:
        """Up to a few readings; first a gap, if some were lost before they could be read."""
        device = self.device
        while self.following >= len(device.produced):
            self._check()
            await device.news.wait()
        self._check()
        await asyncio.sleep(device.luck.uniform(0.0, 0.01))
        first, gaps = self.following, []
        oldest = device.kept[0] if device.kept else len(device.produced)
        if oldest > first:
            if device.names_what_it_loses:
                gaps.append(Gap(device.tags, device.time(first), device.time(oldest), OVERFLOW, oldest - first))
            first = oldest
        end = min(len(device.produced), first + device.luck.randrange(1, 12))
        self.following = end
        return Batch.of(device.produced[first:end], cursor=str(end), gaps=tuple(gaps))

    async def ack(self, cursor: Cursor) -> None:
        """The acknowledgement can be lost on the way, or its loss be the last that is heard of the device."""
        await asyncio.sleep(self.device.luck.uniform(0.0, 0.005))
        fate = self.device.luck.random()
        if fate < 0.02:
            raise Unavailable("device: went away before it was told")
        self.device.acknowledged = max(self.device.acknowledged, int(cursor))
        while self.device.kept and self.device.kept[0] < self.device.acknowledged:
            self.device.kept.popleft()
        if fate < 0.04:
            raise Unavailable("device: went away after it was told")

    def _check(self) -> None:
        if running().elapsed < self.device.away_until:
            raise Unavailable("device: away")


@dataclass
class FarEnd:
    """Remembers everything it gets, for good. While there is trouble it goes away, loses replies, and falls silent."""

    name: str
    luck: random.Random
    got: list[Batch] = field(default_factory=list)
    trouble: bool = True
    away_until: float = 0.0
    sink: Callable[["FarEnd"], Sink] = field(default_factory=lambda: FarEndSession)

    def session(self) -> AbstractAsyncContextManager[Sink]:
        """What a connector would be to it."""
        return self._session()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Sink]:
        await asyncio.sleep(self.luck.uniform(0.0, 0.02))
        self.check()
        yield self.sink(self)

    def check(self) -> None:
        """Raises while it is away."""
        if self.trouble and running().elapsed < self.away_until:
            raise Unavailable(f"{self.name}: away")


class FarEndSession:
    """A `Sink`."""

    def __init__(self, far_end: FarEnd) -> None:
        self.far_end = far_end

    async def accept(self, batch: Batch) -> None:
        """Returns once the far end has it."""
        far_end = self.far_end
        await asyncio.sleep(far_end.luck.uniform(0.0, 0.01))
        far_end.check()
        fate = far_end.luck.random() if far_end.trouble else 1.0
        if fate < 0.04:
            far_end.away_until = running().elapsed + far_end.luck.uniform(0.0, 30.0)
            raise Unavailable(f"{far_end.name}: went away")
        if fate < 0.08:
            await asyncio.sleep(far_end.luck.uniform(0.0, 15.0))
            raise Unavailable(f"{far_end.name}: silent, and had not got it")
        far_end.got.append(batch)
        if fate < 0.12:
            await asyncio.sleep(far_end.luck.uniform(0.0, 15.0))
            raise Unavailable(f"{far_end.name}: silent, but had got it")
        await asyncio.sleep(far_end.luck.uniform(0.0, 0.01))
