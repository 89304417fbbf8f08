import asyncio

import pytest

from plantgate.flow.patient import patient
from plantgate.flow.stop import Stop
from plantgate.sdk import Backoff, Batch, Rejected, Unavailable

SOON = Backoff(first_seconds=0.001, most_seconds=0.001)


def test_unavailable_is_waited_out() -> None:
    answers: list[Exception | None] = [Unavailable("full"), Unavailable("full"), None]

    async def accept(batch: Batch) -> None:
        if answer := answers.pop(0):
            raise answer

    asyncio.run(patient(accept, backoff=SOON, stop=Stop())(Batch.empty()))
    assert answers == []


def test_rejected_passes_through() -> None:
    async def accept(batch: Batch) -> None:
        raise Rejected("never")

    with pytest.raises(Rejected):
        asyncio.run(patient(accept, backoff=SOON, stop=Stop())(Batch.empty()))


def test_asked_to_stop_it_gives_the_batch_back() -> None:
    stop = Stop()

    async def accept(batch: Batch) -> None:
        stop.set()
        raise Unavailable("full", retry_after_seconds=3600)

    with pytest.raises(Unavailable):
        asyncio.run(patient(accept, backoff=SOON, stop=stop)(Batch.empty()))
