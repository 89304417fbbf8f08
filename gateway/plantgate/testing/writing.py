"""What the cases of a sink's contract share: a far end, a connector for it, and ways of writing to it."""

import asyncio
import random
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from plantgate.sdk import Batch, Connector, Sample, Unavailable, Value
from plantgate.sdk.quality import GOOD
from plantgate.testing.event_loop import where_is
from plantgate.testing.simloop import STARTS_AT, running

D = TypeVar("D")


class SinkUnderTest(Generic[D]):
    """Override `device` (the far end), `connector` and `arrived`."""

    host: ClassVar[str] = ""
    """The host the connector dials on the simulated network; the cases of a bad network need it."""
    tags: ClassVar[tuple[str, ...]] = ("line1/a", "line1/b", "line1/c")
    """Tags of the samples written; at least two."""
    dials: ClassVar[bool] = True
    """False if the connector listens at `host` and others dial it: nobody can then be found away."""
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

    def is_the_devices(self, task: "asyncio.Task[Any]") -> bool:
        """Whether a task belongs to the simulated far end, which may keep it after the connector has gone."""
        return False

    # How the cases are done.

    async def nothing_left(self, before: "set[asyncio.Task[Any]]") -> None:
        """Every task but those of `before` has ended, and every connection is closed."""
        await asyncio.sleep(10.0)
        left = [task for task in running().unfinished() if task not in before and not self.is_the_devices(task)]
        assert not left, "left behind: " + "; ".join(map(where_is, left))
        if self.host:
            assert running().network.connections(self.host) == 0, "a connection was left open"

    async def deliver(self, connector: Connector[Any], batches: Sequence[Batch], luck: random.Random) -> None:
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

    def all_there(self, there: Sequence[Sample], count: int) -> None:
        """The readings 0 to `count` have arrived."""
        values = {sample.value for sample in there if isinstance(sample.value, float)}
        missing = {float(number) for number in range(count)} - values
        assert not missing, f"accepted, and not there: {sorted(missing)[:5]}"

    def in_order(self, there: Sequence[Sample]) -> None:
        """No new reading of a tag came after a newer one; a repeat may."""
        newest: defaultdict[str, float] = defaultdict(lambda: -1.0)
        seen: set[tuple[str, Value]] = set()
        for sample in there:
            if (sample.tag, sample.value) in seen:
                continue  # a repeat: harmless
            assert isinstance(sample.value, float)
            seen.add((sample.tag, sample.value))
            assert sample.value > newest[sample.tag], f"{sample.tag} arrived out of order"
            newest[sample.tag] = sample.value
