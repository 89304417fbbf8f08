"""A broker that misbehaves: nothing it sends is taken for a value it is not, hangs us, or makes us fall."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from plantgate.sdk import Unavailable
from plantgate.testing.simloop import running
from plantgate_connectors.mqtt.publisher import varint
from tests.connectors.mqtt.given import HOST, eventually, mqtt, read_values

pytestmark = pytest.mark.simulated(seeds=1)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def serving(*packets: bytes, acknowledged: list[int] | None = None) -> Serve:
    """A broker that grants the subscription, sends these packets and answers questions."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await talk(reader, writer)
        writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"\x20\x03\x00\x00\x00")
        subscribe = await reader.read(4096)
        writer.write(b"\x90\x04" + subscribe[2:4] + b"\x00\x01" + b"".join(packets))
        while heard := await reader.read(4096):
            for place in range(0, len(heard) - 3, 4):
                if acknowledged is not None and heard[place : place + 2] == b"\x40\x02":
                    acknowledged.append(int.from_bytes(heard[place + 2 : place + 4], "big"))
            writer.write(b"\xd0\x00" * heard.count(b"\xc0\x00"))
            if heard.startswith(b"\xe0"):
                break

    return serve


def message(topic: bytes, payload: bytes, mid: int, first: int = 0x32) -> bytes:
    """A PUBLISH of MQTT 5 without properties."""
    body = len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big") + b"\0" + payload
    return bytes((first,)) + varint(len(body)) + body


async def test_topics_that_break_the_rules_are_counted_acknowledged_and_never_a_tag(tmp_path: Path) -> None:
    odd = [b"\xff\xfe", b"a\0b", b"a/+", b"a/#", b"x" * 65_535, b"$SYS/x", "ünïcode".encode()]
    packets = [message(topic, b"%d" % mid, mid) for mid, topic in enumerate(odd, 1)]
    acknowledged: list[int] = []
    async with await asyncio.start_server(serving(*packets, acknowledged=acknowledged), HOST, 1883):
        connector = mqtt(tmp_path, subscribe=[{"topic": "#"}])
        async with connector.source() as source:
            got = await source.read()
            assert (got.tags, got.values) == (["ünïcode"], [7])
            await source.ack(got.cursor)
            await eventually(lambda: acknowledged == [1, 2, 3, 4, 5, 6, 7])
            assert connector.context.standing.counters["unroutable"] == 6


async def test_a_repeat_marked_as_one_is_passed_on(tmp_path: Path) -> None:
    packets = [message(b"t", b"1", 1), message(b"t", b"1", 1, first=0x3A), message(b"t", b"2", 2)]
    connector = mqtt(tmp_path, subscribe=[{"topic": "t"}])
    async with await asyncio.start_server(serving(*packets), HOST, 1883), connector.source() as source:
        assert await read_values(source, 3) == [1, 1, 2]


@pytest.mark.parametrize(
    "packet",
    [
        message(b"t", b"1", 1, first=0x34),  # QoS 2
        message(b"t", b"1", 1, first=0x36),  # QoS 3
        message(b"t", b"1", 0),
        message(b"", b"1", 1),
        b"\x32\x01\x00",
        b"\x32\x05\x00\x09t\x00\x01",
        b"\x32\x06\x00\x01t\x00\x01\x7f",  # properties longer than the packet
        b"\x32\x0a\x00\x01t\x00\x01\xff\xff\xff\xff\x7f",
        b"\x40\x02\x00\x01",  # a confirmation of nothing
    ],
)
async def test_a_broker_that_breaks_the_protocol_is_left(tmp_path: Path, packet: bytes) -> None:
    async with await asyncio.start_server(serving(packet), HOST, 1883):
        connector = mqtt(tmp_path, subscribe=[{"topic": "t"}])

        async def read() -> None:
            async with connector.source() as source:
                await source.read()

        with pytest.raises(Unavailable, match=r"broker: the broker at broker:1883: it (sent|acknowledged) a message"):
            await read()


@pytest.mark.simulated(seeds=50)
async def test_whatever_comes_ends_in_samples_or_unavailable(tmp_path: Path, seed: int) -> None:
    random = running().random("fuzz")
    stream = bytearray(
        b"".join(message(b"t", b"%d" % mid, mid) for mid in range(1, 20)) + b"\xd0\x00\x62\x02\x00\x05\xe0\x00"
    )
    for _ in range(random.randrange(1, 6)):
        place = random.randrange(len(stream))
        match random.randrange(3):
            case 0:
                stream[place] = random.randrange(256)
            case 1:
                del stream[place : place + random.randrange(1, 9)]
            case _:
                stream[place:place] = random.randbytes(random.randrange(1, 9))
    running().network.link(HOST).split = 0.5
    async with await asyncio.start_server(serving(bytes(stream)), HOST, 1883):
        connector = mqtt(tmp_path / str(seed), subscribe=[{"topic": "t"}], keep_alive_seconds=5)

        async def read() -> None:
            async with connector.source() as source:
                while True:
                    got = await source.read()
                    assert set(got.tags) <= {"t"}
                    await source.ack(got.cursor)

        with pytest.raises((Unavailable, TimeoutError)):
            async with asyncio.timeout(60):
                await read()


async def test_an_outbox_that_is_full_for_longer_than_the_keep_alive_costs_no_session(tmp_path: Path) -> None:
    packets = [message(b"t", b"x" * 20_000, mid) for mid in range(1, 101)]
    async with await asyncio.start_server(serving(*packets), HOST, 1883):
        subscribe = [{"topic": "t", "payload": "text"}]
        connector = mqtt(tmp_path, subscribe=subscribe, buffer_bytes_max=100_000, keep_alive_seconds=5)
        async with connector.source() as source:
            await asyncio.sleep(300)  # nobody reads, and so the answers to our questions are not read either
            assert len(await read_values(source, 100)) == 100
