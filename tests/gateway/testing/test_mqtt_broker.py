"""The MQTT broker twin: against bytes written out from the standard, against paho, and against nonsense."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from plantgate.testing.mqtt_broker import Broker
from plantgate.testing.mqtt_fields import V5, V311, Body, Kind, Malformed, Property, Reason, binary, text, variable
from plantgate.testing.mqtt_packets import Message, read_connect, write_publish
from plantgate.testing.mqtt_sessions import matches, valid_filter
from plantgate.testing.simloop import running

both_versions = pytest.mark.parametrize("version", [V311, V5])


class Client:
    """Speaks MQTT by hand: what the broker answers is compared as bytes or fields, not through a library."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int) -> None:
        self.reader, self.writer, self.version = reader, writer, version

    def packet(self, first: int, body: bytes) -> None:
        self.writer.write(bytes((first,)) + variable(len(body)) + body)

    async def next(self) -> tuple[int, bytes]:
        async with asyncio.timeout(60):
            first = (await self.reader.readexactly(1))[0]
            length = shift = 0
            while True:
                byte = (await self.reader.readexactly(1))[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return first, await self.reader.readexactly(length)

    async def closed(self, within: float = 60) -> bool:
        try:
            async with asyncio.timeout(within):
                return await self.reader.read(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def subscribe(self, topic: str, options: int = 1, identifier: int = 1) -> None:
        block = b"\0" if self.version == V5 else b""
        self.packet(0x82, identifier.to_bytes(2, "big") + block + text(topic) + bytes((options,)))

    async def subscribed(self, topic: str, options: int = 1) -> int:
        self.subscribe(topic, options)
        first, body = await self.next()
        assert first == 0x90
        return body[-1]

    def publish(self, topic: str, payload: bytes, qos: int = 0, identifier: int = 7, retain: bool = False) -> None:
        self.writer.write(write_publish(self.version, Message(topic, payload, qos, retain), identifier, False))

    async def delivered(self) -> tuple[int, str, bytes]:
        """The next PUBLISH: flags, topic, payload; acknowledged if it wants to be."""
        first, content = await self.next()
        assert first >> 4 == 3, (hex(first), content)
        body = Body(content)
        topic = body.text()
        identifier = body.number(2) if first & 6 else 0
        if self.version == V5:
            body.properties()
        if identifier:
            self.packet(0x40, identifier.to_bytes(2, "big"))
        return first & 0x0F, topic, body.take(body.left())

    def disconnect(self) -> None:
        self.packet(0xE0, b"")
        self.writer.close()


async def connect(
    client_id: str = "c",
    *,
    version: int = V311,
    clean: bool = True,
    keep_alive: int = 0,
    will: tuple[str, bytes] | None = None,
    block: bytes = b"",
    will_block: bytes = b"",
    expect: int = 0,
    present: bool = False,
) -> Client:
    reader, writer = await asyncio.open_connection("broker", 1883)
    client = Client(reader, writer, version)
    flags = clean << 1 | (0x0C if will else 0)
    body = text("MQTT") + bytes((version, flags)) + keep_alive.to_bytes(2, "big")
    body += variable(len(block)) + block if version == V5 else b""
    body += text(client_id)
    if will:
        body += (variable(len(will_block)) + will_block if version == V5 else b"") + text(will[0]) + binary(will[1])
    client.packet(0x10, body)
    first, answer = await client.next()
    assert (first, answer[:2]) == (0x20, bytes((present, expect)))
    return client


@asynccontextmanager
async def broker_twin(**options: Any) -> AsyncIterator[Broker]:
    async with Broker(**options) as broker:
        await broker.listen("broker", 1883)
        yield broker


@both_versions
@pytest.mark.simulated
async def test_a_message_reaches_every_subscriber_once_at_its_own_quality_of_service(version: int) -> None:
    async with broker_twin() as broker:
        careful, careless, other = [await connect(name, version=version) for name in ("a", "b", "c")]
        assert await careful.subscribed("line3/+/temperature", 1) == 1
        assert await careful.subscribed("line3/#", 1) == 1  # overlapping: still delivered once
        assert await careless.subscribed("line3/press1/temperature", 0) == 0
        assert await other.subscribed("line4/#", 1) == 1
        other.publish("line3/press1/temperature", b"21.5", qos=1)
        assert (await other.next())[0] == 0x40
        assert await careful.delivered() == (2, "line3/press1/temperature", b"21.5")
        assert await careless.delivered() == (0, "line3/press1/temperature", b"21.5")
        for client in (careful, careless, other):
            assert not await client.closed(within=1)
            client.disconnect()
        assert broker.counters["received"] == 1


@pytest.mark.simulated(seeds=1)
async def test_the_bytes_are_those_of_the_standard() -> None:
    """MQTT 3.1.1, figures 3.6 and 3.9 onwards, and MQTT 5.0, 3.1.2.12 put into bytes by hand."""
    async with broker_twin() as broker:
        reader, writer = await asyncio.open_connection("broker", 1883)
        writer.write(bytes.fromhex("10 11 0004 4d515454 04 02 003c 0005 6672616e6b"))
        assert await reader.readexactly(4) == bytes.fromhex("20 02 00 00")
        writer.write(bytes.fromhex("82 0a 000a 0003 612f62 01"))
        with pytest.raises(TimeoutError):  # the packet above announces two bytes more than it has
            async with asyncio.timeout(1):
                await reader.readexactly(1)
        writer.close()
        reader, writer = await asyncio.open_connection("broker", 1883)
        writer.write(bytes.fromhex("10 11 0004 4d515454 04 02 003c 0005 6672616e6b"))
        writer.write(bytes.fromhex("82 0e 000a 0003 612f62 01 0003 632f64 02"))
        writer.write(bytes.fromhex("32 07 0003 612f62 000a") + bytes.fromhex("c0 00 e0 00"))
        got = await reader.read(-1)
        while chunk := await reader.read(-1):
            got += chunk
        assert got == bytes.fromhex("20020000 9004 000a 01 01 3207 0003612f62 0001 4002 000a d000")
        writer.close()
        assert broker.counters["malformed"] == 0

        connect5 = bytes.fromhex("10 17 0004 4d515454 05 02 003c 05 11 0000000a 0005 6672616e6b")
        parsed = read_connect(connect5[2:])
        assert (parsed.client_id, parsed.version, parsed.session_expiry()) == ("frank", V5, 10)


@both_versions
@pytest.mark.simulated
async def test_a_lasting_session_gets_what_came_while_it_was_away_in_order(version: int) -> None:
    expiry = bytes((17,)) + (3600).to_bytes(4, "big")
    async with broker_twin() as broker:
        client = await connect("keeper", version=version, clean=False, block=expiry)
        await client.subscribed("t", 1)
        broker.publish("t", b"0", qos=1)
        assert (await client.next())[0] == 0x32  # received and not acknowledged
        client.writer.transport.abort()
        await asyncio.sleep(1)
        for number in range(1, 300):
            broker.publish("t", str(number).encode(), qos=1)
        broker.publish("t", b"not kept", qos=0)
        client = await connect("keeper", version=version, clean=False, block=expiry, present=True)
        flags, _, payload = await client.delivered()
        assert (flags, payload) == (0x0A, b"0")  # again, marked as a duplicate
        assert [(await client.delivered())[2] for _ in range(299)] == [str(n).encode() for n in range(1, 300)]
        await asyncio.sleep(1)
        assert broker.waiting("keeper") == 0
        client.disconnect()


@pytest.mark.simulated
async def test_a_clean_session_is_forgotten() -> None:
    async with broker_twin() as broker:
        client = await connect("guest")
        await client.subscribed("t")
        client.disconnect()
        await asyncio.sleep(1)
        assert broker.client_ids() == []
        client = await connect("guest", clean=False)
        client.disconnect()


@pytest.mark.simulated
async def test_an_mqtt5_session_expires_when_it_said() -> None:
    async with broker_twin() as broker:
        client = await connect("guest", version=V5, block=bytes((17,)) + (10).to_bytes(4, "big"))
        client.disconnect()
        await asyncio.sleep(9)
        assert broker.client_ids() == ["guest"]
        await asyncio.sleep(2)
        assert broker.client_ids() == []


@both_versions
@pytest.mark.simulated
async def test_a_slow_client_is_sent_no_more_than_it_has_room_for(version: int) -> None:
    async with broker_twin() as broker:
        client = await connect("slow", version=version, block=bytes((33,)) + (5).to_bytes(2, "big"))
        await client.subscribed("t", 1)
        for number in range(200):
            broker.publish("t", str(number).encode(), qos=1)
        room = 5 if version == V5 else 100
        got = [await client.next() for _ in range(room)]
        with pytest.raises(TimeoutError):
            await client.next()
        for _, content in got:
            client.packet(0x40, content[3:5])
        assert [(await client.delivered())[2] for _ in range(200 - room)][-1] == b"199"
        client.disconnect()


@pytest.mark.simulated
async def test_what_a_session_cannot_hold_is_dropped_and_counted() -> None:
    async with broker_twin(waiting_max=10) as broker:
        client = await connect("away", clean=False)
        await client.subscribed("t", 1)
        client.disconnect()
        await asyncio.sleep(1)
        for number in range(15):
            broker.publish("t", bytes((number,)), qos=1)
        assert (broker.waiting("away"), broker.counters["dropped"]) == (10, 5)


@both_versions
@pytest.mark.simulated
async def test_the_last_retained_message_greets_a_new_subscriber_until_it_is_cleared(version: int) -> None:
    async with broker_twin() as broker:
        client = await connect("c", version=version)
        client.publish("state", b"1", retain=True)
        client.publish("state", b"2", qos=1, retain=True)
        await client.next()
        await client.subscribed("+", 1)
        assert await client.delivered() == (3, "state", b"2")
        client.publish("state", b"", retain=True)
        assert await client.delivered() == (0, "state", b"")
        assert broker.retained() == {}
        assert await client.subscribed("state", 1) == 1
        assert not await client.closed(within=1)
        client.disconnect()


@both_versions
@pytest.mark.simulated
async def test_a_will_is_sent_when_a_client_breaks_off_and_not_when_it_says_goodbye(version: int) -> None:
    async with broker_twin() as broker:
        watcher = await connect("watcher", version=version)
        await watcher.subscribed("#", 1)
        polite = await connect("polite", version=version, will=("polite/state", b"gone"))
        polite.disconnect()
        rude = await connect("rude", version=version, will=("rude/state", b"gone"))
        rude.writer.transport.abort()
        assert await watcher.delivered() == (2, "rude/state", b"gone")
        assert not await watcher.closed(within=5)
        assert broker.counters["wills"] == 1
        watcher.disconnect()


@pytest.mark.simulated
async def test_a_delayed_will_is_not_sent_if_the_client_returns_in_time() -> None:
    expiry, delay = bytes((17,)) + (60).to_bytes(4, "big"), bytes((24,)) + (10).to_bytes(4, "big")

    async def flaky(present: bool) -> Client:
        return await connect(
            "flaky", version=V5, clean=False, block=expiry, will=("w", b"gone"), will_block=delay, present=present
        )

    async with broker_twin() as broker:
        client = await flaky(False)
        client.writer.transport.abort()
        await asyncio.sleep(9)
        client = await flaky(True)
        await asyncio.sleep(9)
        assert broker.counters["wills"] == 0
        client.writer.transport.abort()
        await asyncio.sleep(11)
        assert broker.counters["wills"] == 1


@both_versions
@pytest.mark.simulated
async def test_a_silent_client_is_dropped_after_one_and_a_half_keep_alives(version: int) -> None:
    async with broker_twin():
        client = await connect("silent", version=version, keep_alive=10)
        await asyncio.sleep(14)
        client.packet(0xC0, b"")
        assert await client.next() == (0xD0, b"")
        asked = running().elapsed
        if version == V5:
            assert await client.next() == (0xE0, bytes((Reason.KEEP_ALIVE_TIMEOUT,)))
        assert await client.closed()
        assert running().elapsed == pytest.approx(asked + 15, abs=0.1)
        client.writer.close()


@pytest.mark.simulated
async def test_a_connection_that_never_says_connect_is_dropped() -> None:
    async with broker_twin():
        reader, writer = await asyncio.open_connection("broker", 1883)
        assert await reader.read(1) == b""
        assert running().elapsed == pytest.approx(10, abs=0.1)
        writer.close()


@both_versions
@pytest.mark.simulated
async def test_a_second_connection_with_the_same_name_ends_the_first(version: int) -> None:
    async with broker_twin() as broker:
        first = await connect("twin", version=version)
        second = await connect("twin", version=version)
        if version == V5:
            assert await first.next() == (0xE0, bytes((Reason.SESSION_TAKEN_OVER,)))
        assert await first.closed()
        await second.subscribed("t", 0)
        broker.publish("t", b"x")
        assert (await second.delivered())[2] == b"x"
        first.writer.close()
        second.disconnect()


@both_versions
@pytest.mark.simulated
async def test_a_packet_over_the_cap_closes_its_connection_before_it_is_read(version: int) -> None:
    async with broker_twin(packet_bytes_max=1000) as broker:
        client, other = await connect("big", version=version), await connect("other", version=version)
        client.writer.write(bytes.fromhex("30 ff ff ff 7f"))  # announces 256 MiB, sends nothing
        if version == V5:
            assert await client.next() == (0xE0, bytes((Reason.PACKET_TOO_LARGE,)))
        assert await client.closed()
        assert not await other.closed(within=1)
        assert broker.counters["malformed"] == 1
        client.writer.close()
        other.disconnect()


@pytest.mark.simulated
async def test_quality_of_service_2_is_taken_once() -> None:
    taken: list[bytes] = []
    async with broker_twin() as broker:
        broker.received = lambda message: taken.append(message.payload)
        client = await connect("c")
        for _ in range(2):
            client.publish("t", b"once", qos=2, identifier=9)
            assert await client.next() == (0x50, b"\0\x09")
        client.packet(0x62, b"\0\x09")
        assert await client.next() == (0x70, b"\0\x09")
        client.publish("t", b"another", qos=2, identifier=9)
        await client.next()
        assert taken == [b"once", b"another"]
        client.disconnect()


@pytest.mark.simulated
async def test_a_message_that_expired_is_not_delivered() -> None:
    async with broker_twin() as broker:
        client = await connect("c", version=V5, clean=False, block=bytes((17,)) + b"\xff\xff\xff\xff")
        await client.subscribed("t", 1)
        client.disconnect()
        await asyncio.sleep(1)
        for seconds in (5, 50):
            expiry = {Property.MESSAGE_EXPIRY: seconds}
            broker.route(Message("t", str(seconds).encode(), 1, properties=expiry))
        await asyncio.sleep(10)
        client = await connect("c", version=V5, clean=False, block=bytes((17,)) + b"\xff\xff\xff\xff", present=True)
        assert (await client.delivered())[2] == b"50"
        assert broker.counters["expired"] == 1
        client.disconnect()


@both_versions
@pytest.mark.simulated
async def test_a_test_can_refuse_a_message_or_lose_the_reply(version: int) -> None:
    answers: dict[bytes, int | None] = {b"lost": None, b"full": Reason.QUOTA_EXCEEDED}
    taken: list[bytes] = []
    async with broker_twin() as broker:
        broker.answer = lambda message: answers.get(message.payload, Reason.SUCCESS)
        broker.received = lambda message: taken.append(message.payload)
        client = await connect("c", version=version)
        client.publish("t", b"fine", qos=1)
        assert (await client.next())[0] == 0x40
        client.publish("t", b"full", qos=1)
        if version == V5:
            assert await client.next() == (0x40, b"\0\x07\x97")
        else:
            assert await client.closed()
            client.writer.close()
            client = await connect("c", version=version)
        client.publish("t", b"lost", qos=1)
        assert await client.closed()
        client.writer.close()
    assert taken == [b"fine", b"lost"]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.simulated
async def test_a_crash_keeps_or_loses_what_was_not_saved(keep: bool) -> None:
    async with broker_twin() as broker:
        client = await connect("c", clean=False, will=("will", b"never sent"))
        await client.subscribed("#", 1)
        broker.publish("saved", b"1", retain=True)
        broker.save()
        broker.publish("unsaved", b"2", retain=True)
        await broker.crash(keep=keep)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("broker", 1883)
        client.writer.close()
        await broker.listen("broker", 1883)
        assert set(broker.retained()) == ({"saved", "unsaved"} if keep else {"saved"})
        client = await connect("c", clean=False, present=True)
        client.disconnect()
        assert broker.counters["wills"] == 0


@pytest.mark.simulated
async def test_wrong_passwords_and_impossible_clients_are_refused_with_a_reason() -> None:
    async with broker_twin(authenticate=lambda user, password: password == b"secret") as broker:
        for version, code in ((V311, 4), (V5, Reason.BAD_USER_NAME_OR_PASSWORD)):
            client = await connect(version=version, expect=code)
            assert await client.closed()
            client.writer.close()
        broker.authenticate = None
        client = await connect("", clean=False, expect=2)
        client.writer.close()
        client = await connect("", clean=True)
        assert broker.client_ids() == ["assigned-1"]
        assert await client.subscribed("a#", 1) == 0x80
        assert await client.subscribed("$share/g/a", 1) == 0x80
        client.packet(0xA2, b"\0\x05" + text("a"))
        assert await client.next() == (0xB0, b"\0\x05")
        client.disconnect()


@pytest.mark.simulated(seeds=20)
async def test_nonsense_closes_its_own_connection_and_no_other(seed: int) -> None:
    luck = random.Random(seed)
    good = write_publish(V311, Message("a/b", b"payload", 1), 3, False)
    async with broker_twin(packet_bytes_max=10_000) as broker:
        witness = await connect("witness")
        await witness.subscribed("ok", 0)
        for attempt in range(15):
            client = await connect(f"fuzz{attempt}", version=luck.choice([V311, V5]))
            if luck.random() < 0.5:
                client.writer.write(luck.randbytes(luck.randrange(1, 60)))
            else:
                broken = bytearray(good)
                broken[luck.randrange(len(broken))] = luck.randrange(256)
                client.writer.write(bytes(broken[: luck.randrange(1, len(broken) + 1)]))
            await asyncio.sleep(0.05)
            client.writer.transport.abort()
        broker.publish("ok", b"still here")
        assert (await witness.delivered())[2] == b"still here"
        witness.disconnect()


def test_the_fuzz_above_reaches_the_parser() -> None:
    for content in (b"", b"\0\x04MQTT", b"\0\x04MQTT\x04\x01\0\0\0\0", b"\0\x04MQTT\x04\x02\0\0\0\x01\xff"):
        with pytest.raises(Malformed):
            read_connect(content)


@pytest.mark.parametrize(
    ("filter_", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/uptime", False),
        ("+/uptime", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
        ("a", "A", False),
        ("a/b/", "a/b", False),
    ],
)
def test_topic_filters_match_as_the_standard_says(filter_: str, topic: str, expected: bool) -> None:
    assert matches(filter_, topic) is expected


def test_wildcards_stand_where_they_may() -> None:
    assert [valid_filter(f) for f in ("#", "a/#", "+", "a/+/b", "a/#/b", "a#", "a+", "")] == [True] * 4 + [False] * 4


@pytest.mark.parametrize("protocol", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
def test_paho_and_the_twin_understand_each_other(protocol: MQTTProtocolVersion) -> None:
    """On the real loop and over loopback, against a client we did not write."""

    def talk(port: int) -> list[tuple[str, bytes, int, bool]]:
        got: list[tuple[str, bytes, int, bool]] = []
        client = paho.Client(CallbackAPIVersion.VERSION2, "paho", protocol=protocol)
        client.on_message = lambda _client, _data, m: got.append((m.topic, bytes(m.payload), m.qos, m.retain))
        client.will_set("will", b"gone", 1)
        properties = None
        if protocol is MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's own
            properties.UserProperty = [("line", "3")]
            properties.ContentType = "application/json"
        client.connect("127.0.0.1", port)

        def until(done: Callable[[], bool]) -> None:
            ends = time.monotonic() + 10
            while not done() and time.monotonic() < ends:
                client.loop(0.05)
            assert done()

        until(client.is_connected)
        subscribed: list[object] = []
        client.on_subscribe = lambda *_: subscribed.append(1)
        client.publish("a/retained", b"r", 1, retain=True)
        client.subscribe([("a/#", 1), ("b", 0)])
        until(lambda: len(subscribed) == 1 and len(got) == 1)
        sent = [
            client.publish(topic, str(n).encode(), n % 3, properties=properties) for n, topic in enumerate("bab" * 4)
        ]
        sent += [client.publish("a/x", bytes(100_000), 1)]
        until(lambda: all(one.is_published() for one in sent) and len(got) == 14)
        client.disconnect()
        until(lambda: not client.is_connected())
        return got

    async def main() -> list[tuple[str, bytes, int, bool]]:
        async with Broker() as broker:
            port = await broker.listen()
            got = await asyncio.to_thread(talk, port)
            assert broker.counters["malformed"] == broker.counters["wills"] == 0
            assert broker.counters["received"] == 14
            return got

    got = asyncio.run(main())
    assert got[0] == ("a/retained", b"r", 1, True)
    assert ("a/x", bytes(100_000), 1, False) in got
    assert {qos for topic, _, qos, _ in got if topic == "b"} == {0}


def test_kinds_are_numbered_as_the_standard_says() -> None:
    assert [kind.name for kind in Kind][2:4] == ["PUBLISH", "PUBACK"]
