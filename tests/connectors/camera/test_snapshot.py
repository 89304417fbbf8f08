"""Snapshots from a real HTTP server on this machine: what it may send, and what it does wrong."""

import asyncio
import base64
import ssl
import threading
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from plantgate.sdk import Camera, State, Unavailable
from plantgate_connectors.camera import Cameras
from tests.connectors.camera.given import RED, bomb, cameras, counted, noise, packed, said
from tests.peers.certificates import Authority

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
JPEG = {"Content-Type": "image/jpeg"}


def picture(data: bytes | None = None, kind: str = "image/png", status: int = 200, **headers: str) -> web.Response:
    body = packed() if data is None else data
    return web.Response(body=body, status=status, headers={"Content-Type": kind, **headers} if kind else headers)


@asynccontextmanager
async def serving(handler: Handler, certificate: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server of aiohttp's on a port of its own; gives its address."""
    served = web.Server(handler, access_log=None, handler_cancellation=True)
    door = await asyncio.get_running_loop().create_server(served, "127.0.0.1", 0, ssl=certificate)
    try:
        yield f"127.0.0.1:{door.sockets[0].getsockname()[1]}"
    finally:
        door.close()
        await served.shutdown(0.1)


def run(
    tmp_path: Path, handler: Handler, act: Callable[[Camera], Coroutine[Any, Any, None]], **written: Any
) -> Cameras:
    """`act` with the camera of a connector that asks this server; gives the connector."""

    async def session() -> Cameras:
        common = {key: written.pop(key) for key in ("grey", "pixels_max", "context", "repeats_max") if key in written}
        async with asyncio.timeout(60), serving(handler) as address:
            snapshot = {"url": f"http://{address}/snap", "interval_ms": 10, "answer_seconds": 10, **written}
            connector = cameras(tmp_path, snapshot=snapshot, **common)
            async with connector.camera() as camera:
                await act(camera)
            return connector

    return asyncio.run(session())


def in_turn(*answers: Callable[[], web.StreamResponse]) -> Handler:
    """One answer after the other; the last one from then on."""
    left = list(answers)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return left.pop(0)() if len(left) > 1 else left[0]()

    return handler


def test_each_turn_gives_the_picture_of_the_moment(tmp_path: Path) -> None:
    async def act(camera: Camera) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        first, second = await camera.frame(), await camera.frame()
        assert (first.name, first.pixels.shape, first.time) == ("camera 1", (3, 4, 3), None)
        assert (second.name, second.pixels.shape, dict(second.context)) == ("camera 2", (21, 33, 3), {"product": "A12"})
        assert before <= first.at <= second.at <= loop.time()

    answers = in_turn(picture, lambda: picture(noise("JPEG"), "image/jpeg"))
    connector = run(tmp_path, answers, act, context={"product": "A12"})

    assert connector.context.standing.state is State.UP
    assert counted(connector) == {"frames_given": 2}


def test_a_picture_that_takes_its_time_to_arrive_is_as_old_as_its_first_byte(tmp_path: Path) -> None:
    whole, rest = packed(size=(200, 200)), []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "image/png"})
        await response.prepare(request)
        await response.write(whole[:100])
        await asyncio.sleep(0.1)
        rest.append(asyncio.get_running_loop().time())
        await response.write(whole[100:])
        return response

    async def act(camera: Camera) -> None:
        assert (await camera.frame()).at < rest[0]

    run(tmp_path, handler, act)


def test_no_cache_between_may_answer_in_the_cameras_place(tmp_path: Path) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.headers.get("Cache-Control"))
        return picture()

    async def act(camera: Camera) -> None:
        await camera.frame()

    asked: list[str | None] = []
    run(tmp_path, handler, act)
    assert asked == ["no-cache"]


@pytest.mark.parametrize("kind", ["", "application/octet-stream", "image/bmp", "IMAGE/PNG; x=y"])
def test_a_camera_that_does_not_say_what_it_sends_is_believed_by_its_bytes(tmp_path: Path, kind: str) -> None:
    async def act(camera: Camera) -> None:
        assert (await camera.frame()).pixels.shape == (3, 4)

    run(tmp_path, in_turn(lambda: picture(kind=kind)), act, grey=True)


BROKEN: list[tuple[str, Callable[[], web.StreamResponse], str]] = [
    ("html", lambda: web.Response(text="<html>log in</html>", content_type="text/html"), "sends text/html, not a pict"),
    ("a web page that says it is a picture", lambda: picture(b"<html></html>"), "it is none of PNG"),
    ("half a picture", lambda: picture(packed()[:-20]), "it is broken"),
    ("nothing", lambda: picture(b""), "it is none of PNG"),
    ("a bomb", lambda: picture(bomb(20_000, 4_000)), "20000 x 4000 pixels, more than 1000000 (pixels_max)"),
    ("compressed", lambda: picture(b"\x1f\x8b", **{"Content-Encoding": "gzip"}), "compressed (gzip)"),
    ("another format", lambda: picture(packed(RED, (4, 4), "GIF"), "image/gif"), "sends image/gif, not a picture"),
    ("large", lambda: picture(b"\0" * 20_000), "more than 10000 bytes (body_bytes_max)"),
    ("writing from right to left in its kind", lambda: picture(kind="text/\u202ehtml"), "sends text/\\u202ehtml"),
]


