"""The source: data packages of one connection as batches, until it is gone; the next one says what was missed."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from plantgate.sdk import Batch, Context, Cursor
from plantgate.sdk.quality import GOOD
from plantgate_connectors.ur.backlog import Backlog
from plantgate_connectors.ur.columns import Columns, columns
from plantgate_connectors.ur.continuity import Continuity
from plantgate_connectors.ur.frames import Malformed
from plantgate_connectors.ur.granted import advice, granted
from plantgate_connectors.ur.link import Link, connected, reachable
from plantgate_connectors.ur.polled import Polled
from plantgate_connectors.ur.quality import BAD_CONFIGURATION, BAD_NO_COMMUNICATION
from plantgate_connectors.ur.recipe import Held
from plantgate_connectors.ur.settings import UrSettings
from plantgate_connectors.ur.watching import beside

_SILENT_PERIODS: Final = 3


class Reading:
    """What outlives the sessions of one use: batches nobody acknowledged yet, and the account of what is missing."""

    def __init__(self, settings: UrSettings, context: Context) -> None:
        self.settings, self.context = settings, context
        self._began = context.folder / "read"
        resumed = self._began.exists()
        self._noted = resumed
        self.backlog = Backlog(settings.buffer_samples_max)
        self.continuity = Continuity(1 / settings.frequency_hz, resumed)
        self.polled = None
        if settings.dashboard is not None:
            self.polled = Polled(settings, context, self.backlog, resumed=resumed)
        self.heard_at = 0.0
        self._columns: Columns | None = None
        self._refused: tuple[str, ...] = ()
        self._live = False

    @property
    def silence_seconds(self) -> float:
        """So long without a package, and the connection is given up."""
        return max(self.settings.silence_seconds, _SILENT_PERIODS * self.continuity.period_seconds)

    def note(self) -> None:
        """Some of it is safe: a later run of the gateway must know that it was read."""
        if not self._noted:
            self._noted = True
            with contextlib.suppress(OSError):
                self._began.touch()

    async def begin(self, link: Link) -> None:
        """Agree with the controller and let it send. Raises `Unavailable`."""
        settings, standing = self.settings, self.context.standing
        version = await link.agree(settings.connect_seconds)
        frequency = reachable(settings.frequency_hz, version)
        if frequency < settings.frequency_hz:
            self.context.log.warning(
                "the controller is slower than asked", asked_hz=settings.frequency_hz, granted_hz=frequency
            )
        fields = [output.field for output in settings.outputs]
        recipe, missing = await granted(link, fields, frequency, settings.connect_seconds)
        self.continuity.period_seconds = 1 / frequency
        self._columns = found = columns(settings.outputs, recipe)
        if found.refused != self._refused:
            for field in missing:
                self.context.log.warning("the controller has no such field", field=field, do=advice(field))
        self._tell_refused(found.refused)
        others = 0 if self.polled is None else len(self.polled.tags)
        standing.desired = len(found.tags) + len(found.refused) + others
        standing.monitored = len(found.tags) + others
        self.heard_at = asyncio.get_running_loop().time()
        await link.start(settings.connect_seconds)
        standing.up(controller=str(version), frequency_hz=frequency)

    def heard(self, package: Sequence[Held]) -> None:
        """A data package, the controller's seconds first. Raises `Malformed`."""
        seconds, found = package[0], self._columns
        assert found is not None, "no package comes before the recipe"
        if not isinstance(seconds, float) or not math.isfinite(seconds):
            raise Malformed(f"a time stamp of {seconds}")
        self.heard_at = asyncio.get_running_loop().time()
        if not found.tags:
            return
        if self.backlog.full:
            self.continuity.dropped()
            self.context.standing.count("packages_let_go")
            return
        gaps = self.continuity.arrived(seconds, self.heard_at, found.tags)
        count = len(found.tags)
        self._put(Batch([*found.tags], found.values(package), [GOOD] * count, [None] * count, gaps=gaps))
        if not self._live:
            self._live = True
            self.context.standing.live = self.context.standing.monitored

    def over(self, reason: str) -> None:
        """The connection is gone: every tag is bad from here on, and the session ends when that was read."""
        if self._live and self._columns is not None:
            self._live = False
            self._bad(self._columns.tags, BAD_NO_COMMUNICATION)
        self.left()
        self.backlog.session_ends(reason)

    def left(self) -> None:
        """Nobody listens until the next session."""
        self.continuity.session_lost()
        if self.polled is not None:
            self.polled.session_lost()

    def _tell_refused(self, tags: tuple[str, ...]) -> None:
        fresh = tuple(tag for tag in tags if tag not in self._refused)
        self._refused = tags
        if fresh:
            self._bad(fresh, BAD_CONFIGURATION)

    def _bad(self, tags: tuple[str, ...], quality: int) -> None:
        count = len(tags)
        self._put(Batch([*tags], [None] * count, [quality] * count, [None] * count))

    def _put(self, batch: Batch) -> None:
        batch.received = self.context.clock.now()
        self.backlog.put(batch)


class UrSource:
    """Gives what the robot sent, merged, in order per tag."""

    def __init__(self, backlog: Backlog, note: Callable[[], None]) -> None:
        self._backlog, self._note = backlog, note

    async def read(self) -> Batch:
        """One or several whole data packages. Raises `Unavailable` when the connection is gone and all was given."""
        return await self._backlog.take()

    async def ack(self, cursor: Cursor) -> None:
        """Forget them here; the robot remembers nothing."""
        self._backlog.acknowledge(cursor)
        self._note()


@asynccontextmanager
async def ur_source(reading: Reading) -> AsyncIterator[UrSource]:
    """A session. Entering connects, or raises `Unavailable`."""
    settings, context = reading.settings, reading.context
    reading.backlog.session_begins()
    link = await connected(settings.host, settings.rtde_port, context.log, reading.heard, settings.connect_seconds)
    try:
        await reading.begin(link)
        work = {f"{context.connection}: {link.name}": _until_gone(reading, link)}
        if reading.polled is not None:
            work[f"{context.connection}: dashboard"] = reading.polled.keep_asking()
        async with beside(work):
            yield UrSource(reading.backlog, reading.note)
    finally:
        link.end("closed")
        reading.left()


async def _until_gone(reading: Reading, link: Link) -> None:
    await link.heard_within(reading.silence_seconds, lambda: reading.heard_at)
    reading.over(link.gone.result())
