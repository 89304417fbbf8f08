"""Receiving: the answer is the acknowledgement, and nothing counts twice that says it should not."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Batch, Gap, Unavailable
from plantgate.sdk.quality import BAD, GOOD, UNCERTAIN
from plantgate.testing.clock import WallClock
from plantgate.testing.simloop import running
from plantgate_connectors.http import signature
from plantgate_connectors.http.receiver import HttpReceiver
from plantgate_connectors.http.signature import Nonces
from tests.connectors.http.given import T0, Answer, connected, post, pumping, read_answer, receiver, request, said

pytestmark = pytest.mark.simulated(seeds=3)
KEY = "a key of press3 that nobody else has"
VALUE = '{"tags":["a"],"values":[1],"qualities":[0],"times":[null]}'


async def test_it_answers_when_the_reading_is_safe_and_not_before(tmp_path: Path) -> None:
    async with receiver(tmp_path).source() as source:
        posting = asyncio.create_task(post("/text", b"x"))
        batch = await source.read()
        await asyncio.sleep(5.0)
        assert not posting.done(), "answered, though nothing is safe yet"
        await source.ack(batch.cursor)
        assert (await posting).status == 204


async def test_answering_before_it_is_safe_would_lose_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutation: a receiver that answers when it has read loses what it answered for, when its session ends."""
    offer = HttpReceiver.offer

    def hasty(receiving: HttpReceiver, batch: Batch, size: int) -> "asyncio.Future[None]":
        safe = offer(receiving, batch, size)
        if not safe.done():
            safe.set_result(None)
        return safe

    connector = receiver(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(HttpReceiver, "offer", hasty)
        async with connector.source():
            assert (await post("/text", b"x")).status == 204
    async with connector.source() as source, pumping(source) as got:
        await asyncio.sleep(60.0)
        assert not got.values, "the mutation is not one"


async def test_it_says_later_when_it_takes_too_long(tmp_path: Path) -> None:
    async with receiver(tmp_path).source() as source:
        answer = await post("/text", b"x")
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert running().elapsed == pytest.approx(10.0, abs=0.1)
        assert (await source.read()).values == ["x"], "it was taken all the same, and may become safe yet"


async def test_requests_that_wait_together_travel_in_one_batch(tmp_path: Path) -> None:
    async with receiver(tmp_path).source() as source:
        posts = [asyncio.create_task(post("/text", b"%d" % n)) for n in range(20)]
        await asyncio.sleep(1.0)
        batch = await source.read()
        assert sorted(batch.values) == sorted(str(n) for n in range(20))  # type: ignore[type-var]
        assert batch.received > T0
        await source.ack(batch.cursor)
        assert {answer.status for answer in await asyncio.gather(*posts)} == {204}


async def test_when_it_is_stopped_waiting_senders_are_told_so_at_once(tmp_path: Path) -> None:
    async with receiver(tmp_path).source() as source:
        posts = [asyncio.create_task(post("/text", b"%d" % n)) for n in range(5)]
        await asyncio.sleep(1.0)
        await source.read()
        posts += [asyncio.create_task(post("/text", b"%d" % n)) for n in range(5)]
        await asyncio.sleep(1.0)
    assert {answer.status for answer in await asyncio.gather(*posts)} == {503}
    assert running().elapsed < 5.0


async def test_when_too_much_waits_the_rest_is_refused_unread_and_taken_later(tmp_path: Path) -> None:
    connector = receiver(tmp_path, buffer_bytes_max=100_000)
    async with connector.source() as source:
        posts = [asyncio.create_task(post("/text", b"x" * 30_000)) for _ in range(6)]
        await asyncio.sleep(5.0)
        refused = [posting.result().status for posting in posts if posting.done()]
        assert refused == [503] * 3
        assert connector._guard is not None
        assert connector._guard.room.taken <= 100_000
        batch = await source.read()
        await source.ack(batch.cursor)
        assert connector._guard.room.taken == 0
        async with pumping(source):
            assert (await post("/text", b"x" * 30_000)).status == 204


async def test_a_port_that_is_taken_is_unavailable_and_named(tmp_path: Path) -> None:
    async with receiver(tmp_path).source():
        with pytest.raises(Unavailable, match=r"hook: cannot listen on 127\.0\.0\.1:8460: "):
            async with receiver(tmp_path / "other").source():
                pass


# What is read.


async def test_every_payload_becomes_what_it_says(tmp_path: Path) -> None:
    async with receiver(tmp_path).source() as source, pumping(source) as got:
        assert (await post("/machines/m/temperature", " 61.50\n")).status == 204
        assert (await post("/json/a", {"v": [1, {"x": None}], "t": T0 + 5, "q": "Bad"})).status == 204
        assert (await post("/json/b", {"v": 2**64 - 1, "t": "2026-01-01T00:00:00.5Z", "q": 0x40000000})).status == 204
        assert (await post("/json/c", {"v": False, "t": "no time"})).status == 204
        assert (await post("/fields/f", {"x": 1, "in": {"y": "two"}, "none": None})).status == 204
        assert (await post("/text", "grüße")).status == 204
        assert list(zip(got.tags, got.values, got.qualities, got.times, strict=True)) == [
            ("machines/m/temperature", 61.5, GOOD, None),
            ("a", [1, {"x": None}], BAD, T0 + 5),
            ("b", 2**64 - 1, UNCERTAIN, T0 + 500_000_000),
            ("c", False, UNCERTAIN, None),
            ("f/x", 1, GOOD, None),
            ("f/in/y", "two", GOOD, None),
            ("f/none", None, GOOD, None),
            ("text", "grüße", GOOD, None),
        ]


async def test_batches_of_another_plantgate_arrive_as_they_were(tmp_path: Path) -> None:
    rows = {
        "samples": [
            {"tag": "a", "value": "NaN", "code": 0x80000000, "time": "2026-01-01T00:00:00.000000001Z"},
            {"tag": "b", "value": 1, "quality": "Uncertain"},
        ],
        "gaps": [{"tags": ["a"], "since": None, "until": T0, "cause": "session lost", "lost": 3, "recovered": 1}],
    }
    async with receiver(tmp_path).source() as source, pumping(source) as got:
        assert (await post("/readings", rows)).status == 204
        assert (await post("/readings", {"specversion": "1.0", "id": "x", "data": rows})).status == 204
        assert (await post("/readings", {"tag": "c", "value": -0.0})).status == 204
        assert (await post("/readings", {"samples": []})).status == 204
        assert got.tags == ["a", "b", "a", "b", "c"]
        assert str(got.values[0]) == "nan"
        assert got.qualities[:2] == [BAD, UNCERTAIN]
        assert got.times[:2] == [T0 + 1, None]
        assert got.gaps == (Gap(("a",), None, T0, "session lost", 3, 1),) * 2


async def test_a_clock_an_hour_ahead_makes_good_values_uncertain(tmp_path: Path) -> None:
    async with receiver(tmp_path).source() as source, pumping(source) as got:
        assert (await post("/json/a", {"v": 1, "t": T0 + 2 * 3600 * 10**9, "q": True})).status == 204
        assert (got.qualities, got.times) == ([UNCERTAIN], [T0 + 2 * 3600 * 10**9])


# The same again.


async def test_the_same_key_and_body_is_taken_once_and_answered_alike(tmp_path: Path) -> None:
    async with receiver(tmp_path).source() as source, pumping(source) as got:
        for key in ('Idempotency-Key: "k1"', "Idempotency-Key: k1"):
            assert (await post("/readings", VALUE, key)).status == 204
        assert got.values == [1]


async def test_without_a_key_the_same_body_counts_again(tmp_path: Path) -> None:
    """What shows that it is the key that does it."""
    async with receiver(tmp_path, keys_max=0).source() as source, pumping(source) as got:
        for _ in range(2):
            assert (await post("/readings", VALUE, "Idempotency-Key: k1")).status == 204
        assert got.values == [1, 1]


@pytest.mark.parametrize(("path", "body"), [("/readings", VALUE.replace("1", "2")), ("/json/x", '{"v":1}')])
async def test_the_same_key_with_another_body_or_path_is_refused(tmp_path: Path, path: str, body: str) -> None:
    async with receiver(tmp_path).source() as source, pumping(source) as got:
        assert (await post("/readings", VALUE, "Idempotency-Key: k1")).status == 204
        answer = await post(path, body, "Idempotency-Key: k1")
        assert answer.status == 422
        assert "make a new key" in answer.detail
        assert got.values == [1]


async def test_a_repeat_that_overtakes_the_answer_waits_for_the_same_answer(tmp_path: Path) -> None:
    async with receiver(tmp_path).source() as source:
        first = asyncio.create_task(post("/readings", VALUE, "Idempotency-Key: k1"))
        await asyncio.sleep(1.0)
        second = asyncio.create_task(post("/readings", VALUE, "Idempotency-Key: k1"))
        await asyncio.sleep(1.0)
        batch = await source.read()
        assert batch.values == [1]
        await source.ack(batch.cursor)
        assert [(await posting).status for posting in (first, second)] == [204, 204]


async def test_a_key_whose_request_came_to_nothing_is_new_again(tmp_path: Path) -> None:
    connector = receiver(tmp_path)
    async with connector.source():
        posting = asyncio.create_task(post("/readings", VALUE, "Idempotency-Key: k1"))
        await asyncio.sleep(1.0)
    assert (await posting).status == 503
    async with connector.source() as source, pumping(source) as got:
        assert (await post("/readings", VALUE, "Idempotency-Key: k1")).status == 204
        assert got.values == [1]


async def test_keys_are_the_senders_own(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("another token, long enough")
    (tmp_path / "token").write_text("the token of press3, long enough")
    allow = [
        {"name": name, "bearer": f"${{file:{tmp_path / file}}}"}
        for name, file in (("press3", "token"), ("press4", "other"))
    ]
    async with receiver(tmp_path, allow=allow).source() as source, pumping(source) as got:
        for token in ("0123456789abcdef-token-of-press3", "another token, long enough"):
            answer = await post("/readings", VALUE, f"Authorization: Bearer {token}", "Idempotency-Key: k1")
            assert answer.status == 204, answer
        assert got.values == [1, 1]


# Who.


async def test_a_sender_may_give_its_own_tags_only(tmp_path: Path) -> None:
    allow = [{"name": "press3", "bearer": f"${{file:{tmp_path / 'token'}}}", "tags": ["press3/", "hall/"]}]
    async with receiver(tmp_path, allow=allow).source() as source, pumping(source) as got:
        for tag, status in (("press3/a", 204), ("hall/b", 204), ("press30/a", 403), ("line1/x", 403), ("press3", 403)):
            batch: dict[str, Any] = {"tags": [tag], "values": [1], "qualities": [0], "times": [None]}
            assert (await post("/readings", batch)).status == status
            assert (await post("/readings", {"gaps": [{"tags": [tag], "cause": "x"}]})).status == status
        mixed = {"tags": ["press3/a", "line1/x"], "values": [1, 2], "qualities": [0, 0], "times": [None, None]}
        assert (await post("/readings", mixed)).status == 403
        assert got.tags == ["press3/a", "hall/b"]


async def test_a_changed_token_counts_within_seconds_and_a_deleted_one_lets_nobody_in(tmp_path: Path) -> None:
    connector = receiver(tmp_path)
    async with connector.source() as source, pumping(source):
        assert (await post("/text", b"x")).status == 204
        (tmp_path / "token").write_text("a newer token of press3")
        await asyncio.sleep(6.0)
        assert (await post("/text", b"x")).status == 401
        assert (await post("/text", b"x", "Authorization: Bearer a newer token of press3")).status == 204
        (tmp_path / "token").unlink()
        await asyncio.sleep(6.0)
        assert (await post("/text", b"x", "Authorization: Bearer a newer token of press3")).status == 401
        assert (await post("/text", b"x", "Authorization: Bearer ")).status == 401
        assert any(line[0] == "error" and "not let in" in line[1] for line in said(connector.context))


@pytest.mark.parametrize(
    ("token", "sentence"), [("short", "can be guessed"), (None, "cannot read"), ("", "can be guessed")]
)
async def test_a_token_that_guards_nothing_opens_no_port(tmp_path: Path, token: str | None, sentence: str) -> None:
    connector = receiver(tmp_path)
    (tmp_path / "token").unlink() if token is None else (tmp_path / "token").write_text(token)
    with pytest.raises(Unavailable, match=sentence):
        async with connector.source():
            pass


async def test_a_password_is_its_senders_only(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("pä:ss")
    (tmp_path / "q").write_text("other")
    allow = [{"name": name, "password": f"${{file:{tmp_path / name}}}"} for name in ("p", "q")]
    async with receiver(tmp_path, allow=allow).source() as source, pumping(source) as got:
        for pair, status in (
            ("p:pä:ss", 204),
            ("q:other", 204),
            ("q:pä:ss", 401),
            ("x:other", 401),
            ("p", 401),
            (":", 401),
        ):
            basic = base64.b64encode(pair.encode()).decode()
            assert (await post("/text", pair, f"Authorization: Basic {basic}")).status == status
        assert got.values == ["p:pä:ss", "q:other"]


async def test_anybody_may_post_where_the_plant_file_says_so(tmp_path: Path) -> None:
    async with receiver(tmp_path, allow=None, anonymous=True).source() as source, pumping(source) as got:
        assert (await post("/text", b"x", "Authorization:")).status == 204
        assert got.values == ["x"]


# Signatures.


def signed(body: bytes, *, path: str = "/text", nonce: str = "nonce-01", at: int | None = None, key: str = KEY) -> str:
    """The header of a signed request, now unless told otherwise."""
    now = WallClock().now() // 1_000_000_000
    written = signature.header(
        key, key="press3", method="POST", target=path, time=now if at is None else now + at, nonce=nonce, body=body
    )
    return f"Authorization: {written}"


def signing(tmp_path: Path) -> Any:
    """A receiver that wants signatures."""
    (tmp_path / "key").write_text(KEY)
    return receiver(tmp_path, allow=[{"name": "press3", "signature": f"${{file:{tmp_path / 'key'}}}"}])


async def test_a_signed_request_is_taken_once(tmp_path: Path) -> None:
    connector = signing(tmp_path)
    async with connector.source() as source, pumping(source) as got:
        header = signed(b"x")
        assert (await post("/text", b"x", header)).status == 204
        for _ in range(3):
            assert "sign each attempt anew" in (await post("/text", b"x", header)).detail
        assert got.values == ["x"]
    async with connector.source() as source, pumping(source) as got:  # a new session remembers
        assert (await post("/text", b"x", header)).status == 401
        assert not got.values


async def test_two_copies_at_the_same_time_are_taken_once(tmp_path: Path) -> None:
    async with signing(tmp_path).source() as source, pumping(source) as got:
        raw = request("/text", b"x", signed(b"x"))
        async with connected() as (one, first), connected() as (two, second):
            first.write(raw[:-1])
            second.write(raw[:-1])
            await asyncio.sleep(1.0)
            first.write(raw[-1:])
            second.write(raw[-1:])
            answers: list[Answer] = [await read_answer(one), await read_answer(two)]
        assert sorted(answer.status for answer in answers) == [204, 401]
        assert got.values == ["x"]


async def test_forgetting_used_signatures_would_let_a_copy_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutation: without the memory of nonces, the promise above does not hold."""
    monkeypatch.setattr(Nonces, "use", lambda *_: True)
    async with signing(tmp_path).source() as source, pumping(source) as got:
        header = signed(b"x")
        for _ in range(2):
            assert (await post("/text", b"x", header)).status == 204
        assert got.values == ["x", "x"]


@pytest.mark.parametrize("at", [-301, 301, -(10**9), 10**9])
async def test_a_signature_from_another_time_is_refused(tmp_path: Path, at: int) -> None:
    async with signing(tmp_path).source() as source, pumping(source) as got:
        await asyncio.sleep(400.0)
        answer = await post("/text", b"x", signed(b"x", at=at))
        assert answer.status == 401
        assert "set the clocks" in answer.detail
        assert (await post("/text", b"x", signed(b"x", at=-299))).status == 204
        assert got.values == ["x"]


async def test_what_was_signed_before_the_start_is_refused_since_its_nonce_is_forgotten(tmp_path: Path) -> None:
    await asyncio.sleep(100.0)
    async with signing(tmp_path).source() as source, pumping(source) as got:
        assert "sign it anew" in (await post("/text", b"x", signed(b"x", at=-1))).detail
        assert not got.values


async def test_a_signature_is_of_this_body_path_key_and_method(tmp_path: Path) -> None:
    async with signing(tmp_path).source() as source, pumping(source) as got:
        wrong = [
            ("/text", b"y", signed(b"x", nonce="nonce-02")),
            ("/text?a=1", b"x", signed(b"x", nonce="nonce-03")),
            ("/json/a", b"x", signed(b"x", nonce="nonce-04")),
            ("/text", b"x", signed(b"x", nonce="nonce-05", key="another key, long enough")),
            ("/text", b"x", signed(b"x", nonce="nonce-06").replace("nonce-06", "nonce-07")),
            ("/text", b"x", signed(b"x", nonce="nonce-08").replace('key="press3"', 'key="press4"')),
            ("/text", b"x", signed(b"x", nonce="short")),
        ]
        for path, body, header in wrong:
            assert (await post(path, body, header)).status == 401
        assert (await post("/text?a=1", b"x", signed(b"x", path="/text?a=1", nonce="nonce-09"))).status == 204
        assert got.values == ["x"]


def test_a_signature_is_what_the_readme_says() -> None:
    """Computed once with `openssl dgst -sha256 -hmac`."""
    made = signature.sign("key", method="POST", target="/readings", time=1_767_225_600, nonce="5f0c7a21", body=b"61.2")
    assert made == "ab14fa75a24cb7d861c6dac9add4b894569f61912002abadc5b082213e9b230c"


async def test_an_unsigned_request_is_told_what_is_wanted(tmp_path: Path) -> None:
    async with signing(tmp_path).source():
        answer = await post("/text", b"x", "Authorization:")
        assert answer.headers["www-authenticate"] == "HMAC-SHA256"


def test_nonces_are_forgotten_only_when_their_window_is_over() -> None:
    nonces = Nonces(0.0)

    def sign(nonce: str, at: int) -> signature.Signature:
        return signature.Signature("k", at, nonce, "")

    assert nonces.use(sign("a", 1000), 1000.0)
    assert nonces.use(sign("b", 1300), 1000.0)
    assert nonces.objection(sign("a", 1000), 1300.0) is not None
    assert nonces.use(sign("c", 1301), 1301.0)
    assert nonces.objection(sign("a", 1000), 1301.0) is not None, "its time is over"
    assert nonces.objection(sign("b", 1300), 1600.0) is not None
    assert len(nonces._used) == 2


async def test_gaps_and_samples_go_on_in_order(tmp_path: Path) -> None:
    gap = {"gaps": [{"tags": ["a"], "cause": "session lost"}]}
    async with receiver(tmp_path).source() as source:
        posts = []
        for body in (VALUE, json.dumps(gap), VALUE):
            posts.append(asyncio.create_task(post("/readings", body)))
            await asyncio.sleep(0.5)
        first: Batch = await source.read()
        second: Batch = await source.read()
        assert (len(first), len(first.gaps), len(second), len(second.gaps)) == (1, 0, 1, 1)
        await source.ack(second.cursor)
        assert {(await posting).status for posting in posts} == {204}
