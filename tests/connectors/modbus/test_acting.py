"""Writing: what each answer means, and that the line is shared with reading and no write is asked twice."""

import asyncio
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Command, Deadline, GatewayError, OutcomeUnknown, Rejected, Unavailable
from plantgate.testing.simloop import running
from plantgate_connectors.modbus import Modbus
from tests.connectors.modbus.given import HOST, collect, count_up, device, modbus, tag
from tests.connectors.modbus.twin import Question, Twin, twin

TWO = [device("press", 1, tag("a", 0), tag("coil", 5, table="coil")), device("pump", 2, tag("b", 0))]


def command(name: str = "a", value: Any = 7, seconds: float = 5.0) -> Command:
    return Command("1", name, value, Deadline.after(seconds))


async def outcome(connector: Modbus, asked: Command) -> GatewayError | None:
    async with connector.actuator() as actuator:
        try:
            await actuator.write(asked)
        except GatewayError as verdict:
            return verdict
    return None


@pytest.mark.simulated
@pytest.mark.parametrize("framing", ["tcp", "rtu_over_tcp"])
async def test_every_exception_is_a_verdict_that_the_standard_bears_out(tmp_path: Path, framing: str) -> None:
    """1 illegal function, 2 address, 3 value, 6 busy: nothing was done. All others: it may have been."""
    for code in (*range(1, 20), 0, 127, 128, 255):
        async with twin(HOST, rtu=framing == "rtu_over_tcp") as plc:
            connector = modbus(tmp_path / str(code), devices=TWO, framing=framing)

            def refuse(question: Question, pdu: bytes, plc: Twin = plc, code: int = code) -> list[bytes | float]:
                return [plc.frame(question, bytes((question.function | 0x80, code)) if question.data else pdu)]

            plc.reply = refuse
            verdict = await outcome(connector, command())
            assert type(verdict) is (Rejected if code in (1, 2, 3, 6) else OutcomeUnknown), f"{code}: {verdict}"
            assert f"exception {code}" in str(verdict)
            assert len(plc.written) == 1


@pytest.mark.simulated
async def test_a_coil_value_that_is_neither_on_nor_off_confirms_nothing(tmp_path: Path) -> None:
    for wrong in (b"\0\xff", b"\xff\xff", b"\0\1", b"\0\0"):
        async with twin(HOST) as plc:
            plc.reply = (
                lambda question, pdu, plc=plc, wrong=wrong: [  # type: ignore[misc]  # bound now
                    plc.frame(question, pdu[:3] + wrong)
                ]
            )
            verdict = await outcome(modbus(tmp_path, devices=TWO), command("coil", True))
            assert isinstance(verdict, OutcomeUnknown)
            assert "confirmed something else" in str(verdict)


@pytest.mark.simulated
@pytest.mark.parametrize("framing", ["tcp", "rtu_over_tcp"])
async def test_reading_goes_on_while_something_is_written(tmp_path: Path, framing: str) -> None:
    """Behind a converter both share the one connection there is; else each has its own."""
    async with twin(HOST, rtu=framing == "rtu_over_tcp") as plc:
        count_up(plc, 2)
        reading = modbus(tmp_path / "reading", devices=TWO, framing=framing)
        writing = modbus(tmp_path / "writing", devices=TWO, framing=framing)
        async with reading.source() as source, writing.actuator() as actuator:
            await collect(source, 6)
            for value in range(20):
                await actuator.write(command("a", value))
                assert (await actuator.read("a", Deadline.after(5.0))).value == value
                await collect(source, 2)
            assert plc.connections == (1 if framing == "rtu_over_tcp" else 2)
            assert "connections_lost" not in reading.context.standing.counters
        assert len(plc.written) == 20


@pytest.mark.simulated
async def test_a_session_that_ends_leaves_the_shared_line_to_the_other(tmp_path: Path) -> None:
    """Whoever opened it first may go first."""
    async with twin(HOST, rtu=True) as plc:
        reading = modbus(tmp_path / "reading", devices=TWO, framing="rtu_over_tcp")
        writing = modbus(tmp_path / "writing", devices=TWO, framing="rtu_over_tcp")
        async with writing.actuator() as actuator:
            async with reading.source() as source:
                await collect(source, 3)
            await actuator.write(command("a", 1))
        async with reading.source() as source:
            async with writing.actuator() as actuator:
                await actuator.write(command("a", 2))
            await collect(source, 6)
        assert [question.data for question in plc.written] == [b"\0\1", b"\0\2"]
    await asyncio.sleep(1.0)
    assert running().network.connections(HOST) == 0


