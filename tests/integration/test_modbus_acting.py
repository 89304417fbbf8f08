"""Writing by Modbus to a slave of others (libmodbus), read back by its own master: TCP, a serial line, lost answers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Command, Deadline, OutcomeUnknown, Rejected, Unavailable
from plantgate_connectors.modbus import Modbus
from tests.integration.test_modbus_libmodbus import connector
from tests.peers.modbus_slave import ModbusSlave, mbpoll, modbus_slave, serial_slave
from tests.peers.proxy import proxy
from tests.peers.require import require

pytestmark = pytest.mark.integration

SPEED = {"name": "press", "unit": 7, "tags": [{"tag": "speed", "address": 20, "type": "float32", "order": "CDAB"}]}


def command(tag: str, value: Any, seconds: float = 10.0) -> Command:
    return Command("1", tag, value, Deadline.after(seconds))


async def written(slave: ModbusSlave, unit: int = 7) -> int:
    return (await slave.count(unit)).written


def test_every_type_in_every_order_is_read_back_by_us_and_by_mbpoll(tmp_path: Path) -> None:
    require("modbus-slave", "mbpoll")
    values: dict[str, Any] = {
        "int16": -12_345, "uint16": 54_321, "int32": -1_234_567_890, "uint32": 3_234_567_890,
        "int64": -1_234_567_890_123_456_789, "uint64": 13_234_567_890_123_456_789,
        "float32": -61.25, "float64": 5.827000141143799, "bcd16": 1234, "bcd32": 12_345_678,
    }  # fmt: skip

    async def run() -> None:
        async with modbus_slave() as slave:
            tags: list[dict[str, Any]] = [
                {"tag": f"{order}/{kind}", "address": 100 + 100 * n + 4 * m, "type": kind, "order": order}
                for n, order in enumerate(("ABCD", "CDAB", "BADC", "DCBA"))
                for m, kind in enumerate(values)
            ]
            tags += [
                {"tag": "coil", "address": 5, "table": "coil"},
                {"tag": "scaled", "address": 2, "type": "int16", "scale": 0.1},
                {"tag": "name", "address": 10, "type": "string", "length": 6},
            ]
            wanted = {each["tag"]: values.get(each["tag"].partition("/")[2]) for each in tags}
            wanted |= {"coil": True, "scaled": 21.5, "name": "Press"}
            devices = [{"name": "press", "unit": 7, "tags": tags}]
            async with connector(tmp_path, host=slave.host, port=slave.port, devices=devices).actuator() as actuator:
                for tag, value in wanted.items():
                    await actuator.write(command(tag, value))
                for tag, value in wanted.items():
                    assert (await actuator.read(tag, Deadline.after(5.0))).value == value
            assert await written(slave) == len(wanted)
            # mbpoll counts from 1, and -B takes the high word first
            said = await mbpoll(slave.port, "-a", "7", "-r", "101", "-c", "2", "-t", "4", slave.host)
            assert "-12345" in said
            said = await mbpoll(slave.port, "-a", "7", "-r", "125", "-c", "1", "-t", "4:float", "-B", slave.host)
            assert "-61.25" in said
            said = await mbpoll(slave.port, "-a", "7", "-r", "6", "-c", "1", "-t", "0", slave.host)
            assert "[6]: \t1" in said
            assert await slave.get(7, 10, 3) == [0x5072, 0x6573, 0x7300]

    asyncio.run(run())


def test_a_refusal_is_rejected_and_what_is_not_there_stays_so(tmp_path: Path) -> None:
    require("modbus-slave")

    async def run() -> None:
        async with modbus_slave() as slave:
            await slave.refuse(7, 20, 2, code=2)
            async with connector(tmp_path, host=slave.host, port=slave.port, devices=[SPEED]).actuator() as actuator:
                with pytest.raises(Rejected, match="illegal data address"):
                    await actuator.write(command("speed", 1.5))
                await slave.refuse(7, 20, 2, code=4)
                with pytest.raises(OutcomeUnknown, match="server device failure"):
                    await actuator.write(command("speed", 1.5))
            assert await written(slave) == 0

    asyncio.run(run())


def test_answers_lost_on_the_way_are_unknown_outcomes_and_each_was_written_once(tmp_path: Path) -> None:
    require("modbus-slave")

    async def run() -> None:
        async with modbus_slave() as slave, proxy(slave.host, slave.port) as between:
            ours = connector(tmp_path, host=between.host, port=between.port, devices=[SPEED], timeout_ms=300)
            for number in range(1, 4):
                async with ours.actuator() as actuator:
                    await actuator.read("speed", Deadline.after(5.0))
                    between.lose_answers()
                    with pytest.raises(OutcomeUnknown):
                        await actuator.write(command("speed", float(number)))
                    await asyncio.sleep(1.0)
                    assert await written(slave) == number
                between.mend()
            async with ours.actuator() as actuator:
                assert (await actuator.read("speed", Deadline.after(5.0))).value == 3.0
            assert await written(slave) == 3

    asyncio.run(run())


def test_a_slave_frozen_when_it_was_written_to_does_it_once_when_it_goes_on(tmp_path: Path) -> None:
    require("modbus-slave")

    async def run() -> None:
        async with modbus_slave() as slave:
            ours = connector(tmp_path, host=slave.host, port=slave.port, devices=[SPEED], timeout_ms=300)
            async with ours.actuator() as actuator:
                await actuator.read("speed", Deadline.after(5.0))
                slave.child.freeze()
                with pytest.raises(OutcomeUnknown):
                    await actuator.write(command("speed", 7.5))
                with pytest.raises(Unavailable):
                    await actuator.read("speed", Deadline.after(0.5))
                slave.child.thaw()
                await asyncio.sleep(1.0)
            assert await written(slave) == 1
            async with ours.actuator() as actuator:
                assert (await actuator.read("speed", Deadline.after(5.0))).value == 7.5

    asyncio.run(run())


def test_a_serial_line_is_written_to_between_the_polls(tmp_path: Path) -> None:
    require("modbus-slave", "socat")

    async def run() -> None:
        async with serial_slave(unit=7) as (slave, line):
            port = {"port": str(line), "parity": "none"}
            way: dict[str, Any] = {"framing": "rtu", "serial": port, "devices": [SPEED]}
            reading: Modbus = connector(tmp_path / "reading", **way, poll_interval_ms=20)
            writing: Modbus = connector(tmp_path / "writing", **way)
            async with writing.actuator() as actuator:
                async with reading.source() as source:
                    for number in range(1, 21):
                        await actuator.write(command("speed", number / 2))
                        assert (await actuator.read("speed", Deadline.after(5.0))).value == number / 2
                        batch = await source.read()
                        await source.ack(batch.cursor)
                await actuator.read("speed", Deadline.after(5.0))  # comes after the last poll, which may be on its way
                await slave.silent(7)  # with nobody polling: a poll without an answer would hold the write back
                with pytest.raises(OutcomeUnknown):
                    await actuator.write(command("speed", 99.0))
                await slave.silent(7, False)
            assert await written(slave) == 20, "the silent one hears and does nothing"
            async with writing.actuator() as actuator:
                assert (await actuator.read("speed", Deadline.after(10.0))).value == 10.0

    asyncio.run(run())
