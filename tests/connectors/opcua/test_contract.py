"""Source and actuator keep the contracts every one is held to, against a simulated controller."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from plantgate.sdk import Sample, Setpoint
from plantgate.testing.contract import ActuatorContract, SourceContract, lent
from plantgate.testing.simloop import running
from plantgate_connectors.opcua import OpcUa
from tests.connectors.opcua.plant_given import settings
from tests.connectors.opcua.plc import NAMESPACE, URL, Plc, plc

TAGS = ("line1/a", "line1/b", "line1/c")


@pytest.mark.simulated(seeds=2)
class TestOpcUaSource(SourceContract[Plc]):
    """With asyncua's server, whose address space takes a second of CPU to build: few seeds here, more at night."""

    host = "plc"
    tags = TAGS
    repeats_current_value = True
    stalled_samples = 2_000
    stalled_bytes_max = 12_000_000  # our bound is 8 MiB of messages; asyncua's server keeps 500 of them besides

    def device(self) -> AbstractAsyncContextManager[Plc]:
        return plc(TAGS)

    def connector(self, device: Plc, tmp_path: Path) -> OpcUa:
        chosen = settings(
            URL,
            security={"policy": "None"},
            publishing_interval_ms=100,
            sampling_interval_ms=0,
            queue_size=1000,
            keepalive_seconds=2,
            request_timeout_seconds=5,
            connect_timeout_seconds=5,
            trigger="status_value_timestamp",
            tags=[{"node": f"nsu={NAMESPACE};s={tag}", "tag": tag} for tag in TAGS],
        )
        return OpcUa(chosen, lent(tmp_path))

    async def produce(self, device: Plc, samples: Sequence[Sample]) -> None:
        for sample in samples:
            await device.show(sample)
            await asyncio.sleep(0.01)

    def is_the_devices(self, task: "asyncio.Task[object]") -> bool:
        """A session that was left standing, to be picked up, lives on at the server until its timeout."""
        return "asyncua/server" in str(task) or "opcua/space" in str(task)

    async def test_closing_leaves_no_task_or_socket(self, tmp_path: Path) -> None:
        """The subscription stays at the server on purpose, and with it the server's own tasks."""
        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            for _ in range(3):
                async with connector.source() as source:
                    await device.show(self.sample(TAGS[0], 1))
                    await source.read()
            await asyncio.sleep(10.0)
            left = [task for task in running().unfinished() if not self.is_the_devices(task)]
            assert left == [asyncio.current_task()]
            assert running().network.connections(self.host) == 0


def with_status(*codes: int) -> Callable[[Plc], None]:
    """Confirms with other results than the one there is."""

    def lie(device: Plc) -> None:
        def change(response: Any) -> list[Any]:
            response.Results = [ua.StatusCode(code) for code in codes]
            return [response]

        device.answer_writes(change)

    return lie


def of_another_request(device: Plc) -> None:
    def change(response: Any) -> list[Any]:
        response.ResponseHeader.RequestHandle = 77_777
        return [response]

    device.answer_writes(change)


def of_another_service(device: Plc) -> None:
    def change(response: Any) -> list[Any]:
        other = ua.ReadResponse()
        other.Results = [ua.DataValue(ua.Variant(1.0))]
        return [other]

    device.answer_writes(change)


def with_a_fault(device: Plc) -> None:
    def change(response: Any) -> list[Any]:
        fault = ua.ServiceFault()
        fault.ResponseHeader.ServiceResult = ua.StatusCode(ua.StatusCodes.BadTimeout)
        return [fault]

    device.answer_writes(change)


def with_a_refusal_of_another_request(device: Plc) -> None:
    def change(response: Any) -> list[Any]:
        fault = ua.ServiceFault()
        fault.ResponseHeader.ServiceResult = ua.StatusCode(ua.StatusCodes.BadUserAccessDenied)
        fault.ResponseHeader.RequestHandle = 77_777
        return [fault]

    device.answer_writes(change)


def with_a_failure_of_another_request(device: Plc) -> None:
    def change(response: Any) -> list[Any]:
        response.ResponseHeader.ServiceResult = ua.StatusCode(ua.StatusCodes.BadTooManyOperations)
        response.ResponseHeader.RequestHandle = 77_777
        return [response]

    device.answer_writes(change)


@pytest.mark.simulated(seeds=2)
class TestOpcUaActuator(ActuatorContract[Plc]):
    """With asyncua's server; few seeds here, more at night."""

    host = "plc"
    tags = TAGS[:2]

    def device(self) -> AbstractAsyncContextManager[Plc]:
        return plc(TAGS[:2])

    def connector(self, device: Plc, tmp_path: Path) -> OpcUa:
        chosen = settings(
            URL,
            security={"policy": "None"},
            request_timeout_seconds=5,
            connect_timeout_seconds=5,
            tags=[{"node": f"nsu={NAMESPACE};s={tag}", "tag": tag} for tag in TAGS[:2]],
        )
        return OpcUa(chosen, lent(tmp_path))

    def written(self, device: Plc, tag: str) -> Sequence[Setpoint]:
        return [value for name, value in device.written if name == tag]

    def change(self, device: Plc, tag: str, value: Setpoint) -> None:
        device.put(tag, value)

    def refuse(self, device: Plc) -> None:
        device.write_refusal = ua.StatusCodes.BadNotWritable

    def silence(self, device: Plc) -> None:
        device.answer_writes(lambda response: [])

    def lies(self) -> Sequence[Callable[[Plc], None]]:
        return [
            with_status(),
            with_status(0, 0),
            with_status(ua.StatusCodes.BadTimeout),
            with_status(ua.StatusCodes.BadCommunicationError),
            with_status(ua.StatusCodes.GoodClamped),
            with_status(ua.StatusCodes.UncertainLastUsableValue),
            of_another_request,
            of_another_service,
            with_a_fault,
            with_a_refusal_of_another_request,
            with_a_failure_of_another_request,
        ]

    def is_the_devices(self, task: "asyncio.Task[object]") -> bool:
        """A session that was left standing lives on at the server until its timeout."""
        return "asyncua/server" in str(task) or "opcua/space" in str(task)
