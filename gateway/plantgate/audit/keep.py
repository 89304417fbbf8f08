"""Keeps a log public by itself: publishes soon, says every minute that it is there, and has witnesses sign behind it.

Nothing here waits for a witness: one that is away is asked again, with whatever is newest then.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.cosign import WitnessDisagrees
from plantgate.audit.entry import FORMAT, Entry, Kind, Phase, Who, new_id
from plantgate.audit.log import AuditLog
from plantgate.audit.note import BadNote, Note
from plantgate.audit.tiles import WIDTH, Unreadable
from plantgate.audit.tree import Node
from plantgate.flow.stop import Stop
from plantgate.sdk.backoff import Backoff
from plantgate.sdk.clock import Clock, iso
from plantgate.sdk.errors import Unavailable
from plantgate.sdk.standing import Log
from plantgate.store.writer import DiskFull

PUBLISH_SECONDS: Final = 1.0
"""The longest that an entry waits to become public."""
PUBLISH_ENTRIES: Final = WIDTH
"""So many that wait are published at once."""
HEARTBEAT_SECONDS: Final = 60.0
FULL_SECONDS: Final = 5.0
"""Until a log that took nothing is asked again."""
_LOOK_SECONDS: Final = 2.0
"""For witnesses that are there to say what they have seen, before anything is signed."""
_GOODBYE_SECONDS: Final = 2.0
"""For witnesses that are there to sign what is published last."""
_AGAIN: Final = Backoff(first_seconds=1.0, most_seconds=60.0)


class Cosigns(Protocol):
    """A witness, as `plantgate.audit.cosign.Cosigner` is one."""

    @property
    def name(self) -> str:
        """For the log lines."""
        ...

    async def cosign(self, note: Note, node: Node) -> Note:
        """The note with its signature. Raises `Unavailable`, `WitnessDisagrees`, `BadNote`."""
        ...

    async def last(self, origin: str) -> Note | None:
        """What it signed last of this log. Raises `Unavailable`, `BadNote`."""
        ...


async def keep_public(
    audit: AuditLog, witnesses: Sequence[Cosigns], *, stop: Stop, clock: Clock, log: Log, gateway: str
) -> None:
    """Until asked to stop; what was appended by then is public on return, and signed by the witnesses that were quick.

    A heartbeat at the start and every minute, by `gateway`, names the checkpoint before it: so silence is told from
    entries taken away. Before it, what stands in the reserve is taken into the log. A log that takes nothing since the
    disk is full is told once, and once when it takes entries again; what it has is published meanwhile.
    Before anything is signed, witnesses are asked what they have of this log, for a few seconds at most: what it has
    signed itself and does not know proves that it is an older copy.
    Raises `Inconsistent` and `JournalFailed`, after which the log must be opened again; `Unavailable` where nothing can
    be published for now.
    """
    public = _Public()
    try:
        async with asyncio.TaskGroup() as group:  # before anything is signed: this may be an older copy
            for witness in witnesses:
                group.create_task(_within(_LOOK_SECONDS, _heed(audit, witness)))
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(_ask(witness, audit, public, stop, log)) for witness in witnesses]
            await _publish(audit, public, stop, _Heart(audit, clock, log, gateway))
            if asking:
                _, late = await asyncio.wait(asking, timeout=_GOODBYE_SECONDS)
                for task in late:
                    task.cancel()
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None  # each is told apart by whoever opens the next session


async def _heed(audit: AuditLog, witness: Cosigns) -> None:
    """Raises `Inconsistent` where the witness has what we have signed and do not know; away, it holds up nothing."""
    with suppress(Unavailable, BadNote):
        if (note := await witness.last(audit.origin)) is not None:
            await audit.heed(note)


async def _publish(audit: AuditLog, public: "_Public", stop: Stop, heart: "_Heart") -> None:
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        if loop.time() >= heart.due:
            await heart.beat()
        done = audit.published.size if audit.published else 0
        await stop.unless(lambda: _within(heart.due - loop.time(), audit.reached(done + 1)))  # noqa: B023  awaited here
        if audit.size == done:
            continue
        await stop.unless(lambda: _within(PUBLISH_SECONDS, audit.reached(done + PUBLISH_ENTRIES)))  # noqa: B023
        await public.show(await _published(audit))
    await public.close()


@dataclass(slots=True)
class _Heart:
    """Writes heartbeats, and before each what stands in the reserve."""

    audit: AuditLog
    clock: Clock
    log: Log
    gateway: str
    due: float = 0.0
    """When the next one is, by the loop's clock."""
    full: bool = False

    async def beat(self) -> None:
        """Raises what `AuditLog.append` does, but for a full disk, which is told and tried again sooner."""
        try:
            late = await self.audit.backfill()
            await self.audit.append(_heartbeat(self.audit.published, self.clock, self.gateway))
        except DiskFull as error:
            if not self.full:
                self.log.error("the audit log takes nothing: what is automatic may not act", reason=str(error))
            self.full = True
        else:
            if self.full or late:
                self.log.info("the audit log takes entries again", late=late)
            self.full = False
        self.due = asyncio.get_running_loop().time() + (FULL_SECONDS if self.full else HEARTBEAT_SECONDS)


