"""Every way a broker can answer, or not answer, ends in a sentence and within its deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from plantgate.sdk import Unavailable
from plantgate.testing.mqtt_broker import Broker
from plantgate.testing.simloop import running
from tests.connectors.mqtt.given import HOST, batch, mqtt, with_broker

pytestmark = pytest.mark.simulated(seeds=1)

CONNACK_5 = b"\x20\x03\x00\x00\x00"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def hostile(serve: Serve) -> asyncio.AbstractServer:
    """A server that does as the test says once a client has sent its CONNECT."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(4096)
            await serve(reader, writer)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    return await asyncio.start_server(greet, HOST, 1883)


def saying(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return serve


async def failure(tmp_path: Path, **written: object) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        async with mqtt(tmp_path, **written).sink():
            await asyncio.sleep(3600)
    return caught.value


@pytest.mark.parametrize(
    ("version", "code", "words"),
    [
        ("5", 0x84, "it does not speak MQTT 5; write version: 3.1.1"),
        ("5", 0x86, "wrong user name or password (user 'me')"),
        ("5", 0x87, "not authorised (user 'me', client id 'gate')"),
        ("5", 0x89, "it is busy"),
        ("5", 0xEE, "reason 0xee"),
        ("3.1.1", 1, "it does not speak MQTT 3.1.1"),
        ("3.1.1", 2, "it does not accept the client id 'gate'"),
        ("3.1.1", 4, "wrong user name or password (user 'me')"),
        ("3.1.1", 5, "it does not allow us in (user 'me', client id 'gate')"),
        ("3.1.1", 77, "reason 77"),
    ],
)
async def test_a_refusal_is_a_sentence(tmp_path: Path, version: str, code: int, words: str) -> None:
    answer = bytes((0x20, 3, 0, code, 0)) if version == "5" else bytes((0x20, 2, 0, code))
    async with await hostile(saying(answer)):
        error = await failure(tmp_path, version=version, client_id="gate", username="me")
        assert str(error) == f"broker: the broker at broker:1883 refused us: {words}"
        patience = None if code in (0x89, 0xEE) else 30.0
        assert error.retry_after_seconds == patience


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",  # a TLS alert: plain text to a TLS port
        b"\x30\x03\x00\x01a",
        b"\x20\x01\x00",
        b"\x20\xff\xff\xff\xff\x7f",
        b"\x20\x05\x00\x00\x02\xff\xff",  # unknown property
        b"\x20\x00",
    ],
)
async def test_what_is_no_mqtt_broker_is_said_to_be_none(tmp_path: Path, answer: bytes) -> None:
    began = running().elapsed
    async with await hostile(saying(answer)):
        error = await failure(tmp_path, connect_seconds=5)
        assert "MQTT" in str(error)
        assert running().elapsed - began < 10


async def test_a_broker_that_says_nothing_is_given_up_within_the_deadline(tmp_path: Path) -> None:
    async with await hostile(saying(b"")):
        assert str(await failure(tmp_path, connect_seconds=5)) == (
            "broker: the broker at broker:1883 gave no answer within 5 s"
        )
        await asyncio.sleep(1)
    running().network.cut(HOST)
    assert "gave no answer within 5 s" in str(await failure(tmp_path, connect_seconds=5))
    running().network.heal(HOST)


async def test_nobody_listening_is_said(tmp_path: Path) -> None:
    assert "broker: the broker at broker:1883 cannot be reached" in str(await failure(tmp_path))


async def test_a_broker_that_says_goodbye_is_quoted(tmp_path: Path) -> None:
    async with await hostile(saying(CONNACK_5 + b"\xe0\x02\x8b\x00")):
        assert "disconnected us: it is shutting down" in str(await failure(tmp_path))


