"""Modbus against libmodbus (a slave in C, its own master beside ours): TCP, a serial line, a converter, TLS."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import serial

from plantgate.sdk import Batch, Context, Source, Standing, SystemClock
from plantgate.sdk.quality import GOOD
from plantgate.testing.context import RecordedLog
from plantgate_connectors.modbus import Modbus, ModbusSettings
from plantgate_connectors.modbus.refusals import BAD_CONFIGURATION, BAD_NO_COMMUNICATION
from tests.peers.certificates import Authority
from tests.peers.modbus_slave import ModbusSlave, mbpoll, modbus_slave, serial_slave, socat, words
from tests.peers.mosquitto import free_port
from tests.peers.require import require

pytestmark = pytest.mark.integration

EVERY_TYPE: Sequence[tuple[str, str, float]] = (
    ("int16", "h", -12_345),
    ("uint16", "H", 54_321),
    ("int32", "i", -1_234_567_890),
    ("uint32", "I", 3_234_567_890),
    ("int64", "q", -1_234_567_890_123_456_789),
    ("uint64", "Q", 13_234_567_890_123_456_789),
    ("float32", "f", -61.25),
    ("float64", "d", 5.827000141143799),
)


def connector(folder: Path, **written: Any) -> Modbus:
    """As from a plant file."""
    folder.mkdir(parents=True, exist_ok=True)
    log = RecordedLog()
    patient = {"poll_interval_ms": 50, "timeout_ms": 1000, "probe_seconds_max": 2}
    settings = ModbusSettings.model_validate_json(json.dumps({**patient, **written}))
    return Modbus(settings, Context("line", folder, folder, SystemClock(), log, Standing(log)))


async def until(source: Source, enough: Any, seconds: float = 60.0) -> Batch:
    """Read and acknowledge until enough has come."""
    found = Batch.empty()
    async with asyncio.timeout(seconds):
        while not enough(found):
            batch = await source.read()
            found.extend(batch)
            await source.ack(batch.cursor)
    return found


def newest(batch: Batch) -> dict[str, tuple[object, int]]:
    return {sample.tag: (sample.value, sample.quality) for sample in batch}


def test_every_type_in_every_order_is_what_the_slave_and_mbpoll_hold(tmp_path: Path) -> None:
    require("modbus-slave", "mbpoll")

    async def run() -> None:
        async with modbus_slave() as slave:
            tags: list[dict[str, object]] = []
            wanted: dict[str, tuple[object, int]] = {}
            address = 0
            for order in ("ABCD", "CDAB", "BADC", "DCBA"):
                for kind, form, value in EVERY_TYPE:
                    held = words(form, value)
                    if order in ("CDAB", "DCBA"):
                        held.reverse()
                    if order in ("BADC", "DCBA"):
                        held = [word >> 8 | (word & 0xFF) << 8 for word in held]
                    await slave.set(7, {address: held})
                    tag = f"{order}/{kind}"
                    tags.append({"tag": tag, "address": address, "type": kind, "order": order})
                    wanted[tag] = (value, GOOD)
                    address += len(held)
            await slave.set(7, {500: words("4s2s", b"Pres", b"s\0"), 510: [0x1234, 0b1011_0000]})  # type: ignore[arg-type]  # bytes
            await slave.set(7, {3: [1, 0, 1]}, table="coil")
            await slave.set(7, {9: [0, 1]}, table="discrete")
            await slave.set(7, {40: [215]}, table="input")
            tags += [
                {"tag": "name", "address": 500, "type": "string", "length": 6},
                {"tag": "bcd", "address": 510, "type": "bcd16"},
                {"tag": "bit5", "address": 511, "bit": 5},
                {"tag": "bits", "address": 511, "bits": [4, 7]},
                {"tag": "coil", "address": 5, "table": "coil"},
                {"tag": "discrete", "address": 10, "table": "discrete"},
                {"tag": "scaled", "address": 40, "table": "input", "scale": 0.1, "offset": -1},
            ]
            wanted |= {
                "name": ("Press", GOOD),
                "bcd": (1234, GOOD),
                "bit5": (True, GOOD),
                "bits": (0b1011, GOOD),
                "coil": (True, GOOD),
                "discrete": (True, GOOD),
                "scaled": (20.5, GOOD),
            }
            devices = [{"name": "press", "unit": 7, "tags": tags}]
            ours = connector(tmp_path, host=slave.host, port=slave.port, devices=devices)
            async with ours.source() as source:
                found = await until(source, lambda batch: len(batch) >= len(tags))
            assert newest(found) == wanted
            said = await mbpoll(slave.port, "-a", "7", "-r", "2", "-c", "1", "-t", "4", slave.host)
            assert "54321" in said, "mbpoll counts from 1: its second register is our address 1"

    asyncio.run(run())


def test_registers_written_by_another_master_arrive(tmp_path: Path) -> None:
    require("modbus-slave", "mbpoll")

    async def run() -> None:
        async with modbus_slave() as slave:
            devices = [{"name": "d", "unit": 1, "tags": [{"tag": "t", "address": 20}]}]
            async with connector(tmp_path, host=slave.host, port=slave.port, devices=devices).source() as source:
                await until(source, lambda batch: len(batch) > 2)
                await mbpoll(slave.port, "-a", "1", "-r", "21", "-t", "4", slave.host, "4711")
                found = await until(source, lambda batch: 4711 in batch.values)
            assert set(found.values) <= {0, 4711}

    asyncio.run(run())


def test_an_address_the_slave_does_not_have_costs_its_own_tag_only(tmp_path: Path) -> None:
    require("modbus-slave")

    async def run() -> None:
        async with modbus_slave() as slave:
            await slave.set(1, {0: list(range(1, 51))})
            await slave.refuse(1, 17)
            tags = [{"tag": f"t{n}", "address": n} for n in range(50)]
            ours = connector(tmp_path, host=slave.host, port=slave.port, devices=[{"name": "d", "tags": tags}])
            async with ours.source() as source:
                found = await until(source, lambda batch: len(batch) >= 200)
            values = newest(found)
            assert values["t16"] == (17, GOOD)
            assert values["t18"] == (19, GOOD)
            assert values["t17"] == (None, BAD_CONFIGURATION)

    asyncio.run(run())


def test_a_slave_that_is_killed_and_comes_back_leaves_a_gap_and_no_wrong_value(tmp_path: Path) -> None:
    require("modbus-slave")

    async def run() -> None:
        async with modbus_slave() as slave:
            await slave.set(1, {0: words("Q", 1_764_000_000_000), 10: [5]})
            devices = [{"name": "d", "tags": [{"tag": "t", "address": 10}]}]
            time = {"address": 0, "type": "uint64", "unit": "ms"}
            ours = connector(tmp_path, host=slave.host, port=slave.port, devices=devices, time=time)
            async with ours.source() as source:
                await until(source, lambda batch: len(batch) > 3)
                await slave.kill()
                away = await until(source, lambda batch: BAD_NO_COMMUNICATION in batch.qualities)
                assert away.values.count(None) == 1
                await asyncio.sleep(0.5)
                await slave.start()
                await slave.set(1, {0: words("Q", 1_764_000_009_000), 10: [6]})
                back = await until(source, lambda batch: 6 in batch.values)
            [gap] = back.gaps
            assert gap.tags == ("t",)
            assert gap.since == 1_764_000_000_000_000_000
            assert (gap.lost or 0) >= 9
            assert set(back.values) <= {0, 6}

    asyncio.run(run())


def test_a_silent_slave_frozen_in_the_middle_is_told_and_read_again(tmp_path: Path) -> None:
    require("modbus-slave")

    async def run() -> None:
        async with modbus_slave() as slave:
            await slave.set(1, {0: [1]})
            devices = [{"name": "d", "tags": [{"tag": "t", "address": 0}]}]
            ours = connector(tmp_path, host=slave.host, port=slave.port, devices=devices, timeout_ms=100)
            async with ours.source() as source:
                await until(source, lambda batch: len(batch) > 3)
                slave.child.freeze()
                await until(source, lambda batch: BAD_NO_COMMUNICATION in batch.qualities)
                slave.child.thaw()
                await until(source, lambda batch: 1 in batch.values)

    asyncio.run(run())


async def _counts_up(slave: ModbusSlave, source: Source) -> None:
    """Each number that stands in the register arrives, and nothing that never stood there."""
    for number in range(100, 105):
        await slave.set(5, {0: [number, number + 1000]})
        found = await until(source, lambda batch, wanted=number: wanted in batch.values)
        for name, most in (("a", number), ("b", number + 1000)):
            values = [sample.value for sample in found if sample.tag == name and sample.quality == GOOD]
            assert all(value in (0, most, most - 1) for value in values), values


DEVICE = {"name": "d", "unit": 5, "tags": [{"tag": "a", "address": 0}, {"tag": "b", "address": 1}]}


def test_a_slave_on_a_serial_line_is_read(tmp_path: Path) -> None:
    require("modbus-slave", "socat")

    async def run() -> None:
        async with serial_slave(unit=5) as (slave, line):
            serial = {"port": str(line), "baud": 19200}
            ours = connector(tmp_path, framing="rtu", serial=serial, devices=[DEVICE])
            async with ours.source() as source:
                await _counts_up(slave, source)
            assert "timeouts" not in ours.context.standing.counters

    asyncio.run(run())


def test_a_dead_unit_on_a_serial_line_is_demoted_and_the_living_one_is_right(tmp_path: Path) -> None:
    require("modbus-slave", "socat")

    async def run() -> None:
        async with serial_slave(unit=5) as (slave, line):
            dead = {"name": "dead", "unit": 6, "tags": [{"tag": "c", "address": 0}]}
            serial = {"port": str(line), "baud": 19200}
            ours = connector(tmp_path, framing="rtu", serial=serial, devices=[DEVICE, dead], timeout_ms=300)
            async with ours.source() as source:
                await _counts_up(slave, source)
                found = await until(source, lambda batch: len(batch) > 60)
            assert newest(found)["a"][1] == GOOD
            assert ours.context.standing.counters["probes"] >= 1

    asyncio.run(run())


def test_a_serial_adapter_that_is_pulled_out_and_put_back_is_opened_again(tmp_path: Path) -> None:
    require("modbus-slave", "socat")

    async def run() -> None:
        near = tmp_path / "near"
        serial = {"port": str(near), "baud": 19200}
        ours = connector(tmp_path, framing="rtu", serial=serial, devices=[DEVICE])
        async with ours.source() as source:
            await until(source, lambda batch: BAD_NO_COMMUNICATION in batch.qualities)
            assert "cannot be reached: No such file or directory" in ours.context.standing.reason
            for number in (1, 2):
                async with serial_slave(unit=5, near=near) as (slave, _):
                    await slave.set(5, {0: [number]})
                    await until(source, lambda batch, wanted=number: wanted in batch.values)
                await until(source, lambda batch: BAD_NO_COMMUNICATION in batch.qualities)

    asyncio.run(run())


def test_a_second_program_on_the_line_is_refused_with_a_sentence(tmp_path: Path) -> None:
    require("modbus-slave", "socat")

    async def run() -> None:
        async with serial_slave(unit=5) as (_, line):
            written = {"framing": "rtu", "serial": {"port": str(line)}, "devices": [DEVICE]}
            ours = connector(tmp_path, **written)
            with serial.Serial(str(line), exclusive=True):
                async with ours.source() as source:
                    await until(source, lambda batch: BAD_NO_COMMUNICATION in batch.qualities)
                    assert "another program has it open" in ours.context.standing.reason

    asyncio.run(run())


def test_a_slave_behind_a_converter_is_read(tmp_path: Path) -> None:
    require("modbus-slave", "socat")

    async def run() -> None:
        async with serial_slave(unit=5) as (slave, line):
            port = free_port()
            listen = f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork"
            async with socat(listen, f"{line},raw,echo=0", folder=tmp_path):
                ours = connector(tmp_path, framing="rtu_over_tcp", host="127.0.0.1", port=port, devices=[DEVICE])
                async with ours.source() as source:
                    await _counts_up(slave, source)

    asyncio.run(run())


@asynccontextmanager
async def _tls(folder: Path, slave: ModbusSlave) -> AsyncIterator[tuple[int, dict[str, str]]]:
    """OpenSSL in front of the slave, asking for our certificate; gives the port and what to write under `tls`."""
    authority = Authority(folder / "ca", "plant")
    server = authority.issue("server", hosts=("127.0.0.1",))
    client = authority.issue("gateway")
    port = free_port()
    listen = (
        f"OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,verify=1,"
        f"cert={server.certificate},key={server.key},cafile={authority.certificate}"
    )
    async with socat(listen, f"TCP:127.0.0.1:{slave.port}", folder=folder):
        yield (
            port,
            {
                "ca_file": str(authority.certificate),
                "certificate_file": str(client.certificate),
                "key_file": str(client.key),
            },
        )


def test_a_slave_behind_tls_with_certificates_on_both_sides_is_read(tmp_path: Path) -> None:
    require("modbus-slave", "socat")

    async def run() -> None:
        async with modbus_slave() as slave, _tls(tmp_path, slave) as (port, tls):
            ours = connector(tmp_path, framing="tls", host="127.0.0.1", port=port, tls=tls, devices=[DEVICE])
            async with ours.source() as source:
                await _counts_up(slave, source)

    asyncio.run(run())


def test_a_certificate_of_another_authority_is_refused_with_a_sentence(tmp_path: Path) -> None:
    require("modbus-slave", "socat")

    async def run() -> None:
        async with modbus_slave() as slave, _tls(tmp_path, slave) as (port, tls):
            with tempfile.TemporaryDirectory() as folder:
                tls["ca_file"] = str(Authority(Path(folder), "another").certificate)
                ours = connector(tmp_path, framing="tls", host="127.0.0.1", port=port, tls=tls, devices=[DEVICE])
                async with ours.source() as source:
                    await until(source, lambda batch: BAD_NO_COMMUNICATION in batch.qualities)
                assert "a certificate we do not trust" in ours.context.standing.reason

    asyncio.run(run())
