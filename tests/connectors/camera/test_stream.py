"""Video from an RTSP server that is not ours: the newest picture wins, and whatever goes wrong is a sentence."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from itertools import count, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import av.error
import pytest

from plantgate.sdk import Camera, State, Unavailable
from plantgate_connectors.camera import Cameras
from plantgate_connectors.camera.delay import Delay
from plantgate_connectors.camera.picture import Unreadable
from plantgate_connectors.camera.settings import Stream
from plantgate_connectors.camera.video import Video, pixels
from tests.connectors.camera.given import cameras, counted, said
from tests.peers.require import require
from tests.peers.rtsp_server import Feed, brightness, feeding, rtsp_server

PASSWORD = "p@ss:w/rd"


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a stream that somebody may feed."""
    require("rtsp-server")
    with rtsp_server() as url:
        yield url


def stream(tmp_path: Path, url: str, **written: Any) -> Cameras:
    """A connector on that address."""
    common = {key: written.pop(key) for key in ("grey", "pixels_max", "context") if key in written}
    return cameras(tmp_path, stream={"url": url, **written}, **common)


def run(connector: Cameras, act: Callable[[Camera], Coroutine[Any, Any, None]]) -> None:
    async def session() -> None:
        async with asyncio.timeout(60), connector.camera() as camera:
            await act(camera)

    asyncio.run(session())


def sent_first(connector: Cameras) -> None:
    """Until the feed is there: nobody can look at a stream before it is announced."""

    async def act() -> None:
        async with asyncio.timeout(30):
            while True:
                with suppress(Unavailable):
                    async with connector.camera() as camera:
                        await camera.frame()
                        return
                await asyncio.sleep(0.05)

    asyncio.run(act())


@contextmanager
def fed(tmp_path: Path, url: str, size: tuple[int, int] = (160, 120)) -> Iterator[Any]:
    """The server has pictures."""
    with feeding(url, size) as feed:
        sent_first(stream(tmp_path / "first", url))
        yield feed


