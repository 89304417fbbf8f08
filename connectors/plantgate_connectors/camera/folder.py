"""A camera whose pictures are files: new ones as they appear, or those that are there, once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from plantgate.sdk import Exhausted, Frame, OneThread, Unavailable
from plantgate_connectors.camera.found import State, listed, read, template
from plantgate_connectors.camera.picture import Unreadable
from plantgate_connectors.camera.settings import Folder, Take
from plantgate_connectors.camera.sight import Sight

_AWAY_SECONDS: Final = 0.02
"""Who looks later than `poll_ms` asks for, by no more than this, was not away."""


@dataclass(slots=True)
class Known:
    """What has been looked at, kept from session to session; of what has left the folder nothing is kept."""

    done: dict[str, State] | None = None
    """Given, skipped or refused; None before the first look."""
    since: dict[str, "Since"] = field(default_factory=dict)
    """What was not given yet."""
    looked: float = 0.0
    """When the folder was last looked at, on the loop's clock."""


@dataclass(frozen=True, slots=True)
class Since:
    """How a file was found, and when, on the loop's clock."""

    state: State
    found: float
    unseen: float
    """For so many seconds it may have been there before, while nobody looked."""


class FolderCamera:
    """A `plantgate.sdk.Camera`."""

    def __init__(self, folder: Folder, known: Known, sight: Sight, thread: OneThread) -> None:
        self._folder, self._known, self._sight, self._thread = folder, known, sight, thread

    async def frame(self) -> Frame:
        """The next picture. Raises `Unavailable` when the folder is gone, `Exhausted` when all were given once."""
        while True:
            await self.look()
            nothing_new = not self._known.since
            settled = self._settled()
            if settled and self._folder.take is Take.NEWEST:
                self._skip(settled[:-1])
                settled = settled[-1:]
            for name, since in settled:
                if (frame := await self._read(name, since)) is not None:
                    return frame
            if self._folder.take is Take.ONCE and nothing_new:
                raise Exhausted(f"{self._folder.path}: all pictures were given")
            await asyncio.sleep(self._folder.poll_ms / 1000)

    async def look(self) -> None:
        """Note what is there and not done. Raises `Unavailable`."""
        known, clock = self._known, asyncio.get_running_loop().time
        begin = clock()
        try:
            found = await self._thread.do(lambda: listed(self._folder))
        except OSError as error:
            raise Unavailable(f"{self._folder.path}: cannot be looked at: {error.strerror}") from error
        if known.done is None:
            known.done = {} if self._folder.take is Take.ONCE else found
        known.done = {name: state for name, state in known.done.items() if name in found}
        now, before = clock(), known.since
        away = now - known.looked - self._folder.poll_ms / 1000
        unseen = away if away > _AWAY_SECONDS else 0.0
        known.looked = begin
        known.since = {
            name: before[name] if name in before and before[name].state == state else Since(state, now, unseen)
            for name, state in found.items()
            if known.done.get(name) != state
        }

    def _settled(self) -> list[tuple[str, Since]]:
        """Those that have stayed as they are, first to last."""
        long_ago = asyncio.get_running_loop().time() - self._folder.settle_ms / 1000
        return [(name, since) for name, since in self._known.since.items() if since.found <= long_ago]

    def _skip(self, behind: list[tuple[str, Since]]) -> None:
        for name, since in behind:
            self._done(name, since.state)
        self._sight.skipped(len(behind))

    def _age_from(self, since: Since) -> float:
        """From when a picture's age counts. One that was there before anybody looked has none yet."""
        if self._folder.take is Take.ONCE:
            return asyncio.get_running_loop().time()
        return since.found + self._folder.settle_ms / 1000 - since.unseen

    async def _read(self, name: str, since: Since) -> Frame | None:
        """None where it cannot be read, or has changed meanwhile: then it has to settle anew."""
        at, state = self._age_from(since), since.state

        def work() -> memoryview | None:
            packed = read(self._folder, name, state)
            return None if packed is None else self._sight.unpack(packed)

        try:
            pixels = await self._thread.do(work)
        except Unreadable as error:
            self._done(name, state)
            self._sight.unreadable(name, str(error))
            return None
        if pixels is None:
            self._known.since.pop(name, None)
            return None
        self._done(name, state)
        return self._sight.frame(name, pixels, at, template(name, self._folder))

    def _done(self, name: str, state: State) -> None:
        assert self._known.done is not None
        self._known.done[name] = state
        self._known.since.pop(name, None)


@asynccontextmanager
async def folder_camera(folder: Folder, known: Known, sight: Sight) -> AsyncIterator[FolderCamera]:
    """Raises `Unavailable` where there is no such folder. What is there when it is first opened is not new."""
    with OneThread("camera") as thread:
        camera = FolderCamera(folder, known, sight, thread)
        await camera.look()
        sight.up(folder=str(folder.path))
        yield camera
