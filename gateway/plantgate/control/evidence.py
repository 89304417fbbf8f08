"""The pictures behind decisions, kept in the vault, so that an inspector can look at them years later.

The entry commits to a picture before anything is written; the picture itself follows on the disk, beside the express
lane. A crash in between leaves a commitment to a picture that is not there, which the vault then says.
"""

import asyncio
from functools import partial
from typing import Final

from plantgate.audit.vault import Promised, Vault, promised
from plantgate.control.png import png
from plantgate.flow.stop import Stop
from plantgate.sdk import Clock, Frame, GatewayError, Log, OneThread, iso

_WAITING_MAX: Final = 8
"""Pictures on their way to the disk; while there are more, no further one is kept."""
_SUBJECT: Final = "pictures:"
"""And the day, UTC: `plantgate audit erase` takes pictures a day at a time."""


class Evidence:
    """Promises pictures to entries, and keeps them."""

    def __init__(self, vault: Vault, used: int, bytes_max: int, clock: Clock, log: Log) -> None:
        """`used`: bytes in the vault now; `bytes_max`: what it may hold, beyond which no picture is kept."""
        self._vault, self._used, self._bytes_max = vault, used, bytes_max
        self._clock, self._log = clock, log
        self._waiting: asyncio.Queue[Promised] = asyncio.Queue(_WAITING_MAX)
        self._refusing = ""

    async def promise(self, frame: Frame) -> Promised | None:
        """What an entry may say of a picture; None where it will not be kept, which is told once. `redeem` it."""
        why = self._why_not(frame.pixels.nbytes)
        if why != self._refusing:
            self._refusing = why
            if why:
                self._log.error("pictures behind decisions are not kept any more", reason=why)
            else:
                self._log.info("pictures behind decisions are kept again")
        if why:
            return None
        # On a thread: of a large picture the digest takes its time. Not packed: that would take ten times as long.
        return await asyncio.to_thread(lambda: promised("picture", png(frame.pixels, level=0)))

    async def redeem(self, promise: Promised) -> None:
        """Have it kept: after the decision, so that the disk has written the intent before it gets the picture."""
        await self._waiting.put(promise)

    async def keep(self, stop: Stop) -> None:
        """Until asked to stop, and then until what was promised is on the disk."""
        with OneThread("evidence") as thread:
            while not stop.is_set() or not self._waiting.empty():
                promise = await stop.unless(self._waiting.get) if self._waiting.empty() else self._waiting.get_nowait()
                if promise is not None:
                    await self._store(thread, promise)

    async def _store(self, thread: OneThread, promise: Promised) -> None:
        subject = _SUBJECT + (iso(self._clock.now()) or "")[:10]
        try:
            await thread.do(partial(self._vault.keep, subject, promise))
        except (GatewayError, OSError) as error:
            self._log.error(
                "a picture that an entry commits to could not be kept",
                commitment=promise.payload.commitment,
                reason=str(error),
            )
        else:
            self._used += promise.payload.size

    def _why_not(self, size: int) -> str:
        if self._used + size > self._bytes_max:
            return f"the vault has its {self._bytes_max} bytes (bytes_max); erase days that nobody needs any more"
        return "the disk does not keep up" if self._waiting.full() else ""
