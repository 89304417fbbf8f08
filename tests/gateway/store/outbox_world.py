"""A producer, destinations that fail, limits, and a machine that loses power: what an outbox must survive, by seed."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from plantgate.sdk import Batch, Gap, Sample, Unavailable
from plantgate.store.limits import Limits, WhenFull
from plantgate.store.outbox import Outbox
from plantgate.store.writer import JournalFailed
from plantgate.testing.disk import PowerCut, SimulatedDisk
from plantgate.testing.simloop import simulate

HERE = Path("/outbox")
TAGS = [f"line/tag{n}" for n in range(12)]
SECOND = 1_000_000_000


class Ticking:
    """A wall clock that goes on from one life to the next."""

    def __init__(self) -> None:
        self.offset = 0

    def now(self) -> int:
        return time.time_ns() + self.offset


@dataclass
class Seen:
    """What one destination has got, over all lives."""

    samples: set[int] = field(default_factory=set)
    newest: dict[str, int] = field(default_factory=dict)
    numbers: dict[tuple[str, int], int] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    """Of batches that were confirmed."""
    source_gaps: set[str] = field(default_factory=set)


@dataclass
class World:
    """The state of the world outside the outbox, and the promises checked against it."""

    seed: int
    exact: bool = False
    """Only clean ends, and sinks that fail before they take anything: then every figure is known to the sample."""
    lives: int = 4

    def __post_init__(self) -> None:
        self.luck = random.Random(f"world {self.seed}")
        self.disk = SimulatedDisk(seed=self.seed)
        self.clock = Ticking()
        self.limits = Limits(
            bytes_max=self.luck.choice((64, 96, 256)) * 1024,
            age_max_seconds=self.luck.choice((None, None, 3.0)),
            when_full=self.luck.choice(list(WhenFull)),
            batch_samples_max=self.luck.choice((1, 7, 40)),
        )
        self.names = ["alpha", "beta"][: self.luck.randrange(1, 3)]
        self.next = 0
        self.over = False
        self.made: dict[int, Sample] = {}
        self.accepted: set[int] = set()
        self.doubtful: set[int] = set()
        self.accepted_gaps: set[str] = set()
        self.seen = {name: Seen() for name in self.names}

    def run(self) -> None:
        for life in range(self.lives):
            self._live(life)
        self.disk.cut_after = None
        simulate(self._drain, seed=f"{self.seed}/last")
        for name in self.names:
            self._check_end(name)

    # Lives.

    def _live(self, life: int) -> None:
        end = "clean" if self.exact else self.luck.choice(("clean", "cut", "cut", "kill"))
        seconds = self.luck.choice((0.3, 1.0, 6.0))
        if end == "cut":
            self.disk.cut_after = self.disk.calls + self.luck.choice(
                (self.luck.randrange(40), self.luck.randrange(900))
            )
        started = 0
        self.over = False

        async def main() -> None:
            nonlocal started
            started = time.time_ns()
            try:
                async with await self._open() as outbox:
                    try:
                        late = 60.0 if self.exact else 0.0  # time for what was begun to end
                        async with asyncio.timeout(seconds + late), asyncio.TaskGroup() as group:
                            tasks = [group.create_task(self._consume(outbox, name)) for name in self.names]
                            await self._produce(outbox, asyncio.get_running_loop().time() + seconds)
                            self.over = True
                            for task in tasks:
                                if not self.exact:
                                    task.cancel()
                    except TimeoutError:
                        pass
                    finally:
                        self.clock.offset += time.time_ns() - started
                        started = time.time_ns()
                    if end == "kill":
                        self.disk = self.disk.restart()
            except* (PowerCut, JournalFailed):
                assert end != "clean"

        simulate(main, seed=f"{self.seed}/{life}")
        if end == "cut":
            self.disk = self.disk.power_cut(f"{self.seed}/{life}")
        self.disk.cut_after = None

    async def _open(self) -> Outbox:
        return await Outbox.open(HERE, self.names, limits=self.limits, disk=self.disk, clock=self.clock)

    async def _produce(self, outbox: Outbox, until: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            await asyncio.sleep(self.luck.choice((0.0, 0.01, 0.05)))
            batch, numbers = self._make()
            self.doubtful |= numbers
            while True:
                try:
                    await outbox.accept(batch)
                    break
                except Unavailable:
                    assert self.limits.when_full is WhenFull.BLOCK
                    await asyncio.sleep(0.05)
                    if loop.time() > until:
                        return
            self.doubtful -= numbers
            self.accepted |= numbers
            self.accepted_gaps |= {gap.cause for gap in batch.gaps}
            self._check_balance(outbox)

    def _make(self) -> tuple[Batch, set[int]]:
        samples = []
        numbers = set()
        for _ in range(self.luck.randrange(1, 12)):
            number = self.next
            self.next += 1
            sample = Sample(self.luck.choice(TAGS), f"{number} " + "." * self.luck.randrange(900), number % 3, number)
            self.made[number] = sample
            samples.append(sample)
            numbers.add(number)
        gaps = (Gap((TAGS[0],), None, None, f"source {self.next}", 1),) if self.luck.random() < 0.03 else ()
        return Batch.of(samples, gaps=gaps), numbers

    async def _consume(self, outbox: Outbox, name: str) -> None:
        """Sessions that end in every way a session can."""
        slow = self.luck.choice((0.0, 0.02, 0.3))
        while not self.over:
            if self.luck.random() < 0.1:
                await asyncio.sleep(self.luck.choice((0.5, 4.0)))
            await self._session(outbox, name, slow)
            self._check_balance(outbox)

    async def _session(self, outbox: Outbox, name: str, slow: float) -> None:
        reader = outbox.reader(name)
        last_position: dict[str, int] = {}
        while self.luck.random() < 0.97 and not self.over:
            try:
                async with asyncio.timeout(self.luck.choice((0.5, 0.001, 0.02))):
                    batch = await reader.read()
            except TimeoutError:
                continue
            assert batch.position >= last_position.get(batch.origin, 0), "order within a session"
            last_position[batch.origin] = batch.position + len(batch)
            await asyncio.sleep(self.luck.uniform(0, slow))
            if self.luck.random() < 0.03:
                return
            self._take(name, batch)
            if not self.exact and self.luck.random() < 0.03:
                return
            await reader.ack(batch.cursor)
            self.seen[name].gaps += batch.gaps
            self._check_balance(outbox)

    async def _drain(self) -> None:
        async with await self._open() as outbox:
            for name in self.names:
                reader = outbox.reader(name)
                while outbox.balance()[name].queued or self._owed(outbox, name):
                    batch = await reader.read()
                    self._take(name, batch)
                    await reader.ack(batch.cursor)
                    self.seen[name].gaps += batch.gaps
                    self._check_balance(outbox)
            self.final = dict(outbox.balance())

    @staticmethod
    def _owed(outbox: Outbox, name: str) -> bool:
        destination = outbox._all[name]
        return len(destination.gaps) > destination.gaps_told

    # Promises.

    def _check_balance(self, outbox: Outbox) -> None:
        for name, balance in outbox.balance().items():
            assert balance.difference == 0, f"{name}: {balance}"
            assert min(balance.delivered, balance.queued, balance.dropped) >= 0, f"{name}: {balance}"

    def _take(self, name: str, batch: Batch) -> None:
        seen = self.seen[name]
        for index, sample in enumerate(batch):
            assert isinstance(sample.value, str)
            number = int(sample.value.split()[0])
            assert sample == self.made[number], "a sample is what it was"
            assert seen.numbers.setdefault((batch.origin, batch.position + index), number) == number, "numbers are kept"
            if number not in seen.samples:
                assert seen.newest.get(sample.tag, -1) < number, f"{name}: {sample.tag} out of order"
                seen.newest[sample.tag] = number
                seen.samples.add(number)

    def _check_end(self, name: str) -> None:
        seen, final = self.seen[name], self.final[name]
        missing = self.accepted - seen.samples
        dropped_gaps = [gap for gap in seen.gaps if not gap.cause.startswith("source")]
        told = sum(gap.lost or 0 for gap in dropped_gaps)
        assert len(missing) <= told, f"{name}: {len(missing)} samples are missing, {told} named"
        assert len(missing) <= final.dropped
        tags = {tag for gap in dropped_gaps for tag in gap.tags}
        assert {self.made[number].tag for number in missing} <= tags
        assert self.accepted_gaps <= {gap.cause for gap in seen.gaps}, "the source's own gaps arrive"
        assert final.queued == 0
        if self.limits.when_full is WhenFull.BLOCK and self.limits.age_max_seconds is None:
            assert not missing
            assert not told
        if self.exact:
            assert len(missing) == told == final.dropped, (len(missing), told, final)
            assert final.accepted == len(self.accepted)
            assert final.delivered == len(seen.samples)
