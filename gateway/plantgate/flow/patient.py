"""Stands between a pump and an acceptor that is sometimes full."""

from plantgate.flow.stop import Stop
from plantgate.sdk import Accept, Backoff, Batch, Unavailable


def patient(accept: Accept, *, backoff: Backoff, stop: Stop) -> Accept:
    """Wait out `Unavailable`, let everything else through. The wait is the backpressure that reaches the device.

    Asked to stop, it raises what it was waiting out: the batch stays the caller's.
    """

    async def accept_patiently(batch: Batch) -> None:
        attempt = 0
        while True:
            try:
                return await accept(batch)
            except Unavailable as error:
                pause = max(backoff.delay(attempt), error.retry_after_seconds or 0.0)
                if await stop.sleep(pause):
                    raise
                attempt += 1

    return accept_patiently
