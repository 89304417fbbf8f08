"""The UR connector under the contracts of actuators and of devices that cannot repeat themselves.

Against a robot of our own; no real one was used.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from plantgate.sdk import Connector, Rejected, Sample, Setpoint
from plantgate.sdk.quality import GOOD
from plantgate.testing.contract import ActuatorContract, LiveSourceContract, lent
from plantgate_connectors.ur import Ur, UrSettings
from tests.peers.ur_program import Box, Mirror, Registers
from tests.peers.ur_twin import Robot, robot

HOST = "robot"


class TestUr(LiveSourceContract[Robot]):
    """Each tag a register; a robot that is gone is what it does not vouch for."""

    host = HOST
    gives_time = False
    patience_seconds = 200.0

    def device(self) -> Any:
        return robot(HOST)

    def connector(self, device: Robot, tmp_path: Path) -> Connector[Any]:
        outputs = [{"field": f"output_double_register_{24 + n}", "tag": tag} for n, tag in enumerate(self.tags)]
        written = {
            "host": HOST,
            "frequency_hz": 10,
            "connect_seconds": 2,
            "silence_seconds": 1.5,
            "buffer_samples_max": 300,
            "outputs": outputs,
        }
        return Ur(UrSettings.model_validate_json(json.dumps(written)), lent(tmp_path))

    async def produce(self, device: Robot, samples: Sequence[Sample]) -> None:
        for sample in samples:
            assert isinstance(sample.value, float)
            device.set(f"output_double_register_{24 + self.tags.index(sample.tag)}", sample.value)
            await device.shown()
            if sample.quality != GOOD:
                device.drop()


def _box(number: int) -> Box:
    """A mailbox of its own for each tag, for one number."""
    first = 24 + 10 * number
    names = ("until", "epoch", "sequence", "echo", "echo_epoch", "verdict", "clock", "moves")
    sides = ("input",) * 3 + ("output",) * 5
    registers = {
        name: f"{side}_int_register_{first + at}" for at, (name, side) in enumerate(zip(names, sides, strict=True))
    }
    return Box(values=(f"double_register_{first}",), limits=((-1000.0, 1000.0),), **registers)


class TestUrMailbox(ActuatorContract[Robot]):
    """Each tag has a mailbox."""

    host = HOST
    patience_seconds = 20.0

    @asynccontextmanager
    async def device(self) -> AsyncIterator[Robot]:
        async with robot(HOST) as twin:
            twin.program.boxes = [_box(number) for number, _ in enumerate(self.tags)]
            twin.program.start()
            yield twin

    def connector(self, device: Robot, tmp_path: Path) -> Connector[Any]:
        writes = [self.write(number, tag) for number, tag in enumerate(self.tags)]
        written = {
            "host": HOST,
            "connect_seconds": 2,
            "silence_seconds": 1.5,
            "write_frequency_hz": 25,
            "writes": writes,
        }
        tmp_path.mkdir(exist_ok=True)
        return Ur(UrSettings.model_validate_json(json.dumps(written)), lent(tmp_path))

    def write(self, number: int, tag: str) -> dict[str, Any]:
        box = _box(number)
        names = ("until", "epoch", "sequence", "echo", "echo_epoch", "verdict", "clock")
        return {
            "tag": tag,
            "registers": [f"input_{name}" for name in box.values],
            "confirm": [f"output_{name}" for name in box.values],
            "mailbox": {name: getattr(box, name) for name in names},
        }

    def written(self, device: Robot, tag: str) -> Sequence[Setpoint]:
        return [value for [value] in device.program.boxes[self.tags.index(tag)].applied]

    def change(self, device: Robot, tag: str, value: Setpoint) -> None:
        device.set(f"output_{_box(self.tags.index(tag)).values[0]}", value)

    def refuse(self, device: Robot) -> None:
        for box in device.program.boxes:
            box.limits = ((0.0, -1.0),)

    def silence(self, device: Robot) -> None:
        device.program.tells = False

    def lies(self) -> Sequence[Callable[[Robot], None]]:
        first = _box(0)

        def lie(name: str, value: Setpoint) -> Callable[[Robot], None]:
            def spoil(outputs: Registers) -> None:
                outputs[name] = value  # type: ignore[assignment]  # no text among them

            def put(device: Robot) -> None:
                device.program.lie = spoil

            return put

        return [
            lie(first.echo, 17),
            lie(first.echo_epoch, 17),
            lie(first.verdict, 0),
            lie(first.verdict, 9),
            lie(f"output_{first.values[0]}", 17.0),
        ]


class TestUrMirror(ActuatorContract[Robot]):
    """Each tag is a register that the program shows. It cannot refuse: what it does not show is unknown."""

    host = HOST
    patience_seconds = 20.0
    registers: ClassVar[tuple[str, ...]] = ("double_register_30", "double_register_31")

    @asynccontextmanager
    async def device(self) -> AsyncIterator[Robot]:
        async with robot(HOST) as twin:
            twin.program.mirrors = [Mirror(name, -1000.0, 1000.0) for name in self.registers]
            yield twin

    def connector(self, device: Robot, tmp_path: Path) -> Connector[Any]:
        writes = [
            {"tag": tag, "registers": [f"input_{name}"], "confirm": [f"output_{name}"]}
            for tag, name in zip(self.tags, self.registers, strict=True)
        ]
        written = {
            "host": HOST,
            "connect_seconds": 2,
            "silence_seconds": 1.5,
            "write_frequency_hz": 25,
            "writes": writes,
        }
        tmp_path.mkdir(exist_ok=True)
        return Ur(UrSettings.model_validate_json(json.dumps(written)), lent(tmp_path))

    def written(self, device: Robot, tag: str) -> Sequence[Setpoint]:
        name = f"input_{self.registers[self.tags.index(tag)]}"
        return [came[name] for came in device.received if name in came]

    def change(self, device: Robot, tag: str, value: Setpoint) -> None:
        device.set(f"output_{self.registers[self.tags.index(tag)]}", value)

    async def test_a_refusal_is_rejected(self, tmp_path: Path) -> None:
        """A program that does not run is what refuses, once it is seen; a register alone has no way to say no."""
        async with self.device() as device, self.connector(device, tmp_path).actuator() as actuator:
            self.refuse(device)
            await asyncio.sleep(0.2)
            verdict = await self.outcome(actuator, self.command(1))
            assert isinstance(verdict, Rejected), f"refused, and the verdict is {verdict!r}"
            assert self.count(device) == 0

    def refuse(self, device: Robot) -> None:
        device.stop_program()

    def silence(self, device: Robot) -> None:
        device.program.tells = False

    def lies(self) -> Sequence[Callable[[Robot], None]]:
        def another(device: Robot) -> None:
            device.program.mirrors[0].high = -999.0

        return [another]
