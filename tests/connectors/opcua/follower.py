"""Reads a connector the way the gateway does: session after session, each batch acknowledged once it is taken."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plantgate.flow.stop import Stop
from plantgate.sdk import Backoff, Context, Gap, Sample, Unavailable
from plantgate.testing.context import RecordedLog, lent
from plantgate_connectors.opcua import OpcUa
from plantgate_connectors.opcua.settings import OpcUaSettings


@dataclass(slots=True)
class Follower:
    """What a connector has given, and how it stands."""

    connector: OpcUa
    samples: list[Sample] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    sessions: int = 0
    keep: bool = True
    """Off: only count, for runs in which memory is measured."""
    count: int = 0
    stop: Stop = field(default_factory=Stop)
    backoff: Backoff = field(default_factory=lambda: Backoff(0.5, 30.0, 0.0))

    @property
    def context(self) -> Context:
        return self.connector.context

    @property
    def log(self) -> list[str]:
        log = self.context.log
        assert isinstance(log, RecordedLog)
        return [event for _, event, _ in log.lines]

    def values(self, tag: str) -> list[Any]:
        """What came for a tag, in order."""
        return [sample.value for sample in self.samples if sample.tag == tag]

    async def run(self) -> None:
        """Returns when it is told to stop."""
        attempt = 0
        while not self.stop.is_set():
            try:
                async with self.connector.source() as source:
                    self.sessions += 1
                    attempt = 0
                    while (batch := await self.stop.unless(source.read)) is not None:
                        self.count += len(batch)
                        self.gaps += batch.gaps
                        if self.keep:
                            self.samples += batch
                        await source.ack(batch.cursor)
            except Unavailable as error:
                self.context.standing.away(str(error))
                self.away.append(str(error))
                del self.away[:-20]
                await asyncio.sleep(self.backoff.delay(attempt))
                attempt += 1

    async def until(self, enough: Callable[[], bool], what: str, seconds: float = 300.0) -> None:
        """Wait; fails with a sentence."""
        try:
            async with asyncio.timeout(seconds):
                while not enough():  # noqa: ASYNC110  simulated time: looking costs nothing
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(
                f"{what} did not happen in {seconds:.0f} s; sessions {self.sessions}, away {self.away[-3:]},"
                f" counters {self.context.standing.counters}, last {self.samples[-3:]}, log {self.log[-6:]}"
            ) from None

    async def until_value(self, tag: str, value: Any, seconds: float = 300.0) -> None:
        """Wait until a tag has shown this value."""
        await self.until(lambda: value in self.values(tag)[-500:], f"{tag} = {value}", seconds)


@asynccontextmanager
async def following(settings: OpcUaSettings, folder: Path, *, keep: bool = True) -> AsyncIterator[Follower]:
    """A connector of its own process (only the folder is shared with an earlier one), read until the block ends."""
    follower = Follower(OpcUa(settings, lent(folder)), keep=keep)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