def shade(seen: memoryview) -> int:
    """Of a picture of the feed: all of it has one brightness, give or take what coding makes of it."""
    every = seen.tobytes()
    assert max(every) - min(every) <= 12
    return min(range(8), key=lambda number: abs(brightness(number) - every[len(every) // 2]))


@pytest.mark.parametrize(("grey", "shape"), [(False, (120, 160, 3)), (True, (120, 160))])
def test_pictures_come_in_order_as_rows_columns_and_colours(
    tmp_path: Path, server: str, grey: bool, shape: tuple[int, ...]
) -> None:
    connector = stream(tmp_path, server, grey=grey, context={"product": "A12"})
    shades = []

    async def act(camera: Camera) -> None:
        await camera.frame()  # those that came while it was opened come at once: begin after them
        for _ in range(10):
            frame = await camera.frame()
            assert (frame.pixels.shape, frame.pixels.format, frame.pixels.c_contiguous) == (shape, "B", True)
            assert (frame.time, dict(frame.context)) == (None, {"product": "A12"})
            assert frame.at <= asyncio.get_running_loop().time()
            shades.append((int(frame.name.removeprefix("camera ")), shade(frame.pixels)))

    with fed(tmp_path, server):
        run(connector, act)

    assert {(number - seen) % 8 for number, seen in shades} == {(shades[0][0] - shades[0][1]) % 8}, shades
    assert sorted(shades) == shades
    assert connector.context.standing.state is State.UP


@pytest.mark.parametrize("columns", [16, 17, 162, 178])
@pytest.mark.parametrize(("form", "colours"), [("rgb24", 3), ("gray", 1)])
def test_rows_that_are_filled_up_inside_come_out_as_they_are(columns: int, form: str, colours: int) -> None:
    rows, row = 10, columns * colours
    wanted = bytes(each % 251 for each in range(rows * row))
    frame = av.VideoFrame(columns, rows, form)
    plane = frame.planes[0]
    lines = [wanted[start : start + row].ljust(plane.line_size, b"\xff") for start in range(0, rows * row, row)]
    plane.update(b"".join(lines).ljust(plane.buffer_size, b"\xff"))

    assert pixels(frame, grey=colours == 1, pixels_max=10**6).tobytes() == wanted


def test_the_newest_wins_and_what_nobody_took_is_counted(tmp_path: Path, server: str) -> None:
    connector = stream(tmp_path, server)

    async def act(camera: Camera) -> None:
        first = await camera.frame()
        enough = feed.sent + 20
        while feed.sent < enough:  # noqa: ASYNC110  what it waits for has no event
            await asyncio.sleep(0.01)
        second = await camera.frame()
        between = int(second.name.removeprefix("camera ")) - int(first.name.removeprefix("camera ")) - 1
        assert between >= 10
        assert counted(connector)["frames_skipped"] >= between

    with fed(tmp_path, server) as feed:
        run(connector, act)


def test_a_camera_that_falls_silent_is_given_up_and_seen_again(tmp_path: Path, server: str) -> None:
    connector = stream(tmp_path, server, silence_seconds=0.5)

    async def act(camera: Camera) -> None:
        await camera.frame()
        feed.quiet.set()
        with pytest.raises(Unavailable, match=r"nothing came for 0.5 s \(silence_seconds\)"):
            await until_gone(camera)

    async def again(camera: Camera) -> None:
        await camera.frame()

    with fed(tmp_path, server) as feed:
        run(connector, act)
        feed.quiet.clear()
        run(connector, again)


def test_pictures_that_a_network_held_up_are_as_old_as_the_camera_says(tmp_path: Path, server: str) -> None:
    """TCP gives them all when it goes on, long after they were taken."""

    async def act(camera: Camera) -> None:
        clock = asyncio.get_running_loop().time
        while feed.sent < 30:
            await camera.frame()
        held.set()
        began, enough = clock(), feed.sent + 10
        while feed.sent < enough:  # noqa: ASYNC110  what it waits for has no event
            await asyncio.sleep(0.01)
        feed.quiet.set()  # so that each that comes now is old, whichever is taken
        await asyncio.sleep(0.5)
        went_on = clock()
        held.clear()
        while (frame := await camera.frame()).at < began:
            pass
        assert frame.at < went_on - 0.25

    with fed(tmp_path, server) as feed, relayed(server) as (url, held):
        run(stream(tmp_path, url), act)


@contextmanager
def relayed(url: str) -> Iterator[tuple[str, threading.Event]]:
    """The same stream through a network that can be held up: while the event is set nothing comes from the server."""

    def carry(source: socket.socket, sink: socket.socket, wait: Callable[[], None]) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                wait()
                sink.sendall(piece)

    def while_held() -> None:
        while held.is_set() and not leave.wait(0.005):
            pass

    def accept() -> None:
        with suppress(OSError):
            while True:
                peer, _ = door.accept()
                there = socket.create_connection((urlsplit(url).hostname, urlsplit(url).port))
                ends.extend((peer, there))
                for way in ((peer, there, lambda: None), (there, peer, while_held)):
                    threading.Thread(target=carry, args=way, daemon=True).start()

    held, leave, ends = threading.Event(), threading.Event(), list[socket.socket]()
    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield url.replace(str(urlsplit(url).port), str(door.getsockname()[1])), held
        finally:
            leave.set()
            door.shutdown(socket.SHUT_RDWR)
            for end in ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


def test_a_clock_that_drifts_makes_no_picture_old_and_one_that_jumps_is_not_believed() -> None:
    delay = Delay(5.0)
    assert [delay.of(came, came * 0.999) for came in (0.0, 1.0, 100.0, 3600.0)] == [0.0] * 4, "slow"
    assert [delay.of(came, came * 1.001) for came in (3601.0, 3700.0)] == [0.0] * 2, "fast"
    assert delay.of(3703.0, 3702.0 * 1.001) == pytest.approx(1.0, abs=0.05)
    assert delay.of(3704.0, 3704.0 * 1.001) == 0.0
    assert [delay.of(came, 0.0) for came in (3705.0, 3706.0)] == pytest.approx([0.0, 1.0], abs=0.05), "set back"
    assert [delay.of(came, None) for came in (3707.0, 3708.0)] == [0.0] * 2, "says no time"


def test_a_camera_that_ends_its_stream_is_unavailable(tmp_path: Path, server: str) -> None:
    with ExitStack() as ends:
        ends.enter_context(fed(tmp_path, server))

        async def act(camera: Camera) -> None:
            await camera.frame()
            await asyncio.to_thread(ends.close)
            with pytest.raises(Unavailable, match=r"/line: the (camera has ended the stream|stream broke off)"):
                await until_gone(camera)

        run(stream(tmp_path, server), act)


def test_a_server_that_is_killed_is_unavailable(tmp_path: Path) -> None:
    require("rtsp-server")
    with ExitStack() as ends:
        url = ends.enter_context(rtsp_server())
        feed, leave = Feed(url), threading.Event()

        def feeds() -> None:
            with suppress(av.error.FFmpegError):
                feed.run(leave)

        thread = threading.Thread(target=feeds, daemon=True)
        thread.start()
        sent_first(stream(tmp_path / "first", url))

        async def act(camera: Camera) -> None:
            await camera.frame()
            ends.close()
            with pytest.raises(Unavailable, match="/line: "):
                await until_gone(camera)

        run(stream(tmp_path, url), act)
        leave.set()
        thread.join()


def test_a_password_opens_it_and_stands_in_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    require("rtsp-server")
    monkeypatch.setenv("RIGHT", PASSWORD)
    monkeypatch.setenv("WRONG", "guess")
    who = {"username": "gate way", "password": "${env:RIGHT}"}

    async def act(camera: Camera) -> None:
        await camera.frame()

    with rtsp_server(user="gate way", password=PASSWORD) as url, feeding(url):
        sent_first(stream(tmp_path / "first", url, **who))
        connector = stream(tmp_path, url, **who)
        run(connector, act)
        for others in ({}, {**who, "password": "${env:WRONG}"}):
            with pytest.raises(Unavailable, match="does not let us in; see username and password"):
                run(stream(tmp_path, url, **others), act)
    monkeypatch.delenv("RIGHT")
    with pytest.raises(Unavailable, match="RIGHT is not set"):
        run(stream(tmp_path, url, **who), act)
    monkeypatch.setenv("RIGHT", PASSWORD)
    with pytest.raises(Unavailable, match="Connection refused") as refused:
        run(stream(tmp_path, url, **who), act)
    everything = f"{said(connector)}{refused.getrepr(style='long')}{capfd.readouterr()}"
    assert "w/rd" not in everything
    assert "w%2Frd" not in everything


def test_a_path_that_has_no_stream_is_named(tmp_path: Path, server: str) -> None:
    with pytest.raises(Unavailable, match="/line: it has no such stream; see the path in url"):
        run(stream(tmp_path, server), _none)


async def until_gone(camera: Camera) -> None:
    while True:
        await camera.frame()


async def _none(camera: Camera) -> None:
    raise AssertionError("there is no camera")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 2000000000\r\n\r\n",
        bytes(range(256)) * 300,
        None,
    ],
    ids=["closed", "another protocol", "a promise", "noise", "silence"],
)
def test_what_is_no_rtsp_is_unavailable_in_time(tmp_path: Path, answer: bytes | None) -> None:
    def serve() -> None:
        with suppress(OSError):
            while True:
                peer, _ = door.accept()
                peers.append(peer)
                if answer is not None:
                    peer.recv(4096)
                    peer.sendall(answer)
                    if not answer.endswith(b"\r\n\r\n"):
                        peer.close()

    peers: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"rtsp://127.0.0.1:{door.getsockname()[1]}/line"
        with pytest.raises(
            Unavailable,
            match=r"/line: (no answer in RTSP|End of file|Input/output|Connection reset)",
        ):
            run(stream(tmp_path, url, connect_seconds=0.5, silence_seconds=0.5), _none)
        door.shutdown(socket.SHUT_RDWR)
        thread.join()
        for peer in peers:
            peer.close()


def test_pictures_with_too_many_pixels_are_named_and_counted(tmp_path: Path, server: str) -> None:
    connector = stream(tmp_path, server, pixels_max=10_000)

    async def act(camera: Camera) -> None:
        waiting = asyncio.ensure_future(camera.frame())
        while counted(connector).get("frames_unreadable", 0) < 3:  # noqa: ASYNC110  nor has this
            await asyncio.sleep(0.01)
        waiting.cancel()

    with fed(tmp_path, server):
        run(connector, act)
    assert "frames_given" not in counted(connector)
    (_, unreadable) = said(connector)
    assert unreadable[2]["reason"] == "it has 160 x 120 pixels, more than 10000 (pixels_max)"


def test_when_a_session_ends_its_thread_does_too(tmp_path: Path, server: str) -> None:
    async def act(camera: Camera) -> None:
        await camera.frame()
        threads.extend(each for each in threading.enumerate() if each.name == "video camera")

    threads: list[threading.Thread] = []
    with fed(tmp_path, server):
        run(stream(tmp_path, server), act)
        for thread in threads:
            thread.join(30)
        assert threads
        assert not any(each.is_alive() for each in threads), "though the camera still sends"


def test_survey_says_how_large_a_picture_is(tmp_path: Path, server: str) -> None:
    with fed(tmp_path, server):
        (found,) = asyncio.run(stream(tmp_path, server, grey=True).survey()).findings
    assert (found.granted, found.fine) == ("160 x 120, grey", True)


@pytest.mark.parametrize("hurt", [3, 14, 25])
def test_after_damage_nothing_is_given_before_a_picture_that_needs_no_other(tmp_path: Path, hurt: int) -> None:
    packets = coded(30, whole_each=10)
    middle = len(packets[hurt]) // 2
    packets[hurt] = packets[hurt][:middle] + b"\x55" * (len(packets[hurt]) - middle)
    (tmp_path / "damaged.h264").write_bytes(b"".join(packets))

    with av.open(str(tmp_path / "damaged.h264")) as container:
        video = Video(Stream(url="rtsp://camera/line"), 10**6, container, container.streams.video[0])
        seen = list(islice(video.frames(), 30))

    refused = [at for at, each in enumerate(seen) if isinstance(each, Unreadable)]
    given = [pixels(each, grey=True, pixels_max=10**6) for each in seen if not isinstance(each, Unreadable)]
    assert refused
    assert refused == list(range(hurt, hurt // 10 * 10 + 10)), "to the next whole one, and no further"
    assert [shade(each) for each in given] == [at % 8 for at in range(30) if at not in refused]


def test_a_stream_that_is_joined_midway_gives_nothing_drawn_on_what_went_before(tmp_path: Path) -> None:
    """MPEG-4, whose decoder draws on grey where it has nothing else; H.264's waits by itself."""
    (tmp_path / "midway.m4v").write_bytes(b"".join(moving(20, whole_each=10)))

    with av.open(str(tmp_path / "midway.m4v")) as container:
        track = container.streams.video[0]
        video = Video(Stream(url="rtsp://camera/line"), 10**6, container, track)
        for _ in islice(container.demux(track), 3):
            pass
        seen = list(islice(video.frames(), 10))

    refused = [isinstance(each, Unreadable) for each in seen]
    assert refused == sorted(refused, reverse=True), "first those that are refused"
    assert True in refused
    (first,) = islice((each for each in seen if not isinstance(each, Unreadable)), 1)
    assert first.key_frame


@contextmanager
def sending(media: str, piece: bytes) -> Iterator[str]:
    """A camera of ours that offers this video and sends this piece of it, in RTP, 25 times a second; its address."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                peer, _ = door.accept()
                peers.append(peer)
                with suppress(OSError), peer, peer.makefile("rb") as asked:
                    while not answered(peer, asked):
                        pass
                    for number in count():
                        head = bytes([0x80, 0xE0]) + (number % 2**16).to_bytes(2, "big")
                        packet = head + (3600 * number).to_bytes(4, "big") + bytes(4) + piece
                        peer.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)
                        leave.wait(0.04)

    def answered(peer: socket.socket, asked: Any) -> bool:
        """Whether it is asked to play."""
        head = [*iter(asked.readline, b"\r\n")]
        what, number = head[0].split()[0], next(line for line in head if line.startswith(b"CSeq"))
        more = {
            b"DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(offer)}\r\n\r\n{offer}",
            b"SETUP": "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
        }.get(what, "Session: 1\r\n\r\n")
        peer.sendall(b"RTSP/1.0 200 OK\r\n" + number + more.encode())
        return bool(what == b"PLAY")

    offer = f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n{media}\r\na=control:video\r\n"
    peers: list[socket.socket] = []
    leave = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"rtsp://127.0.0.1:{door.getsockname()[1]}/line"
        finally:
            leave.set()
            door.shutdown(socket.SHUT_RDWR)
            for peer in peers:
                with suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_video_in_a_format_that_nobody_knows_is_unavailable_with_what_to_do(tmp_path: Path) -> None:
    with (
        sending("m=video 0 RTP/AVP 96\r\na=rtpmap:96 X-NONE/90000", b"video") as url,
        pytest.raises(Unavailable, match="/line: its video is in a format that FFmpeg does not know"),
    ):
        run(stream(tmp_path, url, connect_seconds=1), _none)


def test_what_has_too_many_pixels_is_not_even_decoded(tmp_path: Path) -> None:
    (tmp_path / "large.h264").write_bytes(b"".join(coded(5, whole_each=1)))

    with av.open(str(tmp_path / "large.h264")) as container:
        video = Video(Stream(url="rtsp://camera/line"), 10_000, container, container.streams.video[0])
        seen = list(islice(video.frames(), 5))

    assert {str(each) for each in seen} == {"it has 160 x 120 pixels, more than 10000 (pixels_max)"}


def coded(number: int, *, whole_each: int) -> list[bytes]:
    """Pictures of the feed's kind as H.264; every so many one that needs no other."""
    feed, coder = Feed(""), av.CodecContext.create("libx264", "w")
    coder.width, coder.height, coder.pix_fmt, coder.time_base = 160, 120, "yuv420p", Fraction(1, 25)
    coder.options = {"tune": "zerolatency", "g": str(whole_each), "sc_threshold": "0"}
    return [bytes(packet) for _ in range(number) for packet in coder.encode(feed.picture())]


def moving(number: int, *, whole_each: int) -> list[bytes]:
    """A pattern that moves, as MPEG-4: each picture but every so many is drawn on the one before."""
    coder = av.CodecContext.create("mpeg4", "w")
    coder.width, coder.height, coder.pix_fmt, coder.time_base = 160, 120, "yuv420p", Fraction(1, 25)
    coder.framerate, coder.gop_size, coder.bit_rate = Fraction(25), whole_each, 2_000_000
    made = []
    for at in range(number):
        picture = av.VideoFrame(160, 120, "gray")
        picture.planes[0].update(bytes((column + at) // 8 * 8 % 256 for _ in range(120) for column in range(160)))
        picture = picture.reformat(format="yuv420p")
        picture.pts = at
        made += [bytes(packet) for packet in coder.encode(picture)]
    return made
