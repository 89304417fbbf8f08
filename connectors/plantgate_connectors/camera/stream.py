"""A camera that sends video: a thread of its own decodes it, and the newest picture wins."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from av.video.frame import VideoFrame

from plantgate.sdk import Frame, OneThread
from plantgate_connectors.camera.delay import Delay
from plantgate_connectors.camera.newest import Newest
from plantgate_connectors.camera.picture import Unreadable
from plantgate_connectors.camera.settings import Stream
from plantgate_connectors.camera.sight import Sight
from plantgate_connectors.camera.video import opened, pixels


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture as FFmpeg holds it, in its own colours."""

    number: int
    at: float
    """On the loop's clock."""
    picture: VideoFrame | Unreadable


class StreamCamera:
    """A `plantgate.sdk.Camera`."""

    def __init__(self, sight: Sight, thread: OneThread, newest: Newest[Decoded]) -> None:
        self._sight, self._thread, self._newest = sight, thread, newest

    async def frame(self) -> Frame:
        """The newest picture that was not given yet. Raises `Unavailable` when the stream is gone."""
        while True:
            decoded, missed = await self._newest.take()
            self._sight.skipped(missed)
            name = f"{self._sight.name} {decoded.number}"
            try:
                return self._sight.frame(name, await self._pixels(decoded.picture), decoded.at, {})
            except Unreadable as error:
                self._sight.unreadable(name, str(error))

    async def _pixels(self, picture: VideoFrame | Unreadable) -> memoryview:
        if isinstance(picture, Unreadable):
            raise picture
        sight = self._sight
        return await self._thread.do(
            lambda: sight.moving(pixels(picture, grey=sight.grey, pixels_max=sight.pixels_max))
        )


@asynccontextmanager
async def stream_camera(stream: Stream, sight: Sight) -> AsyncIterator[StreamCamera]:
    """Entering waits for the first picture. Raises `Unavailable` where the stream cannot be opened."""
    newest: Newest[Decoded] = Newest()
    leave = threading.Event()
    watch = partial(_watch, stream, sight.pixels_max, newest, asyncio.get_running_loop().time, leave)
    # A thread that nobody waits for: reading cannot be interrupted, and ends by `silence_seconds` at the latest.
    threading.Thread(target=watch, name=f"video {sight.name}", daemon=True).start()
    try:
        await newest.wait()
        sight.up(url=stream.url)
        with OneThread("camera") as thread:
            yield StreamCamera(sight, thread, newest)
    finally:
        leave.set()


def _watch(
    stream: Stream, pixels_max: int, newest: Newest[Decoded], now: Callable[[], float], leave: threading.Event
) -> None:
    """What the thread does, from opening to closing; however it ends, the loop hears of it."""
    try:
        video, delay = opened(stream, pixels_max), Delay(stream.silence_seconds)
        try:
            for number, picture in enumerate(video.frames(), 1):
                if leave.is_set():
                    return
                at = now()
                late = 0.0 if isinstance(picture, Unreadable) else delay.of(at, picture.time)
                newest.put(Decoded(number, at - late, picture))
        finally:
            video.close()
    except Exception as error:  # noqa: BLE001  nobody else would ever tell whoever waits for the next picture
        newest.end(error)
