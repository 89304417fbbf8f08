"""An RTSP server that is not ours (gortsplib, Go), and a camera that feeds it colours that a test can tell apart."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import av

from tests.peers.require import find

PICTURES_PER_SECOND: Final = 25
_COLOURS: Final = 8


@contextmanager
def rtsp_server(*, user: str = "", password: str = "") -> Iterator[str]:
    """Runs one; gives the address of its stream. With `user` whoever looks on has to say who they are (Digest)."""
    command = [str(find("rtsp-server"))]
    if user:
        command += ["-user", user, "-password", password]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"rtsp://127.0.0.1:{int(server.stdout.readline())}/line"
        finally:
            server.kill()


@dataclass
class Feed:
    """A camera as it sends: 25 pictures a second, each grey of one brightness, which `shown` remembers."""

    url: str
    size: tuple[int, int] = (160, 120)
    """Columns, rows."""
    quiet: threading.Event = field(default_factory=threading.Event)
    """While it is set nothing is sent, and the connection stays."""
    sent: int = 0

    def run(self, leave: threading.Event) -> None:
        """Until told to leave."""
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
        with av.open(self.url, "w", format="rtsp", options={"rtsp_transport": "tcp"}) as container:
            stream = container.add_stream("libx264", rate=PICTURES_PER_SECOND, options=options)
            stream.width, stream.height = self.size
            stream.pix_fmt = "yuv420p"
            while not leave.wait(1 / PICTURES_PER_SECOND):
                if not self.quiet.is_set():
                    container.mux(stream.encode(self.picture()))

    def picture(self) -> av.VideoFrame:
        """The next one."""
        picture = av.VideoFrame(*self.size, "gray")
        plane = picture.planes[0]
        plane.update(bytes([brightness(self.sent)]) * plane.buffer_size)
        picture = picture.reformat(format="yuv420p")
        picture.pts, picture.time_base = self.sent, Fraction(1, PICTURES_PER_SECOND)
        self.sent += 1
        return picture


def brightness(number: int) -> int:
    """Of the feed's pictures, by their number from 0."""
    return 40 + 20 * (number % _COLOURS)


@contextmanager
def feeding(url: str, size: tuple[int, int] = (160, 120)) -> Iterator[Feed]:
    """Feeds that server, from a thread."""
    feed, leave = Feed(url, size), threading.Event()
    thread = threading.Thread(target=feed.run, args=(leave,), daemon=True)
    thread.start()
    try:
        yield feed
    finally:
        leave.set()
        thread.join()
