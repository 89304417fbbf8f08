"""Polling: what is new, what is missed, and servers that misbehave."""

import asyncio
import contextlib
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from plantgate.sdk import Batch, Gap, State
from plantgate.sdk.quality import BAD_DECODING, GOOD
from plantgate.testing.context import lent
from plantgate.testing.simloop import running
from plantgate_connectors.http import Http
from plantgate_connectors.http.watched import BAD_NO_COMMUNICATION
from tests.connectors.http.given import HOST, T0, dialling, eventually, pumping, said, server, settings  # noqa: F401  a fixture

pytestmark = pytest.mark.simulated(seeds=2)
PORT = 8461
SECOND = 1_000_000_000


@asynccontextmanager
async def serving(
    answer: Callable[[web.BaseRequest], web.StreamResponse | bytes], port: int = PORT
) -> AsyncIterator[list[web.BaseRequest]]:
    """A server that answers as told; gives the requests that came."""
    came: list[web.BaseRequest] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        came.append(request)
        said = answer(request)
        return web.Response(body=said, content_type="application/json") if isinstance(said, bytes) else said

    async with server(handler, port):
        yield came


@asynccontextmanager
async def serving_raw(*answers: bytes, then: float = 0.0) -> AsyncIterator[None]:
    """A server that sends bytes, the last of them again and again."""
    left = list(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()
            async with asyncio.timeout(then):
                await reader.read()
        writer.close()

    async with await asyncio.start_server(talk, HOST, PORT):
        yield


def poller(folder: Path, *more: dict[str, Any], **written: Any) -> Http:
    """A connector that polls."""
    first = {"url": f"http://{HOST}:{PORT}/now", "interval_seconds": 10, "values": {"t": "/v"}, "time": "/t", **written}
    first = {"time_unit": "ns", **first} if first["time"] else {k: v for k, v in first.items() if k != "time"}
    return Http(settings(poll=[first, *more]), lent(folder, connection="page"))


async def test_each_look_gives_the_values_at_their_pointers(tmp_path: Path) -> None:
    looks = 0

    def answer(_: web.BaseRequest) -> bytes:
        nonlocal looks
        looks += 1
        return json.dumps({"a": {"x": looks}, "b": "two", "at": T0 + looks, "fine": looks != 2}).encode()

    values = {"page/x": "/a/x", "page/b": "/b"}
    async with serving(answer):
        connector = poller(tmp_path, values=values, time="/at", quality="/fine")
        async with connector.source() as source, pumping(source) as got:
            await asyncio.sleep(25.0)
        assert got.tags == ["page/x", "page/b"] * 3
        assert got.values == [1, "two", 2, "two", 3, "two"]
        assert got.qualities == [0, 0, 0x8000_0000, 0x8000_0000, 0, 0]
        assert got.times == [T0 + 1, T0 + 1, T0 + 2, T0 + 2, T0 + 3, T0 + 3]
        assert got.gaps == ()


async def test_readings_that_carry_their_time_come_once_and_others_with_each_look(tmp_path: Path) -> None:
    async with serving(lambda _: b'{"v":1,"t":1767225600000000000}'):
        for name, time, count in (("with", "/t", 1), ("without", None, 3)):
            async with poller(tmp_path / name, time=time).source() as source, pumping(source) as got:
                await asyncio.sleep(25.0)
            assert len(got) == count


async def test_validators_are_sent_back_and_304_gives_nothing(tmp_path: Path) -> None:
    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("If-None-Match") == '"one"':
            return web.Response(status=304)
        return web.Response(body=b'{"v":1,"t":0}', headers={"ETag": '"one"', "Last-Modified": "yesterday"})

    async with serving(answer) as came, poller(tmp_path).source() as source, pumping(source) as got:
        await asyncio.sleep(35.0)
        assert len(came) == 4
        assert came[1].headers["If-Modified-Since"] == "yesterday"
        assert got.values == [1]


async def test_what_had_no_room_is_asked_for_again_though_nothing_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plantgate_connectors.http.poller.BUFFER_SAMPLES", 5)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/b":
            return web.Response(body=b"7", content_type="application/json")
        if "If-None-Match" in request.headers:
            return web.Response(status=304)
        await asyncio.sleep(5.0)  # meanwhile the other fills the buffer
        return web.Response(body=b'{"v":1,"t":0}', headers={"ETag": '"one"'})

    other = {"url": f"http://{HOST}:{PORT}/b", "interval_seconds": 0.5, "payload": "number", "tag": "b"}
    async with server(handler, PORT), poller(tmp_path, other).source() as source:
        await asyncio.sleep(25.0)
        async with pumping(source) as got:
            await asyncio.sleep(30.0)
    assert [sample.value for sample in got if sample.tag == "t"] == [1]
    assert [(gap.cause, gap.lost is not None) for gap in got.gaps if gap.tags == ("t",)] == [
        ("outbox did not keep up", True)
    ]


async def test_a_failure_is_bad_once_and_a_gap_when_it_is_over(tmp_path: Path) -> None:
    bodies = [(200, T0), (500, 0), (503, 0), (404, 0), (200, T0 + 40 * SECOND), (200, T0 + 50 * SECOND)]

    def answer(_: web.BaseRequest) -> web.StreamResponse:
        status, time = bodies.pop(0)
        return web.Response(status=status, body=json.dumps({"v": time, "t": time}).encode(), headers={"ETag": '"e"'})

    async with serving(answer) as came:
        connector = poller(tmp_path)
        async with connector.source() as source, pumping(source) as got:
            await asyncio.sleep(15.0)
            assert connector.context.standing.state is State.AWAY
            assert connector.context.standing.reason == "page: http://127.0.0.1:8461/now: it answers 500"
            await asyncio.sleep(40.0)
            assert connector.context.standing.state is State.UP
        assert got.values == [T0, None, T0 + 40 * SECOND, T0 + 50 * SECOND]
        assert got.qualities == [GOOD, BAD_NO_COMMUNICATION, GOOD, GOOD]
        assert got.times[1] is None
        assert got.gaps == (Gap(("t",), T0, T0 + 40 * SECOND, "poll failed", lost=3),)
        assert "If-None-Match" not in came[2].headers, "after a failure the whole is asked for"
        assert [line[0] for line in said(connector.context)] == ["info", "warning", "info"]


async def test_one_url_that_fails_does_not_hold_up_the_other(tmp_path: Path) -> None:
    other = {"url": f"http://{HOST}:{PORT}/b", "interval_seconds": 5, "payload": "number", "tag": "b"}

    async with serving(lambda request: b"7" if request.path == "/b" else web.Response(status=500)):
        connector = poller(tmp_path, other)
        async with connector.source() as source, pumping(source) as got:
            await asyncio.sleep(22.0)
        assert [value for tag, value in zip(got.tags, got.values, strict=True) if tag == "b"] == [7] * 5
        assert connector.context.standing.live == 1


async def test_a_server_slower_than_the_interval_costs_looks_that_are_named(tmp_path: Path) -> None:
    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(25.0)
        return web.Response(body=json.dumps({"v": 1, "t": running().wall_ns()}).encode())

    async with server(slow, PORT), poller(tmp_path, answer_seconds=30).source() as source, pumping(source) as got:
        await asyncio.sleep(60.0)
    assert len(got) == 2
    assert [(gap.cause, gap.lost) for gap in got.gaps] == [("server slower than the interval", 2)]


async def test_nobody_reads_and_what_was_not_asked_for_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plantgate_connectors.http.poller.BUFFER_SAMPLES", 5)
    count = 0

    def answer(_: web.BaseRequest) -> bytes:
        nonlocal count
        count += 1
        return json.dumps({"v": count, "t": T0 + count}).encode()

    async with serving(answer) as came, poller(tmp_path).source() as source:
        await asyncio.sleep(200.0)
        assert len(came) == 5
        async with pumping(source) as got:
            await asyncio.sleep(20.0)
        assert got.values[:6] == [1, 2, 3, 4, 5, 6]
        assert [(gap.cause, gap.since, gap.until) for gap in got.gaps] == [("outbox did not keep up", T0 + 5, T0 + 6)]
        assert got.gaps[0].lost == 16


async def test_what_was_not_acknowledged_is_given_again_by_the_next_session(tmp_path: Path) -> None:
    async with serving(lambda _: b'{"v":1,"t":1767225600000000000}'):
        connector = poller(tmp_path)
        async with connector.source() as source:
            assert (await source.read()).values == [1]
        async with connector.source() as source:
            batch = await source.read()
            assert batch.values == [1]
            await source.ack(batch.cursor)


async def test_after_a_restart_the_time_away_is_a_gap(tmp_path: Path) -> None:
    async with serving(lambda _: b'{"v":1,"t":1767225600000000000}'):
        for gaps in ((), (Gap(("t",), None, T0, "gateway was not running", None),)):
            async with poller(tmp_path).source() as source:
                batch = await source.read()
                assert batch.gaps == gaps
                await source.ack(batch.cursor)


async def test_what_ends_a_session_is_seen_as_it_is(tmp_path: Path) -> None:
    """A group of tasks wraps what is raised inside it; a verdict must not be wrapped."""

    class Verdict(Exception):
        pass

    async with serving(lambda _: b'{"v":1,"t":0}'):
        with pytest.raises(Verdict):
            async with poller(tmp_path).source():
                raise Verdict


# Redirects.


@pytest.mark.parametrize(
    ("location", "followed"),
    [
        ("/there", True),
        ("there?x=1", True),
        (f"http://{HOST}:{PORT}/there", True),
        (f"http://{HOST}:9/there", False),
        ("http://169.254.169.254/latest/meta-data/", False),
        ("http://localhost:8461/there", False),
        (f"https://{HOST}:{PORT}/there", False),
        ("//evil.example/there", False),
        ("http://127.0.0.1:8461@evil.example/", False),
        ("http://user:secret@127.0.0.1:8461/there", False),
        ("file:///etc/passwd", False),
        ("gopher://127.0.0.1:8461/x", False),
        ("http://[::1/", False),
        ("http://127.0.0.1:99999/", False),
        ("", False),
    ],
)
async def test_a_redirect_is_followed_to_the_same_server_only(tmp_path: Path, location: str, followed: bool) -> None:
    def answer(request: web.BaseRequest) -> web.StreamResponse | bytes:
        if request.path == "/now":
            return web.Response(status=302, headers={"Location": location})
        return b'{"v":1,"t":0}'

    async with serving(answer) as came:
        connector = poller(tmp_path)
        async with connector.source() as source, pumping(source) as got:
            await asyncio.sleep(5.0)
        assert got.values == [1 if followed else None]
        assert len(came) == 1 + followed
        if not followed:
            assert "another server, which is not asked" in connector.context.standing.reason
            assert {dialled[1:] for dialled in running().network.dialled} == {(HOST, PORT)}


async def test_redirects_in_a_circle_end(tmp_path: Path) -> None:
    async with serving(lambda _: web.Response(status=307, headers={"Location": "/now"})) as came:
        connector = poller(tmp_path)
        async with connector.source() as source, pumping(source):
            await asyncio.sleep(5.0)
        assert len(came) == 4
        assert "more than 3 times" in connector.context.standing.reason


# Servers that misbehave.

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "the connection broke"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "not HTTP as it must be"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n", "not HTTP as it must be"),
        (HEAD + b"Content-Length: 209715200\r\n\r\n", "larger than 1000000 bytes"),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}", "not HTTP as it must be"),
        (HEAD + b"Content-Length: 100\r\n\r\n{}", "broke off"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}", "broke off|not HTTP as it must be"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n", "broke off"),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", "compressed"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"{" * 2_000_000, "larger than 1000000 bytes"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "it answers 101|no answer"),
        (b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", "it answers 999"),
        (b"HTTP/1.1 500 \x1b[31m\r\nContent-Length: 0\r\n\r\n", "it answers 500|not HTTP"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_with_a_reason(tmp_path: Path, raw: bytes, reason: str) -> None:
    async with serving_raw(raw):
        connector = poller(tmp_path, body_bytes_max=1_000_000)
        async with connector.source() as source:
            async with asyncio.timeout(60):
                batch = await source.read()
            assert (batch.values, batch.qualities) == ([None], [BAD_NO_COMMUNICATION])
            standing = connector.context.standing
            assert any(word in standing.reason for word in reason.split("|")), standing.reason
            assert standing.reason.isprintable()


@pytest.mark.parametrize("raw", [b"", HEAD, HEAD + b"Content-Length: 100\r\n\r\n{", b"HTTP/1.1 200 OK\r\nX: "])
async def test_a_server_that_falls_silent_is_given_up_in_time(tmp_path: Path, raw: bytes) -> None:
    async with serving_raw(raw, then=10_000.0):
        connector = poller(tmp_path, answer_seconds=3)
        async with connector.source() as source:
            batch = await source.read()
            assert running().elapsed == pytest.approx(3.0, abs=0.1)
            assert batch.qualities == [BAD_NO_COMMUNICATION]
            assert "no answer in 3 s" in connector.context.standing.reason


async def test_a_server_that_trickles_is_given_up_in_time(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
            while not writer.transport.is_closing():
                writer.write(b" ")
                await asyncio.sleep(0.5)

    async with await asyncio.start_server(talk, HOST, PORT):
        connector = poller(tmp_path, answer_seconds=3)
        async with connector.source() as source:
            assert (await source.read()).qualities == [BAD_NO_COMMUNICATION]
            assert running().elapsed == pytest.approx(3.0, abs=0.1)


async def test_a_bomb_is_never_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    async with serving(lambda _: web.Response(body=bomb, headers={"Content-Encoding": "gzip"})) as came:
        async with poller(tmp_path).source() as source:
            tracemalloc.start()
            assert (await source.read()).qualities == [BAD_NO_COMMUNICATION]
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 4_000_000
        assert came[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Please log in</html>",
        b'{"v":NaN}',
        b'{"v":1,"v":2}',
        b'{"w":1}',
        b"[" * 100_000,
        b"\xff\xfe{",
        b'{"v":' + b"9" * 10_000 + b"}",
        '{"v":1}'.encode("utf-16"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_a_bad_value_once_and_never_a_wrong_one(
    tmp_path: Path, body: bytes
) -> None:
    async with serving(lambda _: body):
        connector = poller(tmp_path)
        async with connector.source() as source, pumping(source) as got:
            await asyncio.sleep(35.0)
        assert (got.tags, got.values, got.qualities) == (["t"], [None], [BAD_DECODING]), said(connector.context)
        assert connector.context.standing.counters["undecodable"] == 4
        assert "is not json: " in connector.context.standing.reason


async def test_credentials_go_to_the_server_and_secrets_are_read_anew(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("first")
    async with serving(lambda _: b'{"v":1,"t":0}') as came:
        async with poller(tmp_path, bearer=f"${{file:{tmp_path / 's'}}}").source() as source, pumping(source):
            await asyncio.sleep(5.0)
            (tmp_path / "s").write_text("second")
            await asyncio.sleep(10.0)
            (tmp_path / "s").unlink()
            await asyncio.sleep(10.0)
        assert [request.headers["Authorization"] for request in came] == ["Bearer first", "Bearer second"]
        basic = poller(tmp_path / "b", username="u", password="${env:PATH}")
        async with basic.source() as source, pumping(source):
            await eventually(lambda: len(came) == 3)
        assert came[-1].headers["Authorization"].startswith("Basic ")


async def test_tags_nobody_can_know_before_the_first_answer_are_named_by_a_gap(tmp_path: Path) -> None:
    answers: list[web.StreamResponse | bytes] = [web.Response(status=500), b'{"samples":[{"tag":"x","value":1}]}']
    async with serving(lambda _: answers.pop(0)):
        written = {"url": f"http://{HOST}:{PORT}/", "interval_seconds": 10, "payload": "plantgate"}
        connector = Http(settings(poll=[written]), lent(tmp_path, connection="page"))
        async with connector.source() as source:
            first: Batch = await source.read()
            assert (first.tags, [gap.tags for gap in first.gaps]) == ([], [(written["url"],)])
            second = await source.read()
            assert (second.tags, [gap.tags for gap in second.gaps]) == (["x"], [("x",)])