@pytest.mark.simulated
async def test_a_write_goes_before_the_polls_that_wait(tmp_path: Path) -> None:
    """On a slow line with many devices it waits for one answer and not for all of them."""
    many = [device(f"d{unit}", unit, tag(f"t{unit}", 0)) for unit in range(1, 31)]
    async with twin(HOST, rtu=True) as plc:
        plc.delay_seconds = 0.1
        reading = modbus(tmp_path / "reading", devices=many, framing="rtu_over_tcp")
        writing = modbus(tmp_path / "writing", devices=many, framing="rtu_over_tcp")
        async with reading.source() as source, writing.actuator() as actuator:
            await collect(source, 30)
            before = len(plc.asked)
            await actuator.write(command("t30", 5))
            assert len(plc.asked) - before <= 2, "one that was under way, and ours"


@pytest.mark.simulated
@pytest.mark.parametrize("stopped", [True, False])
async def test_a_stop_reaches_a_write_that_waits_for_its_turn(tmp_path: Path, stopped: bool) -> None:
    """The line is busy with an answer that takes its time; the switch is thrown meanwhile."""
    many = [device(f"d{unit}", unit, tag(f"t{unit}", 0)) for unit in range(1, 31)]
    async with twin(HOST, rtu=True) as plc:
        plc.delay_seconds = 0.1
        reading = modbus(tmp_path / "reading", devices=many, framing="rtu_over_tcp")
        writing = modbus(tmp_path / "writing", devices=many, framing="rtu_over_tcp")
        async with reading.source() as source, writing.actuator() as actuator:
            await collect(source, 30)
            asked = len(plc.asked)
            thrown = ""
            sent = asyncio.create_task(actuator.write(replace(command("t30", 5), recalled=lambda: thrown)))
            await asyncio.sleep(0.01)
            assert len(plc.asked) == asked, "the line was not busy, so nothing had to wait"
            thrown = "everything is stopped" if stopped else ""
            if stopped:
                with pytest.raises(Unavailable, match="everything is stopped"):
                    await sent
            else:
                await sent
            assert len(plc.written) == (0 if stopped else 1)
            await actuator.write(command("t30", 6))


@pytest.mark.simulated
async def test_after_a_silent_unit_a_write_is_preceded_by_a_question_that_may_be_lost(tmp_path: Path) -> None:
    """Some slaves take the next request, whoever it is for, for the answer they wait to overhear."""
    async with twin(HOST, rtu=True) as plc:
        swallowed = False

        def overhear(question: Question, pdu: bytes) -> list[bytes | float]:
            nonlocal swallowed
            if question.unit == 1:
                swallowed = True
                return []
            lost, swallowed = swallowed, False
            return [] if lost else [plc.frame(question, pdu)]

        plc.reply = overhear
        async with modbus(tmp_path, devices=TWO, framing="rtu_over_tcp").actuator() as actuator:
            await actuator.read("b", Deadline.after(5.0))
            with pytest.raises(Unavailable):
                await actuator.read("a", Deadline.after(5.0))
            assert swallowed
            with pytest.raises(Unavailable, match="nothing was sent"):  # it was the other question that was lost
                await actuator.write(command("b", 9))
            assert not plc.written
            await asyncio.sleep(1.0)
            await actuator.write(command("b", 9))
        assert [question.unit for question in plc.written] == [2]


@pytest.mark.simulated
async def test_a_register_that_can_only_be_written_is_written_after_a_silent_unit_too(tmp_path: Path) -> None:
    """The question in between is refused then, which is as good as an answer."""
    async with twin(HOST, rtu=True) as plc:
        async with modbus(tmp_path, devices=TWO, framing="rtu_over_tcp").actuator() as actuator:
            await actuator.read("b", Deadline.after(5.0))
            plc.dead.add(1)
            plc.refused |= {(2, 3, 0): 2, (2, 3, 1): 2}
            with pytest.raises(Unavailable):
                await actuator.read("a", Deadline.after(5.0))
            await actuator.write(command("b", 9, seconds=3.0))
        assert [question.unit for question in plc.written] == [2]


