import asyncio

import pytest

from plantgate.flow.pump import pump
from plantgate.flow.stop import Stop
from plantgate.sdk import Batch, Exhausted, Sample, Unavailable


class Script:
    """A device that gives its batches in order and remembers what it may forget."""

    def __init__(self, count: int) -> None:
        self.batches = [Batch.of([Sample("t", n, 0, n)], cursor=str(n)) for n in range(count)]
        self.acknowledged: list[str] = []

    async def read(self) -> Batch:
        if not self.batches:
            raise Exhausted("that was all")
        return self.batches.pop(0)

    async def ack(self, cursor: str) -> None:
        self.acknowledged.append(cursor)


def test_what_was_accepted_is_acknowledged_in_order() -> None:
    source = Script(3)
    taken: list[object] = []

    async def accept(batch: Batch) -> None:
        assert len(source.acknowledged) == len(taken)
        taken.append(batch.values[0])

    asyncio.run(pump(source, accept, stop=Stop()))
    assert taken == [0, 1, 2]
    assert source.acknowledged == ["0", "1", "2"]


def test_what_was_not_accepted_is_not_acknowledged() -> None:
    source = Script(2)

    async def accept(batch: Batch) -> None:
        raise Unavailable("full")

    with pytest.raises(Unavailable):
        asyncio.run(pump(source, accept, stop=Stop()))
    assert source.acknowledged == []


def test_a_stop_finishes_the_batch_in_hand() -> None:
    source, stop = Script(5), Stop()

    async def accept(batch: Batch) -> None:
        stop.set()
        await asyncio.sleep(0)

    asyncio.run(pump(source, accept, stop=stop))
    assert source.acknowledged == ["0"]
