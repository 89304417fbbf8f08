"""Clients that misbehave: each gets a named refusal, no reading comes of it, and another client is served meanwhile."""

import asyncio
import base64
import gzip
import hashlib
import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Batch
from plantgate.sdk.quality import GOOD
from plantgate.testing.simloop import running
from plantgate_connectors.http import Http
from tests.connectors.http.given import (
    BEARER,
    PORT,
    TOKEN,
    Answer,
    connected,
    eventually,
    post,
    pumping,
    read_answer,
    receiver,
    request,
    said,
    talk,
)

pytestmark = pytest.mark.simulated(seeds=1)

ONE = b'{"tags":["a"],"values":[1],"qualities":[0],"times":[null]}'


@asynccontextmanager
async def served(folder: Path, **written: Any) -> AsyncIterator[tuple[Http, Batch]]:
    """A receiver with a pump behind it, and a bystander whose readings must arrive whatever happens."""
    connector = receiver(folder, **written)
    async with connector.source() as source, pumping(source) as got:
        yield connector, got
        before = len(got)
        assert (await post("/machines/bystander/temperature", b"61.5")).status == 204, "another client was harmed"
        assert list(got)[before:][-1].value == 61.5


async def closed(reader: asyncio.StreamReader) -> bytes:
    """Everything until the connection ends, however it ends."""
    read = b""
    try:
        while piece := await reader.read(65_536):
            read += piece
    except ConnectionError:
        pass
    return read


# Slow.


async def test_a_head_that_trickles_is_cut_off(tmp_path: Path) -> None:
    async with served(tmp_path) as (connector, got), connected() as (reader, writer):
        started = running().elapsed

        async def trickle() -> None:
            for byte in request("/text", b"x", *(f"X-{n}: {n}" for n in range(20))):
                writer.write(bytes([byte]))
                await asyncio.sleep(0.5)

        trickling = asyncio.create_task(trickle())
        assert (await closed(reader)).startswith(b"HTTP/1.1 408 ")
        assert running().elapsed - started == pytest.approx(10.0, abs=0.2)
        trickling.cancel()
        assert not got.tags
        assert connector.context.standing.counters["refused"] == 1


async def test_a_connection_that_says_nothing_is_cut_off(tmp_path: Path) -> None:
    async with served(tmp_path), connected() as (reader, _):
        started = running().elapsed
        assert (await closed(reader)).startswith(b"HTTP/1.1 408 ")
        assert running().elapsed - started == pytest.approx(10.0, abs=0.2)


async def test_the_second_head_of_a_connection_may_not_trickle_either(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, got), connected() as (reader, writer):
        writer.write(request("/text", b"first"))
        assert (await read_answer(reader)).status == 204
        await asyncio.sleep(60)  # an idle connection is kept
        writer.write(b"POST /text HTTP/1.1\r\nHost: ")
        started = running().elapsed
        assert (await closed(reader)).startswith(b"HTTP/1.1 408 ")
        assert running().elapsed - started == pytest.approx(10.0, abs=0.2)
        assert got.values == ["first"]


async def test_an_idle_connection_is_closed_in_the_end(tmp_path: Path) -> None:
    async with served(tmp_path), connected() as (reader, writer):
        writer.write(request("/text", b"first"))
        assert (await read_answer(reader)).status == 204
        started = running().elapsed
        assert await closed(reader) == b""
        assert running().elapsed - started == pytest.approx(75.0, abs=1.0)


async def test_a_body_that_trickles_is_cut_off_and_gives_its_room_back(tmp_path: Path) -> None:
    async with served(tmp_path) as (connector, got), connected() as (reader, writer):
        writer.write(request("/text", b"x" * 1000)[:-1000])

        async def trickle() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(1.0)

        trickling = asyncio.create_task(trickle())
        assert (await read_answer(reader)).status == 408
        trickling.cancel()
        assert not got.tags
        assert connector._guard is not None
        assert connector._guard.room.taken == 0


async def test_a_client_that_reads_no_answers_is_cut_off(tmp_path: Path) -> None:
    async with served(tmp_path) as (connector, _), connected() as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        deaf = request("/text", b"x") * 50

        async def pour() -> None:
            while not writer.transport.is_closing():
                writer.write(deaf)
                await writer.drain()

        pouring = asyncio.create_task(pour())
        await eventually(lambda: connector.context.standing.counters.get("refused", 0) > 0, seconds=600)
        assert any(line[2].get("reason") == "unread" for line in said(connector.context))
        pouring.cancel()
        await asyncio.wait([pouring])