async def test_a_second_gateway_with_our_client_id_is_named_and_given_way(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        ours = mqtt(tmp_path / "a", client_id="gate")
        theirs = mqtt(tmp_path / "b", client_id="gate")
        with pytest.raises(Unavailable, match="another client has connected with our client id 'gate'") as caught:
            async with ours.sink(), theirs.sink():
                await asyncio.sleep(60)
        assert caught.value.retry_after_seconds == 30.0
        assert ours.context.standing.counters["client_id_taken_over"] == 1

    await with_broker(body)


async def test_a_broker_that_ends_sessions_soon_and_without_a_word_is_suspected(tmp_path: Path) -> None:
    async def brief(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x20\x02\x00\x00")
        await asyncio.sleep(1)
        writer.close()

    async with await hostile(brief):
        connector = mqtt(tmp_path, version="3.1.1", client_id="gate")
        said = []
        for _ in range(4):
            with pytest.raises(Unavailable) as caught:
                async with connector.sink():
                    await asyncio.sleep(60)
            said.append(str(caught.value))
        assert said[0] == "broker: the broker at broker:1883: the broker closed the connection"
        assert said[2].endswith("3 times in a row: perhaps another client has our client id 'gate'")
        assert caught.value.retry_after_seconds == 10.0


async def test_256_mib_announced_and_then_silence_is_a_dead_broker(tmp_path: Path) -> None:
    announced = CONNACK_5 + b"\x30\xff\xff\xff\x7f\x00\x01t" + b"x" * 1000
    began = running().elapsed
    async with await hostile(saying(announced)):
        assert "has said nothing for" in str(await failure(tmp_path, keep_alive_seconds=10))
        assert running().elapsed - began < 40


@pytest.mark.parametrize(
    "packet", [b"\x62\x02\x00\x05", b"\x70\x02\x00\x05", b"\x50\x02\x00\x05", b"\xb0\x04\x00\x05\x00\x00"]
)
async def test_answers_to_what_nobody_asked_are_passed_over(tmp_path: Path, packet: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CONNACK_5 + packet)
        while piece := await reader.read(4096):
            for _ in range(piece.count(b"\xc0\x00")):
                writer.write(b"\xd0\x00")

    async with await hostile(serve), mqtt(tmp_path, keep_alive_seconds=5).sink():
        await asyncio.sleep(60)


async def test_the_brokers_own_keep_alive_counts(tmp_path: Path) -> None:
    pings = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal pings
        writer.write(b"\x20\x06\x00\x00\x03\x13\x00\x04")  # Server Keep Alive: 4 s
        while piece := await reader.read(4096):
            pings += piece.count(b"\xc0\x00")
            writer.write(b"\xd0\x00")

    async with await hostile(serve):
        async with mqtt(tmp_path, keep_alive_seconds=3600).sink():
            await asyncio.sleep(60)
        assert pings >= 15


async def test_a_broker_that_cannot_do_what_is_asked_is_told_of_before_anything_is_sent(tmp_path: Path) -> None:
    async with await hostile(saying(b"\x20\x05\x00\x00\x02\x24\x00")):
        assert "takes QoS 0 only; write publish: {qos: 0}" in str(await failure(tmp_path))
    async with await hostile(saying(b"\x20\x05\x00\x00\x02\x25\x00")):
        assert "keeps no retained messages" in str(await failure(tmp_path, publish={"retain": True}))


async def test_a_bug_in_the_body_is_not_dressed_up(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        with pytest.raises(ZeroDivisionError):
            await stumble()
        task = asyncio.create_task(sleep_in_a_session())
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def stumble() -> None:
        async with mqtt(tmp_path).sink() as sink:
            await sink.accept(batch(1))
            raise ZeroDivisionError

    async def sleep_in_a_session() -> None:
        async with mqtt(tmp_path).sink():
            await asyncio.sleep(3600)

    await with_broker(body)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_broker_that_comes_and_goes_every_three_seconds_gets_everything(tmp_path: Path, version: str) -> None:
    async def body(broker: Broker) -> None:
        came: list[bytes] = []
        broker.received = lambda message: came.append(message.payload)
        connector = mqtt(tmp_path, version=version)
        delivered = 0

        async def flap() -> None:
            while running().elapsed < 600:
                await asyncio.sleep(3)
                await broker.crash()
                await broker.listen(HOST, 1883)

        async def deliver() -> None:
            nonlocal delivered
            while running().elapsed < 620:
                try:
                    async with connector.sink() as sink:
                        while running().elapsed < 620:
                            await sink.accept(batch(delivered, position=delivered))
                            delivered += 1
                            await asyncio.sleep(0.5)
                except Unavailable as error:
                    await asyncio.sleep(max(0.5, error.retry_after_seconds or 0))

        async with asyncio.TaskGroup() as group:
            group.create_task(flap())
            group.create_task(deliver())
        assert delivered > 100
        joined = b"".join(came)
        assert all(b'"position":%d,' % position in joined for position in range(delivered))

    await with_broker(body)
