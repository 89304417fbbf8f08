"""Writing: what a node declares decides what is sent, and a program that was changed stops it."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from plantgate.sdk import Command, Deadline, Rejected, Setpoint, Severity, Unavailable, severity
from plantgate.testing.context import lent
from plantgate.testing.simloop import running
from plantgate_connectors.opcua import OpcUa
from plantgate_connectors.opcua.setpoint import variant
from plantgate_connectors.opcua.verdicts import DONE, REFUSED
from tests.connectors.opcua.plant_given import settings
from tests.connectors.opcua.plc import NAMESPACE, URL, plc

TAGS = ("line1/a", "line1/b")


def opcua(folder: Path, **given: Any) -> OpcUa:
    tags = [{"node": f"nsu={NAMESPACE};s={tag}", "tag": tag} for tag in TAGS]
    quick = {"request_timeout_seconds": 5, "connect_timeout_seconds": 5, "security": {"policy": "None"}}
    return OpcUa(settings(URL, **({"tags": tags} | quick | given)), lent(folder))


def command(value: Setpoint = 1.5, tag: str = TAGS[0], seconds: float = 5.0) -> Command:
    return Command("0001", tag, value, Deadline.after(seconds))


@pytest.mark.simulated(seeds=2)
async def test_a_node_whose_type_was_changed_is_not_written_to_any_more(tmp_path: Path) -> None:
    """In the same session or the next: what the number means there is for a person to look at."""
    async with plc(TAGS) as device:
        ours = opcua(tmp_path)
        async with ours.actuator() as actuator:
            await actuator.write(command())
            device.retype(TAGS[0], ua.ObjectIds.Float)
            with pytest.raises(Rejected, match="was i=11 and is now i=10"):
                await actuator.write(command())
            await actuator.write(command(tag=TAGS[1]))
        async with ours.actuator() as actuator:
            with pytest.raises(Rejected, match="program of the controller was changed"):
                await actuator.write(command())
        assert [name for name, _ in device.written] == list(TAGS)


@pytest.mark.simulated(seeds=2)
async def test_a_server_back_with_another_namespace_order_is_written_to_at_the_right_node(tmp_path: Path) -> None:
    async with plc(TAGS) as device:
        ours = opcua(tmp_path)
        async with ours.actuator() as actuator:
            await actuator.write(command())
        await device.end()
        await device.begin(before=("urn:other", "urn:another"))
        async with ours.actuator() as actuator:
            await actuator.write(command(2.5))
            assert (await actuator.read(TAGS[0], Deadline.after(5.0))).value == 2.5
        assert device.written == [(TAGS[0], 1.5), (TAGS[0], 2.5)]


@pytest.mark.simulated(seeds=2)
async def test_arrays_and_types_that_are_no_number_are_rejected(tmp_path: Path) -> None:
    async with plc(TAGS) as device, opcua(tmp_path).actuator() as actuator:
        for kind in (ua.ObjectIds.DateTime, ua.ObjectIds.Structure, ua.ObjectIds.Number, ua.ObjectIds.BaseDataType):
            device.retype(TAGS[0], kind)
            with pytest.raises(Rejected, match="no truth value, number or text"):
                await actuator.write(command())
        device.retype(TAGS[1], ua.ObjectIds.Double, rank=1)
        with pytest.raises(Rejected, match="array"):
            await actuator.write(command(tag=TAGS[1]))
        assert not device.written


@pytest.mark.simulated(seeds=2)
async def test_a_derived_type_is_sent_as_what_it_is_derived_from(tmp_path: Path) -> None:
    async with plc(TAGS) as device, opcua(tmp_path).actuator() as actuator:
        device.retype(TAGS[0], ua.ObjectIds.Duration)
        await actuator.write(command(250.0))
        device.retype(TAGS[1], ua.ObjectIds.ServerState)
        await actuator.write(command(3, TAGS[1]))
        assert device.written == [(TAGS[0], 250.0), (TAGS[1], 3)]


@pytest.mark.simulated(seeds=2)
async def test_a_deadline_that_passes_while_the_node_is_asked_sends_nothing(tmp_path: Path) -> None:
    async with plc(TAGS) as device, opcua(tmp_path).actuator() as actuator:
        link = running().network.link("plc")
        link.latency_seconds = (0.4, 0.4)
        with pytest.raises(Unavailable, match="nothing was sent"):
            await actuator.write(command(seconds=0.5))
        await asyncio.sleep(60.0)
        assert not device.written
        await actuator.write(command(seconds=2.0))
        assert len(device.written) == 1


@pytest.mark.simulated(seeds=2)
@pytest.mark.parametrize("code", [ua.StatusCodes.BadTypeMismatch, ua.StatusCodes.BadOutOfRange])
async def test_a_refusal_leaves_a_session_that_goes_on(tmp_path: Path, code: int) -> None:
    async with plc(TAGS) as device, opcua(tmp_path).actuator() as actuator:
        device.write_refusal = code
        with pytest.raises(Rejected, match="nothing was changed"):
            await actuator.write(command())
        device.write_refusal = None
        await actuator.write(command())
        assert len(device.written) == 1


@pytest.mark.simulated(seeds=2)
async def test_a_write_that_is_passed_on_is_confirmed_and_shows_what_was_there_until_it_is_in_effect(
    tmp_path: Path,
) -> None:
    """GoodCompletesAsynchronously, and a server that says Good and changes nothing: the read-back tells."""
    async with plc(TAGS) as device, opcua(tmp_path).actuator() as actuator:
        for code in (ua.StatusCodes.GoodCompletesAsynchronously, ua.StatusCodes.Good):
            device.put(TAGS[0], 7.0)
            device.write_refusal = code  # said, and not done
            await actuator.write(command())
            assert (await actuator.read(TAGS[0], Deadline.after(5.0))).value == 7.0


@pytest.mark.simulated(seeds=2)
async def test_a_bad_value_is_read_as_bad_and_never_as_the_last_good_one(tmp_path: Path) -> None:
    async with plc(TAGS) as device, opcua(tmp_path).actuator() as actuator:
        await actuator.write(command())
        device.put(TAGS[0], 1.5, ua.StatusCodes.BadSensorFailure)
        there = await actuator.read(TAGS[0], Deadline.after(5.0))
        assert (there.value, severity(there.quality)) == (None, Severity.BAD)


@pytest.mark.simulated(seeds=2)
async def test_an_answer_to_another_request_is_not_what_the_machine_has(tmp_path: Path) -> None:
    """A server that takes one request for another: its number can be another node's."""

    def swapped(response: Any) -> list[Any]:
        response.ResponseHeader.RequestHandle = 77_777
        return [response]

    async with plc(TAGS) as device, opcua(tmp_path).actuator() as actuator:
        await actuator.write(command())
        assert (await actuator.read(TAGS[0], Deadline.after(5.0))).value == 1.5
        device.answer_writes(swapped, ua.ReadResponse)
        with pytest.raises(Unavailable, match="handle of another request"):
            await actuator.read(TAGS[0], Deadline.after(5.0))
        with pytest.raises(Unavailable, match="handle of another request"):
            await actuator.write(command(2.5))
        assert len(device.written) == 1