@pytest.mark.simulated
async def test_a_late_confirmation_is_not_taken_for_that_of_the_next_write(tmp_path: Path) -> None:
    """On RTU two equal writes have equal answers; a question of another length is put between them."""
    async with twin(HOST, rtu=True) as plc:
        held: list[bytes] = []

        def late(question: Question, pdu: bytes) -> list[bytes | float]:
            if question.data and len(plc.written) == 1:
                held.append(plc.frame(question, pdu))
                return []
            if question.data:
                plc.written.pop()  # the second is never done
                return []
            return [*held, plc.frame(question, pdu)]

        plc.reply = late
        async with modbus(tmp_path, devices=TWO, framing="rtu_over_tcp").actuator() as actuator:
            await actuator.read("a", Deadline.after(5.0))
            for _ in range(2):
                with pytest.raises(OutcomeUnknown):
                    await actuator.write(command("a", 7))
        assert len(plc.written) == 1
        assert held


@pytest.mark.simulated
@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("ended", ["cancelled", "cut"])
async def test_a_confirmation_that_outlives_its_connection_is_not_taken_for_that_of_the_next_write(
    tmp_path: Path, ended: str, read: bool
) -> None:
    """A converter hands it to whoever asks next, and of two registers it says neither which command nor which value."""
    devices = [device("press", 1, tag("a", 0, type="float32"))]
    shared: dict[str, Any] = {"framing": "rtu_over_tcp", "devices": devices}
    async with twin(HOST, rtu=True) as plc:
        late: list[bytes | float] = []

        def reply(question: Question, pdu: bytes) -> list[bytes | float]:
            came, late[:] = [*late], []
            if not question.data:
                return [*came, plc.frame(question, pdu)]
            if len(plc.written) > 1:
                plc.written.pop()  # the second is never done
                return came
            late.append(plc.frame(question, pdu))
            if ended == "cut":
                plc.close()
            return []

        plc.reply = reply
        reading = modbus(tmp_path / "reading", **shared, poll_interval_ms=600_000)
        writing = modbus(tmp_path / "writing", **shared)
        async with reading.source() if read else nullcontext() as source:
            if source is not None:
                await collect(source, 1)
            async with writing.actuator() as actuator:
                first = asyncio.create_task(actuator.write(command("a", 1.5)))
                while not late and not first.done():  # noqa: ASYNC110  the device has no event for it
                    await asyncio.sleep(0.001)
                if ended == "cancelled":
                    first.cancel()
                with suppress(asyncio.CancelledError, OutcomeUnknown):
                    await first
            await asyncio.sleep(5.0)  # connected again
            async with writing.actuator() as actuator:
                with pytest.raises(OutcomeUnknown):
                    await actuator.write(command("a", 2.5))
        assert len(plc.written) == 1


@pytest.mark.simulated
async def test_a_dead_device_keeps_no_other_at_its_own_address_from_being_written(tmp_path: Path) -> None:
    devices = [device("gone", 1, tag("g", 0), host="nobody"), device("press", 1, tag("a", 0))]
    async with twin(HOST) as plc, modbus(tmp_path, devices=devices).actuator() as actuator:
        with pytest.raises(Unavailable, match="nothing was sent"):
            await actuator.write(command("g", 1))
        await actuator.write(command("a", 1))
        assert len(plc.written) == 1
        assert not any(host == "plc" for _, host, _ in running().network.dialled[2:]), "only what is written to"


@pytest.mark.simulated
async def test_what_cannot_be_written_is_rejected_and_read_all_the_same(tmp_path: Path) -> None:
    devices = [device("press", 1, tag("i", 0, table="input"), tag("bit", 1, bit=3), tag("n", 2))]
    async with twin(HOST) as plc, modbus(tmp_path, devices=devices).actuator() as actuator:
        plc.set(1, 0, 12, function=4)
        plc.set(1, 1, 0b1000)
        for name, value in (("i", 1), ("bit", True), ("n", 65_536), ("n", 1.5)):
            with pytest.raises(Rejected):
                await actuator.write(command(name, value))
        assert (await actuator.read("i", Deadline.after(5.0))).value == 12
        assert (await actuator.read("bit", Deadline.after(5.0))).value is True
        assert not plc.written
