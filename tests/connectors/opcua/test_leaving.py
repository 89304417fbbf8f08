"""What of a write has not left this machine when its session ends stays here: real sockets, and a deaf server."""

import asyncio
from pathlib import Path

import pytest

from plantgate.sdk import Command, Deadline, OutcomeUnknown
from plantgate.testing.context import lent
from plantgate_connectors.opcua import OpcUa
from plantgate_connectors.opcua.actuator import OpcUaActuator
from tests.connectors.deaf import relay
from tests.connectors.opcua import plc as controller
from tests.connectors.opcua.plant_given import settings
from tests.peers.mosquitto import free_port

_INTENT = "the-intent-of-this-write"


@pytest.mark.parametrize("stopped", [True, False])
def test_a_write_whose_session_ends_does_not_leave_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """Or the system would go on with it for minutes, long after its outcome was settled."""
    port = free_port()
    monkeypatch.setattr(controller, "URL", f"opc.tcp://127.0.0.1:{port}/plant")
    came = asyncio.run(given_up(tmp_path, port, stopped=stopped))
    assert _INTENT.encode() not in came


def test_a_write_that_has_not_reached_the_server_by_its_deadline_never_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that stands still and goes on later: the system would send it then."""
    port = free_port()
    monkeypatch.setattr(controller, "URL", f"opc.tcp://127.0.0.1:{port}/plant")
    came = asyncio.run(given_up(tmp_path, port, seconds=1.0))
    assert _INTENT.encode() not in came


async def given_up(folder: Path, port: int, *, stopped: bool = False, seconds: float = 60.0) -> bytes:
    """All that reaches the server, which reads only when the session has ended, or the outcome is known."""
    async with controller.plc(["a"]) as device, relay(port) as between:
        device.put("a", 0.5)
        ours = settings(
            f"opc.tcp://127.0.0.1:{between.port}/plant",
            security={"policy": "None"},
            request_timeout_seconds=60,
            tags=[{"node": f"nsu={controller.NAMESPACE};s=a", "tag": "a"}],
        )
        async with OpcUa(ours, lent(folder)).actuator() as actuator:
            assert isinstance(actuator, OpcUaActuator)
            await actuator.write(Command("first", "a", 1.5, Deadline.after(10.0)))
            transport = actuator._session.protocol.transport
            assert transport is not None

            sent = asyncio.Event()

            def deaf_from_here() -> str:
                between.fall_deaf(transport)
                sent.set()
                return ""

            last = Command(_INTENT, "a", 2.5, Deadline.after(seconds), deaf_from_here)
            writing = asyncio.create_task(actuator.write(last))
            await sent.wait()
            if seconds < 60.0:
                async with asyncio.timeout(30.0):
                    with pytest.raises(OutcomeUnknown, match="had not reached the server by its deadline"):
                        await writing
            elif not stopped:
                writing.cancel()
                await asyncio.wait([writing])
        with pytest.raises((OutcomeUnknown, asyncio.CancelledError)):
            await writing
        return await between.rest()