@pytest.mark.simulated(seeds=2)
async def test_a_namespace_or_node_that_is_not_there_is_told(tmp_path: Path) -> None:
    tags = [{"node": "nsu=urn:gone;s=x", "tag": "x"}, {"node": f"nsu={NAMESPACE};s=y", "tag": "y"}]
    async with plc(TAGS) as device, opcua(tmp_path, tags=tags).actuator() as actuator:
        with pytest.raises(Unavailable, match="no namespace urn:gone"):
            await actuator.write(command(tag="x"))
        with pytest.raises(Rejected, match="BadNodeIdUnknown"):
            await actuator.write(command(tag="y"))
        assert not device.written


@pytest.mark.simulated(seeds=2)
async def test_a_session_the_server_has_closed_is_of_no_more_use_and_nothing_was_sent(tmp_path: Path) -> None:
    async with plc(TAGS) as device:
        ours = opcua(tmp_path)
        async with ours.actuator() as actuator:
            await actuator.write(command())
            await device.end_sessions()
            with pytest.raises((Unavailable, Rejected)):
                await actuator.write(command())
        async with ours.actuator() as actuator:
            await actuator.write(command(2.5))
        assert device.written == [(TAGS[0], 1.5), (TAGS[0], 2.5)]


def test_tags_without_a_stable_node_cannot_be_written(tmp_path: Path) -> None:
    tags = [{"node": "ns=2;s=x", "tag": "x"}, {"node": "nsu=urn:p;s=y", "tag": "y"}]
    chosen = settings(URL, tags=tags, browse=[{"path": "Objects/*"}])
    assert "nsu=<namespace uri>" in OpcUa.unwritable(chosen, "x", "Double")
    assert "not under `tags`" in OpcUa.unwritable(chosen, "found/by/pattern", "Double")
    assert OpcUa.unwritable(chosen, "y", "Double") == ""


_KINDS = {each.name: each.value for each in ua.VariantType if 1 <= each.value <= 12}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Boolean", 1), ("Boolean", "true"), ("Int16", True), ("Int16", 1.0), ("Int16", 2**15), ("Byte", -1),
        ("UInt64", 2**64), ("Int64", -(2**63) - 1), ("Double", 1), ("Double", math.nan), ("Double", math.inf),
        ("Float", 16_777_217.0), ("Float", 0.123456789), ("Float", 1e39), ("Double", True), ("String", 1.0),
        ("String", "\ud800"),
    ],
)  # fmt: skip
def test_values_of_another_kind_or_range_are_rejected(kind: str, value: Setpoint) -> None:
    with pytest.raises(Rejected, match="cannot be written"):
        variant("t", value, _KINDS[kind])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Boolean", False), ("SByte", -128), ("Byte", 255), ("Int64", 2**63 - 1), ("UInt64", 2**64 - 1),
        ("Double", 5e-324), ("Double", -0.0), ("Float", 0.5), ("Float", 16_777_216.0), ("String", ""), ("String", "ü"),
    ],
)  # fmt: skip
def test_values_that_fit_are_sent_as_the_nodes_type(kind: str, value: Setpoint) -> None:
    made = variant("t", value, _KINDS[kind])
    assert (made.Value, made.VariantType.name, made.is_array) == (value, kind, False)


def test_a_decimal_of_seven_digits_is_the_float_next_to_it() -> None:
    held = variant("t", 21.1, _KINDS["Float"]).Value
    assert held == pytest.approx(21.1, rel=1e-7)
    assert held != 21.1


def test_no_code_says_both_done_and_refused() -> None:
    assert not DONE & REFUSED
    assert all(code >> 30 == 0 for code in DONE)
    assert all(code >> 31 for code in REFUSED)