@pytest.mark.parametrize(("answer", "told"), [each[1:] for each in BROKEN], ids=[each[0] for each in BROKEN])
def test_what_is_no_picture_is_named_and_counted_and_the_next_goes_on(
    tmp_path: Path, answer: Callable[[], web.StreamResponse], told: str
) -> None:
    async def act(camera: Camera) -> None:
        assert (await camera.frame()).name == "camera 3"

    connector = run(tmp_path, in_turn(answer, answer, picture), act, body_bytes_max=10_000, pixels_max=1_000_000)

    assert counted(connector) == {"frames_unreadable": 2, "frames_given": 1}
    _connected, unreadable, again = said(connector)
    assert told in str(unreadable[2]["reason"])
    assert (unreadable[2]["picture"], again[1]) == ("camera 1", "pictures can be read again")


def test_a_camera_that_stands_still_is_told_from_one_that_sees(tmp_path: Path) -> None:
    """Asked for, since a drawn picture may be the same for ever."""
    same, other = picture, lambda: picture(noise("PNG"))

    async def act(camera: Camera) -> None:
        names.append([(await camera.frame()).name for _ in range(4)])

    names: list[list[str]] = []
    connector = run(tmp_path, in_turn(*[same] * 6, other), act, repeats_max=2)
    run(tmp_path, in_turn(same), act)

    assert names == [["camera 1", "camera 2", "camera 3", "camera 7"], [f"camera {number}" for number in range(1, 5)]]
    assert counted(connector) == {"frames_unreadable": 3, "frames_given": 4}
    assert "3 times now: the camera stands still" in str(said(connector)[1][2]["reason"])


AWAY: list[tuple[str, Callable[[], web.StreamResponse], str]] = [
    ("500", lambda: web.Response(status=500), "answers 500 Internal Server Error"),
    ("401", lambda: web.Response(status=401), r"does not let us in \(401\)"),
    ("404", lambda: web.Response(status=404), "answers 404 Not Found"),
    ("204", lambda: web.Response(status=204), "answers 204"),
    ("another host", lambda: _to("http://127.0.0.2/snap"), "redirects to http://127.0.0.2/snap; if that is right"),
    ("another port", lambda: _to("http://127.0.0.1:1/snap"), "redirects to http://127.0.0.1:1/snap"),
    ("another scheme", lambda: _to("ftp://127.0.0.1/snap"), "redirects to ftp://127.0.0.1/snap"),
    ("a file", lambda: _to("file:///etc/passwd"), "redirects to file:///etc/passwd"),
    ("no port", lambda: _to("http://127.0.0.1:no/"), "not HTTP as it must be"),
    ("itself", lambda: _to("/snap"), "redirects more than 3 times"),
]


def _to(location: str) -> web.Response:
    return web.Response(status=302, headers={"Location": location})


@pytest.mark.parametrize(("answer", "told"), [each[1:] for each in AWAY], ids=[each[0] for each in AWAY])
def test_a_server_that_gives_no_pictures_is_unavailable_with_what_to_do(
    tmp_path: Path, answer: Callable[[], web.StreamResponse], told: str
) -> None:
    async def act(camera: Camera) -> None:
        with pytest.raises(Unavailable, match=rf"/snap: it .*{told}|/snap: .*{told}"):
            await camera.frame()

    connector = run(tmp_path, in_turn(answer), act)

    assert connector.context.standing.state is not State.UP


def test_a_redirect_on_the_same_server_is_followed_with_our_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMERA_TOKEN", "a-token-of-the-tests")
    seen = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.path, request.headers.get("Authorization")))
        return _to("/other") if request.path == "/snap" else picture()

    async def act(camera: Camera) -> None:
        await camera.frame()

    run(tmp_path, handler, act, bearer="${env:CAMERA_TOKEN}")

    assert seen == [("/snap", "Bearer a-token-of-the-tests"), ("/other", "Bearer a-token-of-the-tests")]


def test_basic_credentials_and_secrets_that_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "pass:word")
    pair = base64.b64encode(b"gateway:pass:word").decode()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return picture() if request.headers.get("Authorization") == f"Basic {pair}" else web.Response(status=401)

    async def act(camera: Camera) -> None:
        await camera.frame()
        monkeypatch.delenv("CAMERA_PASSWORD")
        with pytest.raises(Unavailable, match="CAMERA_PASSWORD is not set"):
            await camera.frame()

    run(tmp_path, handler, act, username="gateway", password="${env:CAMERA_PASSWORD}")


