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
from plantgate.sdk import Clock, Frame, GatewayError, Log, OneThread, Rejected, iso

_PROMISED_MAX: Final = 8
"""Pictures on their way to the disk; while there are more, no further one is kept."""
_TOO_LATE: Final = "the gateway had to end before the disk took it"
_SUBJECT: Final = "pictures:"
"""And the day, UTC: `plantgate audit erase` takes pictures a day at a time."""


class Evidence:
    """Promises pictures to entries, and keeps them."""

    def __init__(self, vault: Vault, used: int, bytes_max: int, clock: Clock, log: Log) -> None:
        """`used`: bytes in the vault now; `bytes_max`: what it may hold, beyond which no picture is kept."""
        self._vault, self._used, self._bytes_max = vault, used, bytes_max
        self._clock, self._log = clock, log
        self._waiting: asyncio.Queue[tuple[str, Promised]] = asyncio.Queue()
        """What is to be kept, each under its subject."""
        self._promised = 0
        """Pictures that are not on the disk yet."""
        self._refusing = ""
        self._thread = OneThread("pictures")
        """Not one of those that all share: there, look-ups of names may hang."""

    async def promise(self, frame: Frame) -> Promised | None:
        """What an entry may say of a picture; None where it will not be kept, which is told once. `redeem` it."""
        promise, why = None, self._why_not(frame.pixels.nbytes)
        if not why:
            try:
                promise = await self._made(frame)
            except Rejected as error:
                why = str(error)
        if why != self._refusing:
            self._refusing = why
            if why:
                self._log.error("pictures behind decisions are not kept any more", reason=why)
            else:
                self._log.info("pictures behind decisions are kept again")
        return promise

    def redeem(self, promise: Promised) -> None:
        """Have it kept: after the decision, so that the disk has written the intent before it gets the picture."""
        self._waiting.put_nowait((_SUBJECT + (iso(self._clock.now()) or "")[:10], promise))

    async def _made(self, frame: Frame) -> Promised:
        """On a thread: of a large picture the digest takes its time. Not packed: that would take ten times as long."""
        size = frame.pixels.nbytes
        self._promised, self._used = self._promised + 1, self._used + size  # now: others may be promised meanwhile
        try:
            promise = await self._thread.do(lambda: promised("picture", png(frame.pixels, level=0)))
        except BaseException:
            self._promised, self._used = self._promised - 1, self._used - size
            raise
        self._used += promise.payload.size - size
        return promise

    async def keep(self, stop: Stop) -> None:
        """Until asked to stop, and then until what was promised is on the disk."""
        waiting = self._waiting
        with OneThread("evidence") as thread, self._thread:
            try:
                while not stop.is_set() or not waiting.empty():
                    kept = await stop.unless(waiting.get) if waiting.empty() else waiting.get_nowait()
                    if kept is not None:
                        await self._store(thread, *kept)
            finally:
                while not waiting.empty():
                    _, promise = waiting.get_nowait()
                    self._missing(promise, _TOO_LATE)

    async def _store(self, thread: OneThread, subject: str, promise: Promised) -> None:
        try:
            await thread.do(partial(self._vault.keep, subject, promise))
        except (GatewayError, OSError) as error:
            self._missing(promise, str(error))
            self._used -= promise.payload.size
        except asyncio.CancelledError:
            self._missing(promise, _TOO_LATE)
            raise
        finally:
            self._promised -= 1

    def _missing(self, promise: Promised, reason: str) -> None:
        commitment = promise.payload.commitment
        self._log.error("a picture that an entry commits to could not be kept", commitment=commitment, reason=reason)

    def _why_not(self, size: int) -> str:
        if self._used + size > self._bytes_max:
            return f"the vault has its {self._bytes_max} bytes (bytes_max); erase days that nobody needs any more"
        return "the disk does not keep up" if self._promised >= _PROMISED_MAX else ""