async def test_one_peer_may_not_take_every_connection(tmp_path: Path) -> None:
    connector = receiver(tmp_path, per_peer_max=5, connections_max=8)
    async with connector.source() as source, pumping(source):
        held = [await asyncio.open_connection("127.0.0.1", PORT) for _ in range(5)]
        refused = await talk(request("/text", b"x"))
        assert refused.status == 503
        assert refused.headers["retry-after"] == "5"
        for _, writer in held:
            writer.close()
        await asyncio.sleep(1.0)
        assert (await post("/text", b"x")).status == 204


# Large.


async def test_a_body_said_to_be_large_is_refused_unread(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, got):
        answer = await talk(request("/text", b"")[:-4].replace(b"Length: 0", b"Length: 209715200") + b"\r\n\r\n")
        assert (answer.status, answer.detail) == (413, "a body may have 1048576 bytes")
        assert not got.tags


async def test_a_body_that_turns_out_large_is_refused_on_the_way_and_held_by_nobody(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, got), connected() as (reader, writer):
        head = request("/text", b"", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
        chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            writer.write(head)

            async def pour() -> None:
                for _ in range(3200):  # 200 MB
                    writer.write(chunk)
                    await writer.drain()

            pouring = asyncio.create_task(pour())
            answer = await read_answer(reader)
            assert answer.status == 413
            await asyncio.wait([pouring])
            assert pouring.exception() is not None, "the server listened to all of it"
            assert tracemalloc.get_traced_memory()[1] - before < 8_000_000
        finally:
            tracemalloc.stop()
        assert not got.tags


async def test_a_head_without_end_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, got):
        for raw in (
            b"POST /" + b"x" * 100_000,
            b"POST /text HTTP/1.1\r\nX: " + b"x" * 100_000,
            b"POST /text HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(10_000)),
        ):
            assert (await talk(raw)).status == 400
        assert not got.tags


async def test_many_small_requests_in_one_go_are_answered_in_turn(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, got), connected() as (reader, writer):
        writer.write(b"".join(request("/text", b"%d" % n) for n in range(300)))
        for _ in range(300):
            assert (await read_answer(reader)).status == 204
        assert got.values == [str(n) for n in range(300)]


@cache
def bomb() -> bytes:
    """A hundred megabytes in a hundred kilobytes."""
    return gzip.compress(b"0" * 100_000_000)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "x-unknown"])
async def test_a_compressed_body_is_refused_and_never_unpacked(tmp_path: Path, encoding: str) -> None:
    async with served(tmp_path) as (_, got):
        bomb()
        tracemalloc.start()
        answer = await post("/text", bomb(), f"Content-Encoding: {encoding}")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert answer.status == 415
        assert answer.headers["accept-encoding"] == "identity"
        assert peak < 4_000_000
        assert not got.tags


# Framing that two readers take differently.


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\nPOST /text HTTP/1.1\r\n\r\n"),
        (["Content-Length: 5", "Content-Length: 6"], b"hello!"),
        (["Content-Length: 5, 6"], b"hello!"),
        (["Content-Length: +5"], b"hello"),
        (["Content-Length: -1"], b"hello"),
        (["Content-Length: 0x5"], b"hello"),
        (["Content-Length: 99999999999999999999999"], b"hello"),
        (["Transfer-Encoding: chunked, identity"], b"0\r\n\r\n"),
        (["Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
        (["Transfer-Encoding : chunked"], b"0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"-1\r\nhello\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"0x5\r\nhello\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"ffffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"5\r\nhelloGARBAGE\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"5 \r\r\nhello\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"zz\r\nhello\r\n0\r\n\r\n"),
        (["Content-Length: 5", " folded: line"], b"hello"),
        (["Content-Length: 5", "X: a\rb"], b"hello"),
        (["Content-Length: 5", "X: a\0b"], b"hello"),
        (["Content-Length: 5", "no colon"], b"hello"),
        (["Content-Length: 5", "Bad Name: x"], b"hello"),
    ],
)
async def test_framing_that_can_be_read_two_ways_is_refused_and_ends_the_connection(
    tmp_path: Path, headers: list[str], body: bytes
) -> None:
    raw = "\r\n".join(["POST /text HTTP/1.1", "Host: localhost", BEARER, *headers]).encode() + b"\r\n\r\n" + body
    smuggled = request("/text", b"smuggled")
    async with served(tmp_path) as (_, got), connected() as (reader, writer):
        writer.write(raw + smuggled)
        async with asyncio.timeout(60):
            assert (await read_answer(reader)).status == 400
            assert await closed(reader) == b"", "something behind it was answered"
        assert not got.tags


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,  # a TLS client
        b"\0" * 1000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"POST\r\n\r\n",
        b"\r\n" * 50_000,
        b"POST /text HTTP/1.1\nHost: localhost\n\nx",
        "POST /ü HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    ],
)
async def test_what_is_not_http_is_refused(tmp_path: Path, raw: bytes) -> None:
    async with served(tmp_path) as (_, got), connected() as (reader, writer):
        writer.write(raw)
        async with asyncio.timeout(60):
            answer = await closed(reader)
        assert not answer or answer.split(b" ", 2)[1] in (b"400", b"401", b"408", b"405"), answer
        assert not got.tags


