"""What has not reached the broker's machine by the deadline is not sent any more: real sockets, and a deaf broker."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Command, Deadline, OutcomeUnknown, Unavailable
from plantgate_connectors.leaving import under_way
from plantgate_connectors.mqtt.actuator import MqttActuator
from tests.connectors.mqtt.given import mqtt
from tests.connectors.mqtt.obeying import commands

_PING = b"\xc0\x00"
_STUFFING = _PING * 100_000


class Deaf:
    """A broker that lets us in, and then leaves what comes in its system's small buffer."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]

    async def welcome(self) -> None:
        """Up to the subscription."""
        loop = asyncio.get_running_loop()
        self._conversation, _ = await loop.sock_accept(self._listening)
        await loop.sock_recv(self._conversation, 4096)
        await loop.sock_sendall(self._conversation, b"\x20\x03\x00\x00\x00")
        await loop.sock_recv(self._conversation, 4096)
        await loop.sock_sendall(self._conversation, b"\x90\x04\x00\x01\x00\x01")

    async def say(self, packet: bytes) -> None:
        """Whatever it is."""
        await asyncio.get_running_loop().sock_sendall(self._conversation, packet)

    async def listen(self, until: bytes = b"") -> bytes:
        """All that there is, to the end of the connection or until that has come."""
        heard = bytearray()
        try:
            while piece := await asyncio.get_running_loop().sock_recv(self._conversation, 65_536):
                heard += piece
                if until and until in heard:
                    break
        except ConnectionResetError:
            pass
        return bytes(heard)

    def close(self) -> None:
        self._listening.close()
        self._conversation.close()


@asynccontextmanager
async def deaf(folder: Path) -> AsyncIterator[tuple[Deaf, Any]]:
    broker = Deaf()
    try:
        async with session_at(broker, folder) as actuator:
            yield broker, actuator
    finally:
        broker.close()


@asynccontextmanager
async def session_at(broker: Deaf, folder: Path) -> AsyncIterator[Any]:
    ours = mqtt(folder, host="127.0.0.1", port=broker.port, commands=commands("oven"))
    welcoming = asyncio.create_task(broker.welcome())
    async with ours.actuator() as actuator:
        await welcoming
        assert await broker.listen(until=_PING) == _PING, "it asks whether the broker is there, and not again soon"
        yield actuator


def stuff(actuator: MqttActuator, *, to_the_brim: bool) -> None:
    """Fill the other system's buffer, and with `to_the_brim` ours as well; asyncio has nothing to send after it."""
    transport = actuator._session.wire.transport
    assert transport is not None
    raw = transport.get_extra_info("socket")
    left = len(_STUFFING) if not to_the_brim else 2**30
    try:
        while left > 0:
            left -= socket.socket.send(raw._sock, _STUFFING[:left])
    except BlockingIOError:
        assert to_the_brim, "our system's buffer is smaller than the stuffing"
    assert transport.get_write_buffer_size() == 0
    assert under_way(transport) > 4096


@pytest.mark.parametrize("to_the_brim", [False, True])
def test_it_is_forgotten_here_and_in_the_system_and_the_outcome_is_unknown(tmp_path: Path, to_the_brim: bool) -> None:
    async def run() -> None:
        async with deaf(tmp_path) as (broker, actuator):
            stuff(actuator, to_the_brim=to_the_brim)
            with pytest.raises(OutcomeUnknown, match="had not reached the broker by its deadline"):
                await actuator.write(Command("1", "oven", 1.0, Deadline.after(0.3)))
            heard = await broker.listen()
            assert b"oven/set" not in heard
            with pytest.raises(Unavailable):
                await actuator.write(Command("2", "oven", 1.0, Deadline.after(10.0)))

    asyncio.run(run())


@pytest.mark.parametrize("to_the_brim", [False, True])
def test_it_does_not_leave_after_its_session(tmp_path: Path, to_the_brim: bool) -> None:
    """The gateway is stopped meanwhile; the system would go on sending for minutes."""

    async def run() -> None:
        with closing(Deaf()) as broker:
            async with session_at(broker, tmp_path) as actuator:
                stuff(actuator, to_the_brim=to_the_brim)
                writing = asyncio.create_task(actuator.write(Command("1", "oven", 1.0, Deadline.after(60.0))))
                await asyncio.sleep(0)
                assert not writing.done()
            with pytest.raises(OutcomeUnknown):
                await writing
            assert b"oven/set" not in await broker.listen()

    asyncio.run(run())


@pytest.mark.parametrize("said", [b"\x30\x00", b"\xf0\x00", b"\x30\xff\xff\xff\xff\x01", b"\xe0\x00"])
def test_it_does_not_leave_after_a_broker_that_breaks_the_rules_or_dismisses_us(tmp_path: Path, said: bytes) -> None:
    async def run() -> None:
        async with deaf(tmp_path) as (broker, actuator):
            stuff(actuator, to_the_brim=False)
            writing = asyncio.create_task(actuator.write(Command("1", "oven", 1.0, Deadline.after(60.0))))
            await asyncio.sleep(0)
            await broker.say(said)
            with pytest.raises(OutcomeUnknown):
                await writing
            assert b"oven/set" not in await broker.listen()

    asyncio.run(run())


@pytest.mark.parametrize("to_the_brim", [False, True])
def test_before_its_deadline_it_goes_on_being_sent(tmp_path: Path, to_the_brim: bool) -> None:
    """So that the test above is seen to miss something."""

    async def run() -> None:
        async with deaf(tmp_path) as (broker, actuator):
            stuff(actuator, to_the_brim=to_the_brim)
            writing = asyncio.create_task(actuator.write(Command("1", "oven", 1.0, Deadline.after(30.0))))
            await asyncio.sleep(0.3)
            async with asyncio.timeout(10):
                assert b"oven/set" in await broker.listen(until=b"oven/set")
            writing.cancel()
            await asyncio.wait([writing])

    asyncio.run(run())


def test_nothing_is_put_behind_what_the_system_does_not_take(tmp_path: Path) -> None:
    async def run() -> None:
        async with deaf(tmp_path) as (_, actuator):
            stuff(actuator, to_the_brim=True)
            actuator._session.wire.write(_PING)
            with pytest.raises(Unavailable, match="the broker does not take what is sent; nothing was sent"):
                await actuator.write(Command("1", "oven", 1.0, Deadline.after(10.0)))
            with pytest.raises(Unavailable, match="the broker does not take what is sent; the device was not asked"):
                await actuator.read("oven", Deadline.after(10.0))

    asyncio.run(run())
