"""The loop that joins any source to any acceptor."""

from plantgate.flow.stop import Stop
from plantgate.sdk import Accept, Exhausted, Source


async def pump(source: Source, accept: Accept, *, stop: Stop) -> None:
    """Read, have it accepted, acknowledge; in that order, one batch at a time, so order is free and nothing is lost.

    Returns when the source is exhausted or when asked to stop; a batch in hand is finished first.
    Whatever `accept` raises ends the session: the batch was not acknowledged, so the next session gives it again.
    """
    while True:
        try:
            batch = await stop.unless(source.read)
        except Exhausted:
            return
        if batch is None:
            return
        await accept(batch)
        await source.ack(batch.cursor)
