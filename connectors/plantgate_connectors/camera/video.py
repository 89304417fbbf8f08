"""A video stream as FFmpeg reads it, through PyAV: opened, decoded and closed on one thread; this file blocks."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from plantgate.sdk import Unavailable
from plantgate_connectors.camera.picture import Unreadable
from plantgate_connectors.camera.settings import Stream

_DAMAGED: Final = "it, or one that it is drawn on, did not come whole"


class Video:
    """One stream, open. Whoever opens it closes it, on the same thread."""

    def __init__(self, stream: Stream, pixels_max: int, container: InputContainer, video: VideoStream) -> None:
        self._stream, self._pixels_max, self._container, self._video = stream, pixels_max, container, video
        self._size = video.codec_context.height, video.codec_context.width  # as announced, before it is decoded
        video.codec_context.options = {"max_pixels": str(pixels_max)}
        video.codec_context.thread_count = 1  # with more of them a picture comes several pictures late
        video.codec_context.flags |= av.codec.context.Flags.low_delay

    def frames(self) -> Iterator[VideoFrame | Unreadable]:
        """Each picture as it comes, or why it is none. Raises `Unavailable` when the stream is gone.

        At first, and after damage, nothing is given before a picture that needs no other: all before it would be drawn
        on what is not there.
        """
        whole = False
        try:
            for packet in self._container.demux(self._video):
                try:
                    decoded = packet.decode()
                except av.error.FFmpegError:
                    whole = False
                    yield Unreadable(self._fault())
                    continue
                for frame in decoded:
                    whole = not frame.is_corrupt and (whole or frame.key_frame)
                    yield frame if whole else Unreadable(_DAMAGED)
        except av.error.ExitError:
            seconds = self._stream.silence_seconds
            raise Unavailable(f"{self._stream.url}: nothing came for {seconds:g} s (silence_seconds)") from None
        except av.error.FFmpegError as error:
            raise Unavailable(f"{self._stream.url}: the stream broke off: {_why(error)}") from None
        raise Unavailable(f"{self._stream.url}: the camera has ended the stream")

    def _fault(self) -> str:
        """Why a packet gave no picture."""
        return _too_large(*self._size, self._pixels_max) or _DAMAGED

    def close(self) -> None:
        """Tells the camera that we leave; waits for it no longer than for anything else."""
        with suppress(av.error.FFmpegError):
            self._container.close()


def opened(stream: Stream, pixels_max: int) -> Video:
    """Raises `Unavailable`, with a sentence that has no password in it."""
    options = {
        "rtsp_transport": stream.transport.value,
        "protocol_whitelist": "rtsp,rtp,tcp,udp",
        "fflags": "nobuffer",
        "analyzeduration": "100000",  # µs; FFmpeg's own 5 s would hold the first pictures back for as long
    }
    address, seconds = _address(stream), stream.connect_seconds
    try:
        container = av.open(
            address,
            format="rtsp",
            options=options,
            timeout=(seconds, stream.silence_seconds),
            metadata_errors="replace",
        )
    except (av.error.ExitError, av.error.InvalidDataError):  # FFmpeg gives either where time is up
        raise Unavailable(f"{stream.url}: no answer in RTSP within {seconds:g} s (connect_seconds)") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:  # without its cause, whose text has the password
        raise Unavailable(f"{stream.url}: {_why(error)}") from None
    if not container.streams.video:
        container.close()
        raise Unavailable(f"{stream.url}: the stream has no video")
    video = container.streams.video[0]
    if getattr(video, "codec_context", None) is None:  # which the library's types do not foresee
        container.close()
        raise Unavailable(f"{stream.url}: its video is in a format that FFmpeg does not know; set the camera to H.264")
    return Video(stream, pixels_max, container, video)


def pixels(frame: VideoFrame, *, grey: bool, pixels_max: int) -> memoryview:
    """As `plantgate.sdk.Frame` has them. Raises `Unreadable`."""
    rows, columns = frame.height, frame.width
    if fault := _too_large(rows, columns, pixels_max):
        raise Unreadable(fault)
    plane = frame.reformat(format="gray" if grey else "rgb24").planes[0]
    row = columns if grey else columns * 3
    flat = memoryview(plane).cast("B")
    if plane.line_size != row:  # FFmpeg fills rows up to a width that it likes
        flat = memoryview(
            b"".join(flat[start : start + row] for start in range(0, rows * plane.line_size, plane.line_size))
        )
    return flat[: rows * row].cast("B", (rows, columns) if grey else (rows, columns, 3))


def _too_large(rows: int, columns: int, most: int) -> str:
    return f"it has {columns} x {rows} pixels, more than {most} (pixels_max)" if rows * columns > most else ""


def _address(stream: Stream) -> str:
    """With user name and password inside, where there are any: FFmpeg takes them nowhere else."""
    if stream.username is None or stream.password is None:
        return stream.url
    parts = urlsplit(stream.url)
    who = f"{quote(stream.username, safe='')}:{quote(stream.password.reveal(), safe='')}"
    return urlunsplit(parts._replace(netloc=f"{who}@{parts.netloc}"))


def _why(error: Exception) -> str:
    match error:
        case av.error.HTTPUnauthorizedError():
            return "it does not let us in; see username and password"
        case av.error.HTTPNotFoundError():
            return "it has no such stream; see the path in url"
        case OSError() | av.error.FFmpegError():
            return error.strerror or type(error).__name__
        case _:
            return type(error).__name__
