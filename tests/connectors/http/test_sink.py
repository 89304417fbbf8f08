"""Sending: what each answer means, and bodies another can read back."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from plantgate.sdk import Batch, Gap, Rejected, Sample, Unavailable, Value
from plantgate.sdk.quality import BAD, GOOD
from plantgate.testing.context import lent
from plantgate.testing.simloop import running
from plantgate_connectors.http import Http
from plantgate_connectors.http.batches import read_batch
from plantgate_connectors.http.client import Answer
from plantgate_connectors.http.verdicts import retry_after, verdict
from tests.connectors.http.given import (
    HOST,
    PORT,
    T0,
    dialling,  # noqa: F401  a fixture
    pumping,
    receiver,
    server,
    settings,
)

pytestmark = pytest.mark.simulated(seeds=2)


def batch(*values: Value, position: int = 0) -> Batch:
    """Samples as an outbox gives them."""
    given = Batch.of(Sample(f"line1/{n}", value, GOOD, T0 + n) for n, value in enumerate(values, position))
    given.origin, given.position, given.received = "telemetry", position, T0
    return given


class Office:
    """Answers as told; then 204."""

    def __init__(self, *answers: web.Response) -> None:
        self.answers = list(answers)
        self.came: list[tuple[dict[str, str], bytes]] = []

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        self.came.append((dict(request.headers), await request.read()))
        return self.answers.pop(0) if self.answers else web.Response(status=204)


@asynccontextmanager
async def office(*answers: web.Response) -> AsyncIterator[Office]:
    """On the simulated network."""
    there = Office(*answers)
    async with server(there.take, PORT):
        yield there


def sender(folder: Path, **written: Any) -> Http:
    """A connector that sends."""
    return Http(settings(send={"url": f"http://{HOST}:{PORT}/in?x=1", **written}), lent(folder, connection="office"))


async def deliver(connector: Http, *batches: Batch) -> None:
    """In one session."""
    async with connector.sink() as sink:
        for each in batches:
            await sink.accept(each)


def answered(status: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer as the client gives it."""
    return Answer(status, {name.replace("_", "-").title(): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    ("answer", "kind", "pause", "words"),
    [
        (answered(200), None, None, ""),
        (answered(202, b"{}", content_type="application/json"), None, None, ""),
        (answered(204), None, None, ""),
        (answered(200, b"<html>", content_type="text/html; charset=utf-8"), Unavailable, 30.0, "web page"),
        (answered(301, location="http://evil.example/\r\nX: 1"), Unavailable, 30.0, r"evil.example/\r\nX: 1"),
        (answered(302), Unavailable, 30.0, "nowhere"),
        (answered(307, location="/in2"), Unavailable, 30.0, "/in2"),
        (answered(400), Rejected, None, "refuses this batch (400)"),
        (
            answered(422, b'{"detail":"no such tag\\u001b[2J"}', content_type="application/problem+json"),
            Rejected,
            None,
            r"(422): no such tag\x1b[2J",
        ),
        (answered(415, b"not JSON", content_type="application/problem+json"), Rejected, None, "(415)"),
        (answered(400, b"[" * 50_000, content_type="application/json"), Rejected, None, "(400)"),
        (answered(400, b"bad\nline", content_type="text/plain"), Rejected, None, r"(400): bad\nline"),
        (answered(401), Unavailable, 30.0, "does not know our credentials"),
        (answered(403), Unavailable, 30.0, "does not allow us in"),
        (answered(404), Unavailable, 30.0, "nothing at this URL"),
        (answered(405), Unavailable, 30.0, "takes no posts"),
        (answered(408), Unavailable, None, "not now"),
        (answered(409), Unavailable, None, "not now"),
        (answered(425), Unavailable, None, "not now"),
        (answered(429, retry_after="7"), Unavailable, 7.0, "not now (429)"),
        (answered(429, retry_after="86400"), Unavailable, 3600.0, "not now"),
        (answered(429, retry_after="9" * 400), Unavailable, 3600.0, "not now"),
        (answered(503, retry_after="Thu, 01 Jan 2026 00:01:30 GMT"), Unavailable, 90.0, "not now"),
        (answered(503, retry_after="Thu, 01 Jan 2025 00:00:00 GMT"), Unavailable, 0.0, "not now"),
        (answered(503, retry_after="soon"), Unavailable, None, "not now"),
        (answered(503, retry_after="-5"), Unavailable, None, "not now"),
        (answered(500), Unavailable, None, "not now (500)"),
        (answered(501), Unavailable, None, "not now"),
        (answered(999), Unavailable, None, "not now"),
        (answered(101), Unavailable, None, "not now"),
    ],
)
def test_what_an_answer_means(answer: Answer, kind: type | None, pause: float | None, words: str) -> None:
    error = verdict(answer, "office: http://x", now=T0, web_page_is_success=False)
    assert type(error) is (kind or type(None))
    assert words in str(error or "")
    assert str(error).isprintable()
    if isinstance(error, Unavailable):
        assert error.retry_after_seconds == pause


def test_a_web_page_is_success_where_the_plant_file_says_so() -> None:
    page = answered(200, b"<html>", content_type="text/html")
    assert verdict(page, "x", now=T0, web_page_is_success=True) is None


def test_a_time_to_wait_is_never_negative_nor_more_than_an_hour() -> None:
    for written in ("0", "1", "3600", "3601", "Sat, 01 Jan 9999 00:00:00 GMT", "Wed, 31 Dec 1969 00:00:00 GMT", "٣"):
        assert (retry_after(written, T0) or 0.0) in (0.0, 1.0, 3600.0)


async def test_a_batch_is_posted_with_a_key_that_is_its_own(tmp_path: Path) -> None:
    async with office() as there:
        first, second = batch(1.5, "x"), batch(2.5, position=2)
        await deliver(sender(tmp_path), first, second, first)
        await deliver(sender(tmp_path), first)
        keys = [headers["Idempotency-Key"] for headers, _ in there.came]
        assert keys[0] == keys[2] == keys[3] != keys[1]
        assert keys[0].startswith('"telemetry/0/')
        again = batch(1.5)  # the same beginning, cut otherwise
        await deliver(sender(tmp_path), again)
        assert there.came[-1][0]["Idempotency-Key"] not in keys
        headers, body = there.came[0]
        assert headers["Content-Type"] == "application/json"
        assert headers["User-Agent"] == "plantgate"
        assert "Cookie" not in headers
        assert json.loads(body) == {
            "origin": "telemetry",
            "position": 0,
            "samples": [
                {
                    "tag": "line1/0",
                    "value": 1.5,
                    "quality": "Good",
                    "code": 0,
                    "time": "2026-01-01T00:00:00.000000000Z",
                },
                {
                    "tag": "line1/1",
                    "value": "x",
                    "quality": "Good",
                    "code": 0,
                    "time": "2026-01-01T00:00:00.000000001Z",
                },
            ],
        }


@pytest.mark.parametrize("form", ["json", "columns", "cloudevents"])
@pytest.mark.parametrize("time", ["rfc3339", "nanoseconds"])
async def test_every_value_can_be_read_back(tmp_path: Path, form: str, time: str) -> None:
    values: list[Value] = [
        True,
        -(2**63),
        2**64 - 1,
        1.5,
        -0.0,
        math.nan,
        math.inf,
        "ü\n\0",
        None,
        [1, [None]],
        {"a": 1},
    ]
    given = batch(*values)
    given.qualities[3], given.times[4] = BAD, None
    given.gaps = (Gap(("line1/0",), T0, None, "session lost", 3, 1),)
    async with office() as there:
        await deliver(sender(tmp_path, format=form, time=time), given)
        back = read_batch(there.came[0][1])
        assert (back.tags, back.qualities, back.times) == (given.tags, given.qualities, given.times)
        assert back.gaps == given.gaps
        assert repr(back.values) == repr(values)
        if form == "cloudevents":
            event = json.loads(there.came[0][1])
            assert (event["id"], event["type"], event["specversion"]) == ("telemetry/0", "plantgate.samples", "1.0")


async def test_a_large_batch_is_split_and_its_gaps_go_once(tmp_path: Path) -> None:
    given = batch(*(float(n) for n in range(100)))
    given.gaps = (Gap(("line1/0",), None, None, "x", None),)
    async with office() as there:
        await deliver(sender(tmp_path, body_bytes_max=2000), given)
        back = [read_batch(body) for _, body in there.came]
        assert all(len(body) <= 2000 for _, body in there.came)
        assert [value for part in back for value in part.values] == given.values
        assert [len(part.gaps) for part in back] == [1] + [0] * (len(back) - 1)
        assert [json.loads(body)["position"] for _, body in there.came][:2] == [0, len(back[0])]


async def test_what_the_server_calls_too_large_is_split_and_one_value_is_set_aside(tmp_path: Path) -> None:
    async def take(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        return web.Response(status=413 if b"huge" in body or len(body) > 400 else 204)

    async with server(take, PORT):
        with pytest.raises(Rejected, match=r"a value of line1/2 makes \d+ bytes, too large a request$"):
            await deliver(sender(tmp_path), batch(1, 2, "huge", 4, 5, 6))


async def test_what_can_be_delivered_is_though_a_part_is_refused(tmp_path: Path) -> None:
    async with office(web.Response(status=400), web.Response(status=204), web.Response(status=400)) as there:
        with pytest.raises(Rejected, match=r"refuses this batch \(400\) \(and \d+ more like it\)"):
            await deliver(sender(tmp_path, body_bytes_max=1024), batch(*("x" * 300 for _ in range(8))))
        assert len(there.came) == 4


async def test_no_answer_in_time_is_later_and_the_same_key_again(tmp_path: Path) -> None:
    came: list[str] = []

    async def take(request: web.BaseRequest) -> web.StreamResponse:
        came.append(request.headers["Idempotency-Key"])
        await asyncio.sleep(100.0 if len(came) == 1 else 0.0)
        return web.Response(status=204)

    async with server(take, PORT):
        started = running().elapsed
        with pytest.raises(Unavailable, match="no answer in 5 s"):
            await deliver(sender(tmp_path, answer_seconds=5), batch(1))
        assert running().elapsed - started == pytest.approx(5.0, abs=0.1)
        await deliver(sender(tmp_path, answer_seconds=5), batch(1))
        assert came[0] == came[1]


async def test_a_server_that_is_not_there_is_found_out_on_opening(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"office: http://127\.0\.0\.1:8460/in\?x=1: cannot be reached"):
        async with sender(tmp_path).sink():
            pass


async def test_who_we_are_is_sent(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a secret of ours, long enough")
    reference = f"${{file:{tmp_path / 's'}}}"
    async with office() as there:
        await deliver(sender(tmp_path, bearer=reference), batch(1))
        await deliver(sender(tmp_path, username="us", password=reference), batch(1))
        assert [headers["Authorization"].split(" ")[0] for headers, _ in there.came] == ["Bearer", "Basic"]


async def test_one_plantgate_sends_signed_batches_to_another_and_a_repeat_counts_once(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a key that both of them have")
    key = f"${{file:{tmp_path / 'key'}}}"
    receiving = receiver(tmp_path, allow=[{"name": "line1", "signature": key, "tags": ["line1/"]}])
    sending = Http(
        settings(send={"url": f"http://{HOST}:{PORT}/readings", "username": "line1", "signature": key}), lent(tmp_path)
    )
    async with receiving.source() as source, pumping(source) as got:
        for _ in range(3):
            await deliver(sending, batch(1, math.nan), batch(3, position=2))
        assert repr(got.values) == "[1, nan, 3]"
        with pytest.raises(Unavailable, match=r"does not allow us in \(403\): line1 may not give values of 'line2/x'"):
            await deliver(sending, Batch(["line2/x"], [1], [0], [None], origin="o", position=9))
