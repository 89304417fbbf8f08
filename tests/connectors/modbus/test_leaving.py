"""What of a write has not left this machine when its session ends stays here: real sockets, and a deaf device."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from plantgate.sdk import Command, Deadline, OutcomeUnknown
from plantgate_connectors.modbus import Modbus
from plantgate_connectors.modbus.actuator import ModbusActuator
from tests.connectors.modbus.given import device, modbus, tag

_STUFFING = b"\0" * 200_000
_WRITE = b"\x06\x00\x00\x12\x34"


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """Lets us in, and then leaves what comes in its system's small buffer."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listening.setblocking(False)
    yield listening
    listening.close()


def stuff(actuator: ModbusActuator) -> None:
    """Fill the other system's buffer, so that what is sent next waits in ours; asyncio has nothing to send after it."""
    [line] = actuator._lines.values()
    assert line._wire is not None
    assert line._wire.transport is not None
    raw = line._wire.transport.get_extra_info("socket")
    assert socket.socket.send(raw._sock, _STUFFING) == len(_STUFFING), "our system's buffer is larger"


def at(folder: Path, deaf: socket.socket) -> Modbus:
    where = {"host": "127.0.0.1", "port": deaf.getsockname()[1]}
    return modbus(folder, **where, devices=[device("press", 1, tag("a", 0))], timeout_ms=60_000)


async def all_that_came(conversation: socket.socket) -> bytes:
    heard = bytearray()
    with suppress(ConnectionResetError):
        while piece := await asyncio.get_running_loop().sock_recv(conversation, 65_536):
            heard += piece
    return bytes(heard)


@pytest.mark.parametrize("ended", ["cancelled", "left"])
def test_a_write_whose_session_ends_does_not_leave_later(tmp_path: Path, deaf: socket.socket, ended: str) -> None:
    """Or the system would go on with it for minutes, long after its outcome was settled."""
    came = asyncio.run(given_up(tmp_path, deaf, cancelled=ended == "cancelled"))
    assert _WRITE not in came


def test_a_write_that_has_not_reached_the_device_by_its_deadline_never_does(
    tmp_path: Path, deaf: socket.socket
) -> None:
    """A line that stands still and goes on later: the system would send it then."""
    assert _WRITE not in asyncio.run(late(tmp_path, deaf))


async def late(folder: Path, deaf: socket.socket) -> bytes:
    """All that reaches the device, which reads only when the deadline has passed."""
    async with at(folder, deaf).actuator() as actuator:
        conversation, _ = await asyncio.get_running_loop().sock_accept(deaf)
        assert isinstance(actuator, ModbusActuator)
        stuff(actuator)
        async with asyncio.timeout(30.0):
            with pytest.raises(OutcomeUnknown, match="had not reached the device by its deadline"):
                await actuator.write(Command("1", "a", 0x1234, Deadline.after(0.2)))
        with conversation:
            return await all_that_came(conversation)


async def given_up(folder: Path, deaf: socket.socket, *, cancelled: bool) -> bytes:
    """All that reaches the device, which reads only when the session has ended."""
    async with at(folder, deaf).actuator() as actuator:
        conversation, _ = await asyncio.get_running_loop().sock_accept(deaf)
        assert isinstance(actuator, ModbusActuator)
        stuff(actuator)
        writing = asyncio.create_task(actuator.write(Command("1", "a", 0x1234, Deadline.after(60.0))))
        await asyncio.sleep(0)
        assert not writing.done()
        if cancelled:
            writing.cancel()
            await asyncio.wait([writing])
    with pytest.raises((OutcomeUnknown, asyncio.CancelledError)):
        await writing
    with conversation:
        return await all_that_came(conversation)
