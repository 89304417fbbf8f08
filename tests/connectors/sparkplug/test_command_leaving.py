"""What of a command has not left this machine when its session ends stays here: real sockets, and a deaf broker."""

import asyncio
from pathlib import Path

import pytest

from plantgate.sdk import Deadline, OutcomeUnknown
from plantgate.testing.mqtt_broker import Broker
from plantgate_connectors.sparkplug.actuator import SparkplugActuator
from tests.connectors.deaf import relay
from tests.connectors.sparkplug.obedient_node import SPEED, ObedientNode, command, commanding


@pytest.mark.parametrize("stopped", [True, False])
def test_a_command_whose_session_ends_does_not_leave_later(tmp_path: Path, stopped: bool) -> None:
    """Or the system would go on with it for minutes, long after its outcome was settled."""
    came = asyncio.run(given_up(tmp_path, stopped=stopped))
    assert b"DCMD" not in came


def test_a_command_that_has_not_reached_the_broker_by_its_deadline_never_does(tmp_path: Path) -> None:
    """A line that stands still and goes on a little later: the system would send it then."""
    assert b"DCMD" not in asyncio.run(given_up(tmp_path, seconds=0.2))


async def given_up(folder: Path, *, stopped: bool = False, seconds: float = 60.0) -> bytes:
    """All that reaches the broker, which reads only when the session has ended, or the outcome is known."""
    async with Broker() as broker, relay(await broker.listen()) as between:
        node = ObedientNode(broker)
        node.has(SPEED[1], device=SPEED[0], value=0.5)
        node.listen()
        async with commanding(folder, SPEED, host="127.0.0.1", port=between.port).actuator() as actuator:
            assert isinstance(actuator, SparkplugActuator)
            await actuator.read("press/speed", Deadline.after(10.0))
            transport = actuator._link._open().wire.transport
            assert transport is not None
            between.fall_deaf(transport)
            writing = asyncio.create_task(actuator.write(command("press/speed", 2.5, seconds)))
            await asyncio.sleep(0.01)
            assert not writing.done()
            if seconds < 60.0:
                with pytest.raises(OutcomeUnknown, match="had not reached the broker by its deadline"):
                    await writing
            elif not stopped:
                writing.cancel()
                await asyncio.wait([writing])
        with pytest.raises((OutcomeUnknown, asyncio.CancelledError)):
            await writing
        return await between.rest()
