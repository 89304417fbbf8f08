"""A request's body: no larger, no slower and no more of them than was agreed."""

import asyncio

from aiohttp import web

from plantgate_connectors.http.problem import Problem, not_now
from plantgate_connectors.http.receiver import OVERHEAD_BYTES, Room


async def read_body(request: web.BaseRequest, *, bytes_max: int, seconds: float, room: Room) -> bytes:
    """All of it, piece by piece; its length and `OVERHEAD_BYTES` are taken from the room, the caller gives them back.

    Raises `Problem`, and has then taken nothing.
    """
    _refuse_unread(request, bytes_max, room)
    body = bytearray()
    room.taken += OVERHEAD_BYTES
    try:
        async with asyncio.timeout(seconds):
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0  # of the answer proper, nothing is out yet
            while piece := await request.content.readany():
                if len(body) + len(piece) > bytes_max:
                    raise _too_large(bytes_max)
                if not room.fits(len(piece)):
                    raise _no_room()
                room.taken += len(piece)
                body += piece
    except BaseException as error:
        room.taken -= len(body) + OVERHEAD_BYTES
        if isinstance(error, TimeoutError):
            raise Problem(408, f"the body took longer than {seconds:g} s", close=True) from None
        if isinstance(error, web.RequestPayloadError | ConnectionError):
            raise Problem(400, "the body is not what its head said", close=True) from None
        raise
    return bytes(body)


def _refuse_unread(request: web.BaseRequest, bytes_max: int, room: Room) -> None:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Problem(
            415, "send the body as it is, without Content-Encoding", headers={"Accept-Encoding": "identity"}, close=True
        )
    declared = request.content_length or 0
    if declared > bytes_max:
        raise _too_large(bytes_max)
    if not room.fits(declared + OVERHEAD_BYTES):
        raise _no_room()


def _too_large(bytes_max: int) -> Problem:
    return Problem(413, f"a body may have {bytes_max} bytes", close=True)


def _no_room() -> Problem:
    return not_now("too much is waiting to be made safe; send it again", 1.0, close=True)
