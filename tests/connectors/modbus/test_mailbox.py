"""A command to a PLC's mailbox while network, PLC or gateway fail: done once, in time, by one session, or never.

The PLC is a twin of ours (tests/peers/plc_mailbox.py). Where a test shows that something does not happen, its other
half takes away what prevents it, and it happens.
"""

import asyncio
import struct
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import OutcomeUnknown, Rejected, Unavailable
from plantgate_connectors.modbus import Modbus
from plantgate_connectors.modbus.mailbox import Order, echo, exact
from tests.connectors.modbus.given import device, modbus, settings, tag
from tests.connectors.modbus.mailboxed import BELT, MAILBOX, OVEN, PRESS, TAGS, command, gateway, plc, reads, values
from tests.connectors.modbus.twin import Question
from tests.peers.plc_mailbox import ADDRESS, BLOCK, FALLBACK, SILENCE_MS, Program, crc

# The blocks.


def test_a_block_is_what_the_program_unpacks() -> None:
    order = Order(70_000, 7, 65_535, 2, struct.pack(">d", 21.1), 2**32 - 1)
    block = order.pack()
    assert BLOCK.unpack(block)[:6] == (70_000, 7, 2, struct.pack(">d", 21.1), 2**32 - 1, 65_535)
    assert BLOCK.unpack(block)[6] == crc(block[:-2])


def test_an_echo_with_any_bit_changed_or_of_another_length_is_none() -> None:
    shown, _ = Program().scan(bytes(24), 5)
    assert echo(shown) is not None
    for bit in range(8 * len(shown)):
        damaged = bytearray(shown)
        damaged[bit // 8] ^= 1 << bit % 8
        assert echo(bytes(damaged)) is None
    assert echo(shown[:-1]) is None
    assert echo(shown + b"\0") is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2**53 + 1, -(2**53) - 1, 10**400])
def test_what_a_float64_does_not_hold_is_not_sent(value: float) -> None:
    assert exact(value) is None
    assert exact(2**53) == struct.pack(">d", 2.0**53)


def test_a_deadline_goes_round_with_the_plcs_clock() -> None:
    shown, _ = Program().scan(bytes(24), 2**32 - 100)
    seen = echo(shown)
    assert seen is not None
    assert seen.not_after(0.0999) == 2**32 - 1
    assert seen.not_after(0.25) == 150