async def test_a_body_cut_short_is_no_reading(tmp_path: Path) -> None:
    async with served(tmp_path) as (connector, got), connected() as (_, writer):
        writer.write(request("/text", b"only a part of it")[:-8])
        await asyncio.sleep(0.1)
        writer.close()
        await asyncio.sleep(1.0)
        assert not got.tags
        assert connector._guard is not None
        assert connector._guard.room.taken == 0


async def test_an_upgrade_is_not_taken_up(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, got):
        answer = await talk(request("/text", b"x", "Connection: Upgrade", "Upgrade: websocket", method="GET"))
        assert answer.status == 405
        assert not got.tags


# Payloads.

BAD_PAYLOADS: dict[str, bytes] = {
    "100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "100,000 levels in a value": b'{"v":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "33 levels": b'{"v":' + b"[" * 34 + b"]" * 34 + b"}",
    "100,000 objects": b'{"v":' * 100_000 + b"1" + b"}" * 100_000,
    "a key twice": b'{"v":1,"v":2}',
    "a key twice inside": b'{"v":{"a":1,"a":2}}',
    "a key twice, once escaped": b'{"v":1,"\\u0076":2}',
    "NaN": b'{"v":NaN}',
    "Infinity": b'{"v":-Infinity}',
    "1e999": b'{"v":1e999}',
    "10,000 digits": b'{"v":' + b"9" * 10_000 + b"}",
    "300 digits": b'{"v":' + b"9" * 300 + b"}",
    "65 bits": b'{"v":18446744073709551616}',
    "UTF-16": '{"v":1}'.encode("utf-16"),
    "UTF-16 without mark": '{"v":1}'.encode("utf-16-le"),
    "UTF-32": '{"v":1}'.encode("utf-32"),
    "byte order mark": b'\xef\xbb\xbf{"v":1}',
    "Latin-1": '{"v":"ü"}'.encode("latin-1"),
    "half a surrogate pair": b'{"v":"\\ud800"}',
    "half a surrogate pair as a key": b'{"v":{"\\udfff":1}}',
    "overlong UTF-8": b'{"v":"\xc0\xaf"}',
    "a comment": b'{"v":1/* one */}',
    "a trailing comma": b'{"v":1,}',
    "two documents": b'{"v":1}{"v":2}',
    "nothing": b"",
    "cut short": b'{"v":1',
    "single quotes": b"{'v':1}",
    "a control character": b'{"v":"a\nb"}',
    "nothing there": b'{"w":1}',
    "a list": b"[1]",
}


@pytest.mark.parametrize("name", BAD_PAYLOADS)
async def test_json_that_means_two_things_or_nothing_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    async with served(tmp_path) as (connector, got):
        answer = await post("/json/t", BAD_PAYLOADS[name])
        assert answer.status == 400
        assert answer.detail.startswith("the body is not json: ")
        assert not got.tags
        assert connector.context.standing.counters["undecodable"] == 1


@pytest.mark.parametrize(
    "body",
    [b"nan", b"inf", b"-Infinity", b"1e999", b"1_000", b"0x10", b"9" * 10_000, b"", b"1 2", b"\xef\xbb\xbf1", b"1,5"],
)
async def test_a_number_that_is_none_is_refused(tmp_path: Path, body: bytes) -> None:
    async with served(tmp_path) as (_, got):
        answer = await post("/machines/m/temperature", body)
        assert answer.status == 400
        assert answer.detail.startswith("the body is not number: ")
        assert not got.tags


@pytest.mark.parametrize(
    "body",
    [
        {"tags": ["a", "b"], "values": [1], "qualities": [0], "times": [None]},
        {"tags": ["a"], "values": [1], "qualities": [0]},
        {"tags": "a", "values": [1], "qualities": [0], "times": [None]},
        {"tags": [1], "values": [1], "qualities": [0], "times": [None]},
        {"tags": ["a"], "values": [1], "qualities": [0], "times": ["yesterday"]},
        {"tags": ["a"], "values": [1], "qualities": [0], "times": ["2026-02-30T00:00:00Z"]},
        {"samples": [{"value": 1}]},
        {"samples": [1]},
        {"samples": {}},
        {"gaps": [{"tags": ["a"], "cause": 1}]},
        {"gaps": [{"tags": ["a"], "cause": "x", "lost": -1}]},
        {"specversion": "1.0", "data": 7},
        {},
        [],
        7,
        "text",
    ],
)
async def test_a_batch_that_is_none_is_refused_as_a_whole(tmp_path: Path, body: object) -> None:
    async with served(tmp_path) as (_, got):
        assert (await post("/readings", body)).detail.startswith("the body is not plantgate: ")
        assert not got.tags


