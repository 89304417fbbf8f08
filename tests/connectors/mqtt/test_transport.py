"""The byte stream is cut into packets wherever it breaks, and never held beyond the limit."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from plantgate.testing.simloop import simulate
from plantgate_connectors.mqtt.publisher import varint
from plantgate_connectors.mqtt.transport import PahoSocket, Wire

LIMIT = 1000
HELLO = b"\x20\x02\x00\x00"
"""A CONNACK; whoever begins otherwise is no broker."""


class Heard:
    """A listener that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def publish(self, first: int, body: bytes) -> None:
        self.told.append(("publish", first, body))

    def oversized(self, first: int, topic: bytes, mid: int, size: int) -> None:
        self.told.append(("oversized", first, topic, mid, size))

    def puback(self, mid: int, reason: int) -> None:
        self.told.append(("puback", mid, reason))

    def pong(self) -> None:
        self.told.append(("pong",))

    def packet(self, whole: bytes) -> None:
        self.told.append(("packet", whole))

    def lost(self, reason: str, *, closed: bool) -> None:
        self.told.append(("lost", reason))


class Cable(asyncio.Transport):
    """Where a wire writes to."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


def hear(*streams: list[bytes], held: Callable[[int], None] = lambda size: None) -> list[list[tuple[Any, ...]]]:
    """What is told for each stream of pieces."""
    told: list[list[tuple[Any, ...]]] = []

    async def main() -> None:
        for pieces in streams:
            heard = Heard()
            wire = Wire(heard, publish_bytes_max=LIMIT)
            wire.connection_made(Cable())
            for piece in pieces:
                wire.data_received(piece)
                held(len(wire._held))
            told.append(heard.told)

    simulate(main)
    return told


def publish(topic: bytes, payload: bytes, mid: int = 7) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big") + payload
    return b"\x32" + varint(len(body)) + body


STREAM = (
    b"\x20\x02\x00\x00"
    b"\x40\x02\x00\x05"
    b"\x40\x04\x01\x00\x97\x00"
    + publish(b"a/b", b"x")
    + publish(b"long", b"y" * 500)
    + publish(b"too/long", b"z" * 3000, mid=9)
    + b"\xd0\x00"
    + b"\x40\x02\x00\x06"
)
TOLD = [
    ("packet", HELLO),
    ("puback", 5, 0),
    ("puback", 256, 0x97),
    ("publish", 0x32, b"\x00\x03a/b\x00\x07x"),
    ("publish", 0x32, b"\x00\x04long\x00\x07" + b"y" * 500),
    ("oversized", 0x32, b"too/long", 9, 3012),
    ("pong",),
    ("puback", 6, 0),
]


def test_packets_are_told_in_order() -> None:
    assert hear([STREAM]) == [TOLD]


def test_it_does_not_matter_where_the_stream_breaks() -> None:
    for told in hear(*([STREAM[:place], STREAM[place:]] for place in range(1, len(STREAM)))):
        assert told == TOLD


def test_one_byte_at_a_time_is_enough() -> None:
    assert hear([bytes((byte,)) for byte in STREAM]) == [TOLD]


def test_a_message_of_256_mib_is_never_held() -> None:
    sizes: list[int] = []
    start = b"\x32\xff\xff\xff\x7f\x00\x01t\x00\x03"
    told = hear([HELLO + start, *itertools.repeat(b"x" * 65_536, 100)], held=sizes.append)
    assert told == [[("packet", HELLO)]]  # still going by
    assert max(sizes) == 0


def test_the_topic_of_an_oversized_message_may_itself_arrive_in_pieces() -> None:
    whole = publish(b"t" * 5000, b"x" * 10)
    (told,) = hear([HELLO, *(whole[i : i + 700] for i in range(0, len(whole), 700))])
    assert told[1:] == [("oversized", 0x32, b"t" * 5000, 7, len(whole) - 3)]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x30\xff\xff\xff\xff\x01",
        b"\x20\xff\xff\xff\xff",
        b"HTTP/1.1 400 Bad Request",
        b"\x20\x02\x00\x00\x90\xff\xff\xff\x7f" + b"x" * 100,
    ],
)
def test_what_is_no_mqtt_ends_the_connection(nonsense: bytes) -> None:
    (told,) = hear([nonsense, b"\xd0\x00"])
    assert [what for what, *_ in told if what != "packet"] == ["lost"]


def test_paho_reads_and_writes_packets_through_the_wire() -> None:
    """Guards `_create_socket`, which is private in paho."""
    written: list[bytes] = []

    class Recording(Cable):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            written.append(bytes(data))

        def close(self) -> None:
            pass

    async def main() -> None:
        wire = Wire(Heard(), publish_bytes_max=LIMIT)
        wire.connection_made(Recording())
        sock = PahoSocket(wire)

        class Speaker(Client):
            def _create_socket(self) -> PahoSocket:
                return sock

        told: list[bool] = []
        client = Speaker(CallbackAPIVersion.VERSION2, client_id="x")
        client.on_connect = lambda client, userdata, flags, reason, properties: told.append(not reason.is_failure)
        client.connect("anywhere", 1883)
        assert written[0][:8] == b"\x10\x0d\x00\x04MQTT"
        for byte in b"\x20\x02\x00\x00":
            sock.feed(bytes((byte,)))
            client.loop_read()
        assert told == [True]

    simulate(main)