async def _published(audit: AuditLog) -> Note | None:
    try:
        return await audit.publish()
    except OSError as error:
        raise Unavailable(
            f"the audit log cannot be published: {error.filename}: {error.strerror}; entries are still taken"
        ) from error


async def _within(seconds: float, waiting: Coroutine[Any, Any, None]) -> None:
    """Wait for it, but no longer than that."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await waiting
    except TimeoutError:
        return


async def _ask(witness: Cosigns, audit: AuditLog, public: "_Public", stop: Stop, log: Log) -> None:
    """Have one witness sign every newest checkpoint; says once when it goes and once when it returns."""
    asked, failed = "", 0
    while (note := await public.newer(asked)) is not None:
        try:
            signed = await witness.cosign(note, audit.node(Checkpoint.parse(note.text).size))
        except (Unavailable, WitnessDisagrees, BadNote, Unreadable) as error:
            if not failed and isinstance(error, Unavailable):
                log.warning("witness away, going on without it", witness=witness.name, reason=str(error))
            elif not failed:
                log.error("witness did not sign, a person must look", witness=witness.name, reason=str(error))
            failed += 1
            if isinstance(error, WitnessDisagrees):
                await _heed(audit, witness)
            if await stop.sleep(_AGAIN.delay(failed - 1)):
                return
            continue
        if failed:
            log.info("witness signs again", witness=witness.name)
        asked, failed = note.text, 0
        await public.sign(audit, signed)


class _Public:
    """The newest checkpoint, with the signatures that came."""

    def __init__(self) -> None:
        self._note: Note | None = None
        self._closed = False
        self._news = asyncio.Condition()

    async def show(self, note: Note | None) -> None:
        """There is a newer one; None changes nothing."""
        async with self._news:
            self._note = note or self._note
            self._news.notify_all()

    async def close(self) -> None:
        """There will be none behind this one."""
        async with self._news:
            self._closed = True
            self._news.notify_all()

    async def newer(self, text: str) -> Note | None:
        """One that says something else; waits for it. None where there will be none."""
        async with self._news:
            await self._news.wait_for(lambda: self._closed or (self._note is not None and self._note.text != text))
            return self._note if self._note is not None and self._note.text != text else None

    async def sign(self, audit: AuditLog, signed: Note) -> None:
        """Put a witness' signature below it, unless a newer one has taken its place."""
        if self._note is not None and self._note.text == signed.text:
            self._note = self._note.signed(*signed.signatures)
            await audit.witnessed(self._note)


def _heartbeat(last: Checkpoint | None, clock: Clock, gateway: str) -> Entry:
    now = clock.now()
    said = {"size": str(last.size), "checkpoint": f"sha256:{sha256(str(last).encode()).hexdigest()}"} if last else {}
    return Entry(
        v=FORMAT,
        id=new_id(now),
        kind=Kind.HEARTBEAT,
        phase=Phase.OBSERVED,
        time=iso(now) or "",
        who=Who(kind="gateway", id=gateway),
        details=said,
    )