@pytest.mark.parametrize(
    "tag",
    [
        "line1/\nERROR forged line",
        "line1/\r\n",
        "\x1b[2J\x1b[31mred",
        "a\0b",
        "a\x85b",
        "line\u2028separator",
        "press\u202egpj.exe",
        "a\u2066b",
        "a\x7f",
        "x" * 10_240,
        "ü" * 600,
        "",
    ],
)
async def test_a_tag_name_that_cannot_be_shown_is_refused(tmp_path: Path, tag: str) -> None:
    async with served(tmp_path) as (connector, got):
        batch = {"tags": [tag], "values": [1], "qualities": [0], "times": [None]}
        answer = await post("/readings", batch)
        assert answer.status == 400
        assert answer.detail.startswith("the body is not plantgate: the name of a tag ")
        assert answer.detail.isprintable()
        assert len(answer.detail) < 400
        for _, _, facts in said(connector.context):
            assert all(str(fact).isprintable() for fact in facts.values())
        assert not got.tags
        assert (await post("/readings", {"gaps": [{"tags": [tag], "cause": "x"}]})).status == 400
        assert (await post("/fields/f", {tag: 1})).status in ((400,) if tag else (204,))


@pytest.mark.parametrize(
    "tag",
    [
        "${jndi:ldap://x/a}",
        "{{7*7}}",
        "%(name)s %s {0}",
        "'; DROP TABLE samples; --",
        "../../../etc/passwd",
        "<script>alert(1)</script>",
        "température 🏭 温度",
        "a b\\c\"d'e",
        "👨‍👩‍👧",
        "#+$SYS",
    ],
)
async def test_a_tag_name_that_is_only_odd_is_text_like_any_other(tmp_path: Path, tag: str) -> None:
    async with served(tmp_path) as (_, got):
        batch = {"tags": [tag], "values": [1], "qualities": [0], "times": [None]}
        assert (await post("/readings", batch)).status == 204
        assert got.tags == [tag]


# Paths and headers.


@pytest.mark.parametrize(
    "path",
    [
        "/machines/../readings",
        "/machines/%2e%2e/temperature",
        "/machines/%2E%2e/temperature",
        "/machines/..%2f..%2fetc/temperature",
        "/machines/a%2fb/temperature",
        "/machines/a%5cb/temperature",
        "/machines/%00/temperature",
        "/machines//temperature",
        "/machines/%ff%fe/temperature",
        "/machines/%c0%ae%c0%ae/temperature",
        "/machines/%zz/temperature",
        "/machines/%/temperature",
        "/json/a/../../b",
        "/./readings",
        "//readings",
        "/" + "x" * 3000,
        "http://localhost/readings",
        "*",
    ],
)
async def test_a_path_that_can_be_read_two_ways_is_refused(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as (_, got):
        answer = await post(path, b"1")
        assert answer.status == 400, answer
        assert not got.tags


@pytest.mark.parametrize("segment", ["a%0d%0aSet-Cookie:%20x=1", "%1b[2J", "%e2%80%ae", "x" * 1100])
async def test_a_path_that_would_make_a_tag_nobody_can_show_is_refused(tmp_path: Path, segment: str) -> None:
    async with served(tmp_path) as (connector, got):
        answer = await post(f"/machines/{segment}/temperature", b"1")
        assert answer.status == 400
        assert "the name of a tag" in answer.detail
        assert set(answer.headers) == {"content-type", "cache-control", "content-length", "date", "server"}
        assert all(str(fact).isprintable() for line in said(connector.context) for fact in line[2].values())
        assert not got.tags


async def test_a_path_segment_becomes_part_of_a_tag(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, got):
        assert (await post("/machines/press%203%20%C3%BC/temperature", b"1")).status == 204
        assert (await post("/json/a/b/c", {"v": True})).status == 204
        assert got.tags == ["machines/press 3 ü/temperature", "a/b/c"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Host: a", "Host: b"], 400),
        ([], 400),
        (["Host: evil.example"], 421),
        (["Host: 127.0.0.1.evil.example"], 421),
        (["Host: localhost.evil.example:8460"], 421),
        (["Host: 10.0.0.1"], 421),
        (["Host: localhost", "Origin: https://evil.example"], 403),
        (["Host: localhost", "Origin: null"], 403),
        (["Host: localhost", "Authorization: Bearer x", BEARER], 400),
        (["Host: localhost:8460", BEARER], 204),
        (["Host: [::1]:8460", BEARER], 204),
    ],
)
async def test_what_a_web_page_would_send_is_refused(tmp_path: Path, headers: list[str], status: int) -> None:
    raw = "\r\n".join(["POST /text HTTP/1.1", "Content-Length: 1", *headers]).encode() + b"\r\n\r\nx"
    async with served(tmp_path) as (_, got):
        assert (await talk(raw)).status == status
        assert len(got) == (status == 204)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"])
