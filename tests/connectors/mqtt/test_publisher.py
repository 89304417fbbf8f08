"""Never more under way than the broker allows, whatever order it confirms in."""

import asyncio
import random

import pytest

from plantgate.sdk import Unavailable
from plantgate.testing.simloop import simulate
from plantgate_connectors.mqtt.publisher import Message, Publisher, on_the_wire, varint


class Line:
    """A wire to a broker that confirms at random; knows what is under way."""

    def __init__(self, seed: int) -> None:
        self.under_way: dict[int, None] = {}
        self.most = 0
        self.sent: list[bytes] = []
        self.publisher: Publisher | None = None
        self._random = random.Random(seed)

    def write(self, packets: bytes) -> None:
        at = 0
        while at < len(packets):
            size = packets[at + 1]
            body = packets[at + 2 : at + 2 + size]
            at += 2 + size
            topic_end = 2 + int.from_bytes(body[:2], "big")
            mid = int.from_bytes(body[topic_end : topic_end + 2], "big")
            assert mid not in self.under_way
            assert mid
            self.under_way[mid] = None
            self.most = max(self.most, len(self.under_way))
            self.sent.append(body[topic_end + 2 :])

    async def drain(self) -> None:
        """Room enough."""

    async def confirm(self, share: float, reason: int = 0) -> None:
        while True:
            await asyncio.sleep(0.01)
            for mid in list(self.under_way):
                if self._random.random() < share:
                    del self.under_way[mid]
                    assert self.publisher is not None
                    self.publisher.confirmed(mid, reason)


def messages(count: int) -> list[Message]:
    return [Message(on_the_wire("t"), b"%d" % index) for index in range(count)]


@pytest.mark.parametrize("window", [1, 2, 20, 256])
def test_the_window_is_kept_and_order_too(window: int) -> None:
    async def main() -> None:
        line = Line(window)
        publisher = line.publisher = Publisher(line, window=window)  # type: ignore[arg-type]  # a line stands in for a wire
        confirming = asyncio.create_task(line.confirm(0.3))
        assert await publisher.send(messages(1000), qos=1, patience_seconds=5) == []
        confirming.cancel()
        assert line.most == window
        assert line.sent == [b"%d" % index for index in range(1000)]
        assert not line.under_way

    simulate(main)


def test_identifiers_wrap_and_are_never_used_twice_at_a_time() -> None:
    async def main() -> None:
        line = Line(1)
        publisher = line.publisher = Publisher(line, window=5000)  # type: ignore[arg-type]  # as above
        confirming = asyncio.create_task(line.confirm(0.9))
        await publisher.send(messages(70_000), qos=1, patience_seconds=5)
        confirming.cancel()
        assert len(line.sent) == 70_000

    simulate(main)


def test_a_broker_that_is_slow_is_waited_for_and_one_that_is_silent_is_not() -> None:
    async def main() -> None:
        line = Line(1)
        publisher = line.publisher = Publisher(line, window=50)  # type: ignore[arg-type]  # as above

        async def one_every_four_seconds() -> None:
            while True:
                await asyncio.sleep(4)
                if line.under_way:
                    publisher.confirmed(line.under_way.popitem()[0], 0)

        confirming = asyncio.create_task(one_every_four_seconds())
        await publisher.send(messages(50), qos=1, patience_seconds=5)
        confirming.cancel()
        with pytest.raises(TimeoutError):
            await publisher.send(messages(1), qos=1, patience_seconds=5)

    simulate(main)


def test_refusals_come_back_with_their_messages() -> None:
    async def main() -> None:
        line = Line(1)
        publisher = line.publisher = Publisher(line, window=3)  # type: ignore[arg-type]  # as above
        confirming = asyncio.create_task(line.confirm(0.5, reason=0x97))
        refused = await publisher.send(messages(10), qos=1, patience_seconds=5)
        confirming.cancel()
        assert sorted(message.payload for _, message in refused) == [b"%d" % index for index in range(10)]
        assert {code for code, _ in refused} == {0x97}

    simulate(main)


def test_when_the_connection_goes_whoever_waits_hears_it() -> None:
    async def main() -> None:
        line = Line(1)
        publisher = line.publisher = Publisher(line, window=3)  # type: ignore[arg-type]  # as above
        asyncio.get_running_loop().call_later(1, publisher.fail, Unavailable("gone"))
        with pytest.raises(Unavailable, match="gone"):
            await publisher.send(messages(10), qos=1, patience_seconds=5)
        with pytest.raises(Unavailable, match="gone"):
            await publisher.send(messages(10), qos=0, patience_seconds=5)

    simulate(main)


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (16_383, b"\xff\x7f"), (268_435_455, b"\xff\xff\xff\x7f")],
)
def test_lengths_are_written_as_the_standard_shows(number: int, written: bytes) -> None:
    assert varint(number) == written
