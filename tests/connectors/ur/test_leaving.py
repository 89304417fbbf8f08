"""What of a command without a mailbox has not left this machine stays here: real sockets, and a deaf robot."""

import asyncio
import struct
from pathlib import Path

import pytest

from plantgate.sdk import Command, Deadline, OutcomeUnknown
from plantgate_connectors.ur.actuator import UrActuator
from tests.connectors.deaf import relay
from tests.connectors.ur.given import SPEED, writer
from tests.peers.ur_twin import robot

_WANTED = 0.375


@pytest.mark.parametrize("ended", ["late", "cancelled", "stopped"])
def test_a_register_without_a_mailbox_is_not_written_later(tmp_path: Path, ended: str) -> None:
    """No program would pass it over: the system would send it when the line goes on."""
    assert struct.pack(">d", _WANTED) not in asyncio.run(given_up(tmp_path, ended))


async def given_up(folder: Path, ended: str) -> bytes:
    """All that reaches the robot, which reads only when the session has ended."""
    async with robot("127.0.0.1", 0, 0) as twin, relay(twin.ports[0]) as between:
        ours = writer(folder, host="127.0.0.1", rtde_port=between.port, remote_control="ignored", silence_seconds=60)
        async with ours.actuator() as actuator:
            assert isinstance(actuator, UrActuator)
            transport = actuator._link._transport
            assert transport is not None
            sent = asyncio.Event()

            def deaf_from_here() -> str:
                between.fall_deaf(transport)
                sent.set()
                return ""

            seconds = 0.5 if ended == "late" else 60.0
            writing = asyncio.create_task(
                actuator.write(Command("1", SPEED, _WANTED, Deadline.after(seconds), deaf_from_here))
            )
            await sent.wait()
            if ended == "cancelled":
                writing.cancel()
            if ended != "stopped":
                await asyncio.wait([writing])
        with pytest.raises((OutcomeUnknown, asyncio.CancelledError)):
            await writing
        return await between.rest()