async def test_only_posting_is_let_in(tmp_path: Path, method: str) -> None:
    async with served(tmp_path), connected() as (reader, writer):
        target = "x:1" if method == "CONNECT" else "/text"
        writer.write(request(target, b"", "Connection: close", method=method))
        answer = await closed(reader)
        assert answer.split(b" ")[1] in ((b"405",) if method not in ("CONNECT", "BREW") else (b"405", b"400"))


async def test_a_refusal_is_told_once_for_each_kind_and_peer(tmp_path: Path) -> None:
    async with served(tmp_path) as (connector, _):
        for _ in range(20):
            await post("/nowhere", b"x")
        told = [line for line in said(connector.context) if line[0] == "warning"]
        assert len(told) == 1
        assert told[0][2] == {
            "peer": told[0][2]["peer"],
            "path": "/nowhere",
            "reason": "404: nothing is taken at this path",
        }
        assert connector.context.standing.counters["refused"] == 20


# Guessing.


async def test_ten_thousand_tokens_are_not_tried(tmp_path: Path) -> None:
    async with served(tmp_path, failures_max=10) as (connector, got):
        statuses = [
            (await post("/text", b"x", f"Authorization: Bearer {hashlib.sha256(b'%d' % n).hexdigest()}")).status
            for n in range(40)
        ]
        assert statuses == [401] * 10 + [429] * 30
        refused = await post("/text", b"x")
        assert refused.status == 429, "the right token is not told from a wrong one any more"
        assert 0 < int(refused.headers["retry-after"]) <= 60
        await asyncio.sleep(61)
        assert (await post("/text", b"x")).status == 204
        assert got.values == ["x"]
        assert connector.context.standing.counters["refused"] == 41


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        "Bearer \xff\xfe",
        "Bearer " + "x" * 5000,
        f"Basic {base64.b64encode(b'press3:' + TOKEN.encode()).decode()}",
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Digest username=x",
        'HMAC-SHA256 key="press3", time="1", nonce="12345678", signature="00"',
        "HMAC-SHA256 nonsense",
    ],
)
async def test_wrong_credentials_are_refused_before_the_body_is_read(tmp_path: Path, authorization: str) -> None:
    async with served(tmp_path) as (_, got):
        header = f"Authorization: {authorization}" if authorization else "Authorization:"
        head = request("/text", b"x" * 1000, header)[:-1000]
        answer = await talk(head)  # no body ever comes
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert not got.tags


async def test_any_bytes_at_all_end_in_an_answer_or_a_closed_connection(tmp_path: Path) -> None:
    luck = running().random("fuzz")
    async with served(tmp_path, failures_max=1000) as (connector, got):
        for _ in range(60):
            raw = bytearray(request("/readings", ONE))
            for _ in range(luck.randrange(1, 6)):
                place = luck.randrange(len(raw))
                match luck.randrange(3):
                    case 0:
                        raw[place] = luck.randrange(256)
                    case 1:
                        del raw[place : place + luck.randrange(1, 9)]
                    case _:
                        raw[place:place] = luck.randbytes(luck.randrange(1, 9))
            async with asyncio.timeout(120), connected() as (reader, writer):
                writer.write(bytes(raw))
                writer.write_eof()
                await closed(reader)
        assert set(got.values) <= {*range(10)}
        assert all(quality == GOOD or tag == "a" for tag, quality in zip(got.tags, got.qualities, strict=True))
        assert "request_errors" not in connector.context.standing.counters


async def test_the_answer_of_a_problem_is_as_rfc_9457_says(tmp_path: Path) -> None:
    async with served(tmp_path):
        answer: Answer = await post("/nowhere", b"x")
        assert json.loads(answer.body) == {
            "title": "Not Found",
            "status": 404,
            "detail": "nothing is taken at this path",
        }