# The settings.


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"tags": {"nobody": 1}}, "no tag 'nobody' of this device"),
        ({"tags": {BELT: 1, OVEN: 1}}, "two tags have the same number"),
        ({"tags": {}}, "at least 1"),
        ({"tags": {BELT: 0}}, "greater than or equal to 1"),
        ({"echo": ADDRESS + 11}, "`echo` overlaps"),
        ({"address": 65_530}, "not within 0 to 65535"),
        ({"address": 7}, "'oven' lies in its registers"),
        ({"echo": 0}, "'belt' lies in its registers"),
    ],
)
def test_a_mailbox_that_cannot_be_is_refused_with_a_sentence(written: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        settings(devices=[{**PRESS, "mailbox": {**MAILBOX, **written}}])


def test_text_and_truth_values_do_not_go_through_a_mailbox() -> None:
    for kind in ({"table": "coil"}, {"bit": 3}, {"type": "string", "length": 4}):
        with pytest.raises(ValueError, match="is no number"):
            settings(devices=[device("press", 1, tag(BELT, 0, **kind), mailbox={"address": 100, "tags": {BELT: 1}})])


def test_a_tag_with_a_mailbox_may_be_shown_in_registers_that_are_read_only() -> None:
    shown = tag(BELT, 0, type="float64", table="input")
    boxed = settings(devices=[device("press", 1, shown, mailbox={"address": 100, "tags": {BELT: 1}})])
    assert Modbus.unwritable(boxed, BELT, "Double") == ""
    assert "read-only" in Modbus.unwritable(settings(devices=[device("press", 1, shown)]), BELT, "Double")


# One command.


@pytest.mark.simulated
async def test_a_command_is_one_request_and_confirmed_by_the_program(tmp_path: Path) -> None:
    async with plc() as machine, gateway(tmp_path).actuator() as actuator:
        await actuator.write(command(21.1))
        await actuator.write(command(60, name=OVEN))
        assert await reads(actuator) == 21.1
        assert await reads(actuator, OVEN) == 60.0
        orders = [frame for frame in machine.frames if BLOCK.unpack(frame)[2]]
        assert [BLOCK.unpack(frame)[1] for frame in orders] == [1, 2]
    assert {(question.function, question.address, question.count) for question in machine.twin.written} == {
        (16, ADDRESS, 12)
    }
    assert [(done.tag, done.value) for done in machine.applied] == [(1, 21.1), (2, 60.0)]


@pytest.mark.simulated
async def test_what_the_program_does_not_let_through_is_rejected(tmp_path: Path) -> None:
    """Its own limits, not ours; and a number that it has no tag for."""
    async with plc() as machine:
        boxed = device("press", 1, *TAGS, mailbox={"address": ADDRESS, "tags": {BELT: 1, OVEN: 9}})
        async with modbus(tmp_path, devices=[boxed]).actuator() as actuator:
            for value, name, why in (
                (120.5, BELT, "outside"),
                (-1, BELT, "outside"),
                (60, OVEN, "no tag with this id"),
            ):
                with pytest.raises(Rejected, match=why):
                    await actuator.write(command(value, name=name))
            await actuator.write(command(120))
        assert values(machine) == [120.0]


@pytest.mark.simulated
async def test_what_is_no_number_is_rejected_before_anything_is_sent(tmp_path: Path) -> None:
    async with plc() as machine, gateway(tmp_path).actuator() as actuator:
        for value in (float("nan"), float("inf"), True, "21.1", 2**53 + 1):
            with pytest.raises(Rejected):
                await actuator.write(command(value))
        assert not machine.frames


@pytest.mark.simulated
async def test_a_lost_reply_is_made_up_for_by_the_echo(tmp_path: Path) -> None:
    """The answer to the request is not what counts: the program's word is, and it can be asked for again."""
    async with plc() as machine, gateway(tmp_path).actuator() as actuator:
        await actuator.write(command(1))
        machine.twin.reply = lambda question, pdu: [] if question.data else [machine.twin.frame(question, pdu)]
        await actuator.write(command(2, seconds=5.0))
        assert values(machine) == [1.0, 2.0]


@pytest.mark.simulated
async def test_a_lost_command_is_an_unknown_outcome_and_the_next_session_reads_that_it_was_not_applied(
    tmp_path: Path,
) -> None:
    async with plc() as machine:
        async with gateway(tmp_path).actuator() as actuator:
            await actuator.write(command(1))
            machine.takes = False
            with pytest.raises(OutcomeUnknown, match="shows no answer in time"):
                await actuator.write(command(2))
            with pytest.raises(Unavailable, match="open another session"):
                await actuator.write(command(3))
            machine.takes = True
        async with gateway(tmp_path).actuator() as actuator:
            assert await reads(actuator) == 1.0
            machine.deliver(machine.frames[-2])
            await asyncio.sleep(1.0)
            assert await reads(actuator) == 1.0, "what was read stays true"


@pytest.mark.simulated
@pytest.mark.parametrize("checked", [True, False])
async def test_a_late_command_of_an_earlier_session_is_harmless(tmp_path: Path, checked: bool) -> None:
    async with plc() as machine:
        machine.program.checks_epoch = checked
        async with gateway(tmp_path).actuator() as actuator:
            await actuator.write(command(1))
            machine.takes = False
            writing = asyncio.create_task(actuator.write(command(2, seconds=3600.0)))
            while len(machine.frames) < 3:  # noqa: ASYNC110  the twin has no event for it
                await asyncio.sleep(0.01)
            writing.cancel()
            await asyncio.wait([writing])
            late = machine.frames[2]
            machine.takes = True
        async with gateway(tmp_path).actuator() as actuator:
            await actuator.write(command(3))
            machine.deliver(late)
            await asyncio.sleep(1.0)
    assert values(machine) == [1.0, 3.0, *([] if checked else [2.0])]


@pytest.mark.simulated
@pytest.mark.parametrize("dated", [True, False])
async def test_a_plc_whose_scan_stood_still_does_nothing_late(tmp_path: Path, dated: bool) -> None:
    async with plc() as machine:
        machine.program.checks_clock = dated
        async with gateway(tmp_path).actuator() as actuator:
            await actuator.write(command(1))
            frozen = machine.twin.pdu

            def pdu(question: Question) -> bytes:
                if question.data:
                    machine.freeze()
                return frozen(question)

            machine.twin.pdu = pdu  # type: ignore[method-assign]  # of this one
            with pytest.raises(OutcomeUnknown):
                await actuator.write(command(2))
        machine.thaw()
        assert values(machine) == [1.0, *([] if dated else [2.0])]


@pytest.mark.simulated
@pytest.mark.parametrize("checked", [True, False])
async def test_half_a_block_is_not_taken_for_a_whole_one(tmp_path: Path, checked: bool) -> None:
    """A PLC that copies registers while they change: the value of one command with the number of the next."""
    async with plc() as machine, gateway(tmp_path).actuator() as actuator:
        machine.program.checks_crc = checked
        await actuator.write(command(1))
        old = machine.frames[-1]
        new = Order(*_numbers(old), 0, 1, struct.pack(">d", 2.0), machine.clock + 5000).pack()
        machine.deliver(new[:8] + old[8:])
        await asyncio.sleep(0.1)
        assert values(machine) == [1.0, *([] if checked else [1.0])]


def _numbers(block: bytes) -> tuple[int, int]:
    epoch, sequence, *_ = BLOCK.unpack(block)
    return epoch, sequence + 1


@pytest.mark.simulated
async def test_a_plc_that_was_started_listens_to_no_session_before(tmp_path: Path) -> None:
    async with plc() as machine:
        async with gateway(tmp_path).actuator() as actuator:
            await actuator.write(command(1))
            machine.start()
            assert machine.program.setpoint == list(FALLBACK)
            with pytest.raises(Unavailable, match=r"was started.*nothing was sent"):
                await actuator.write(command(2))
        async with gateway(tmp_path).actuator() as actuator:
            assert await reads(actuator) == FALLBACK[0]
            await actuator.write(command(3))
    assert values(machine) == [1.0, 3.0]


@pytest.mark.simulated
async def test_of_two_sessions_that_open_at_once_with_the_same_epoch_one_knows_that_it_came_second(
    tmp_path: Path,
) -> None:
    one_gateway, other_gateway = gateway(tmp_path / "a"), gateway(tmp_path / "b")
    async with plc() as machine, one_gateway.actuator() as one, other_gateway.actuator() as other:
        await asyncio.gather(reads(one), reads(other))
        opened = {BLOCK.unpack(frame)[0] for frame in machine.frames}
        assert len(opened) < len(machine.frames), "both asked with the same epoch"
        outcomes = await asyncio.gather(one.write(command(1)), other.write(command(2)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes].count(Unavailable) == 1, outcomes
    assert len(machine.applied) == 1


@pytest.mark.simulated
async def test_an_epoch_that_cannot_be_raised_is_said(tmp_path: Path) -> None:
    async with plc() as machine, gateway(tmp_path).actuator() as actuator:
        machine.program.epoch = 2**32 - 1
        with pytest.raises(Rejected, match="set the PLC's back to 0"):
            await actuator.write(command(1))


@pytest.mark.simulated
async def test_after_the_last_number_of_an_epoch_comes_the_next_epoch(tmp_path: Path) -> None:
    async with plc() as machine, gateway(tmp_path).actuator() as actuator:
        await actuator.write(command(1))
        before = machine.program.epoch
        machine.program.sequence = 65_533
        actuator._mailboxes["press"]._opened = Order(before, 65_533, 0)  # type: ignore[attr-defined]  # 65,532 later
        for value in (2, 3, 4):
            await actuator.write(command(value))
    assert [(done.epoch - before, done.sequence) for done in machine.applied[1:]] == [(0, 65_534), (0, 65_535), (1, 1)]


# The heartbeat.


@pytest.mark.simulated
async def test_while_the_gateway_is_there_the_setpoint_holds_and_then_it_falls_back(tmp_path: Path) -> None:
    async with plc() as machine:
        async with gateway(tmp_path).actuator() as actuator:
            await actuator.write(command(60, name=OVEN))
            for _ in range(100):
                await asyncio.sleep(SILENCE_MS / 1000 / 10)
                machine.scan()
                assert machine.program.setpoint[1] == 60.0
        await asyncio.sleep(SILENCE_MS / 1000 + 0.1)
        machine.scan()
        assert machine.program.setpoint == list(FALLBACK)
        async with gateway(tmp_path).actuator() as actuator:
            assert await reads(actuator, OVEN) == FALLBACK[1], "only a new command ends the fallback"
            await actuator.write(command(50, name=OVEN))
            assert await reads(actuator, OVEN) == 50.0


@pytest.mark.simulated
@pytest.mark.parametrize("checked", [True, False])
async def test_an_older_sessions_heartbeat_keeps_nothing_alive(tmp_path: Path, checked: bool) -> None:
    async with plc(program=Program(checks_epoch=checked)) as machine, gateway(tmp_path / "old").actuator() as old:
        await old.write(command(1))
        async with gateway(tmp_path / "new").actuator() as new:
            await new.write(command(2))
        frames = [frame for frame in machine.frames if BLOCK.unpack(frame)[0] == machine.applied[0].epoch]
        for number in range(20):
            *rest, _, _ = BLOCK.unpack(frames[-1])
            epoch, sequence, name, value, not_after = rest
            machine.deliver(Order(epoch, sequence, number, name, value, not_after).pack())
            await asyncio.sleep(SILENCE_MS / 1000 / 10)
        machine.scan()
        assert machine.program.alive is not checked


@pytest.mark.simulated
@pytest.mark.parametrize("beats", [0, 1])
async def test_a_command_with_a_heart_that_stands_still_is_refused(tmp_path: Path, beats: int) -> None:
    async with plc() as machine:
        async with gateway(tmp_path).actuator() as actuator:
            await actuator.write(command(1))
            last = machine.frames[-1]
        await asyncio.sleep(SILENCE_MS / 1000 + 0.1)
        machine.scan()
        heartbeat = machine.program.heartbeat + beats & 0xFFFF
        machine.deliver(Order(*_numbers(last), heartbeat, 1, struct.pack(">d", 2.0), machine.clock + 5000).pack())
        await asyncio.sleep(0.1)
        assert values(machine) == [1.0, *([2.0] if beats else [])]