@pytest.mark.parametrize("head", [False, True], ids=["before its head", "in the midst of a picture"])
def test_a_server_that_falls_silent_is_given_up_in_time(tmp_path: Path, head: bool) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers=JPEG)
        if head:
            await response.prepare(request)
            await response.write(packed(form="JPEG")[:100])
        await asyncio.sleep(3600)
        return response

    async def act(camera: Camera) -> None:
        with pytest.raises(Unavailable, match=r"no whole picture in 0.2 s \(answer_seconds\)"):
            await camera.frame()

    run(tmp_path, handler, act, answer_seconds=0.2)


@pytest.mark.parametrize("raw", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"])
def test_a_connection_that_breaks_or_is_no_http_is_unavailable(tmp_path: Path, raw: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        writer.close()

    async def session() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server, asyncio.timeout(60):
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/snap"
            async with cameras(tmp_path, snapshot={"url": url}).camera() as camera:
                with pytest.raises(Unavailable, match=r"broke|not HTTP as it must be"):
                    await camera.frame()

    asyncio.run(session())


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    async def session() -> None:
        async with serving(in_turn(picture)) as address:
            url = f"http://{address}/snap"
        async with cameras(tmp_path, snapshot={"url": url}).camera() as camera:
            with pytest.raises(Unavailable, match="cannot be reached"):
                await camera.frame()

    asyncio.run(session())


@pytest.mark.parametrize("length", [True, False], ids=["announced", "not announced"])
def test_of_a_body_of_200_megabytes_no_more_is_held_than_a_picture_may_have(tmp_path: Path, length: bool) -> None:
    sent, most, whole = 0, 2**20, 200 * 2**20

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={**JPEG, **({"Content-Length": str(whole)} if length else {})})
        await response.prepare(request)
        piece = bytes(2**16)
        while sent < whole:
            await response.write(piece)
            sent += len(piece)
        return response

    async def act(camera: Camera) -> None:
        tracemalloc.start()
        waiting = asyncio.ensure_future(camera.frame())
        while "frames_unreadable" not in counters:  # noqa: ASYNC110  what it waits for has no event
            await asyncio.sleep(0.005)
        waiting.cancel()
        assert tracemalloc.get_traced_memory()[1] < 8 * most
        tracemalloc.stop()

    counters: dict[str, int] = {}

    async def session() -> None:
        nonlocal counters
        async with asyncio.timeout(60), serving(handler) as address:
            snapshot = {"url": f"http://{address}/snap", "body_bytes_max": most, "interval_ms": 60_000}
            connector = cameras(tmp_path, snapshot=snapshot)
            counters = counted(connector)
            async with connector.camera() as camera:
                await act(camera)

    asyncio.run(session())
    assert sent < whole


def test_pictures_are_unpacked_on_one_thread_that_is_not_the_loops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, real = set(), Image.open

    def watching(*args: Any, **more: Any) -> Image.Image:
        threads.add(threading.current_thread())
        return real(*args, **more)

    async def act(camera: Camera) -> None:
        await camera.frame()
        await camera.frame()

    monkeypatch.setattr(Image, "open", watching)
    run(tmp_path, in_turn(picture), act)

    assert len(threads) == 1
    assert threading.main_thread() not in threads


def test_a_certificate_is_checked(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    issued = authority.issue("camera", hosts=["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.certificate, issued.key)

    async def session() -> None:
        async with serving(in_turn(picture), context) as address:
            trusting = {"url": f"https://{address}/snap", "tls": {"ca_file": str(authority.certificate)}}
            async with cameras(tmp_path, snapshot=trusting).camera() as camera:
                assert (await camera.frame()).pixels.shape == (3, 4, 3)
            async with cameras(tmp_path, snapshot={"url": f"https://{address}/snap"}).camera() as camera:
                with pytest.raises(Unavailable, match="a certificate we do not trust"):
                    await camera.frame()

    asyncio.run(session())


def test_survey_says_how_large_a_picture_is_or_why_there_is_none(tmp_path: Path) -> None:
    async def session() -> None:
        async with serving(in_turn(picture, lambda: web.Response(status=500))) as address:
            connector = cameras(tmp_path, snapshot={"url": f"http://{address}/snap"})
            (found,) = (await connector.survey()).findings
            assert (found.granted, found.fine) == ("4 x 3, colour", True)
            (found,) = (await connector.survey()).findings
            assert (found.granted.endswith("it answers 500 Internal Server Error"), found.fine) == (True, False)

    asyncio.run(session())
