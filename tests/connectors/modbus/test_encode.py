"""From values to registers: exactly what was asked, or refused."""

import math
import random
import struct

import pytest

from plantgate.sdk import Rejected, Setpoint
from plantgate_connectors.modbus.encode import encoded
from plantgate_connectors.modbus.registers import Field, Order, Table, Type
from plantgate_connectors.modbus.values import decoder
from plantgate_connectors.modbus.writable import unwritable
from tests.connectors.modbus.given import device, settings, tag

WHOLE = {
    Type.INT16: (-(2**15), 2**15 - 1),
    Type.UINT16: (0, 2**16 - 1),
    Type.INT32: (-(2**31), 2**31 - 1),
    Type.UINT32: (0, 2**32 - 1),
    Type.INT64: (-(2**63), 2**63 - 1),
    Type.UINT64: (0, 2**64 - 1),
    Type.BCD16: (0, 9_999),
    Type.BCD32: (0, 99_999_999),
}


def field(kind: Type, order: Order = Order.ABCD, **written: object) -> Field:
    return Field("tags[0]", "t", Table.HOLDING, 100, kind, order, **written)  # type: ignore[arg-type]  # by name


def read_again(where: Field, value: Setpoint) -> object:
    write = encoded(where, value)
    assert write.count == where.span
    assert write.address == where.address
    values, qualities = decoder(where.table, (where,), where.address)(write.data)
    assert qualities is None
    return values[0]


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("kind", WHOLE)
def test_whole_numbers_are_read_again_as_they_were_written(kind: Type, order: Order) -> None:
    least, most = WHOLE[kind]
    luck = random.Random(f"{kind}{order}")
    for value in (least, most, 0, 1, *(luck.randint(least, most) for _ in range(200))):
        assert read_again(field(kind, order), value) == value


@pytest.mark.parametrize("kind", WHOLE)
def test_what_is_out_of_range_or_no_whole_number_is_refused(kind: Type) -> None:
    least, most = WHOLE[kind]
    for value in (least - 1, most + 1, 10**400, 0.5, 1.0, math.nan, math.inf, -math.inf, True, "1"):
        with pytest.raises(Rejected, match="cannot be written to holding 100"):
            encoded(field(kind), value)


@pytest.mark.parametrize("order", Order)
def test_floating_numbers_are_read_again_as_they_were_written(order: Order) -> None:
    luck = random.Random(f"{order}")
    for _ in range(300):
        (single,) = struct.unpack(">f", struct.pack(">f", luck.uniform(-1e6, 1e6)))
        assert read_again(field(Type.FLOAT32, order), single) == single
        double = luck.uniform(-1e300, 1e300)
        assert read_again(field(Type.FLOAT64, order), double) == double


def test_a_decimal_of_seven_digits_may_be_a_float32_and_a_longer_one_not() -> None:
    for value in (21.1, 0.1, -12.34567, 1e-3, 16_777_216.0, 16_777_216, 3_000_000_000.0, 0.0, -0.0):
        held = read_again(field(Type.FLOAT32), value)
        assert held == struct.unpack(">f", struct.pack(">f", value))[0]
    for value in (16_777_217.0, 16_777_217, 0.123456789, 21.10000001, 1e39, -1e39, 1e-60, math.nan, math.inf, True):
        with pytest.raises(Rejected):
            encoded(field(Type.FLOAT32), value)


def test_a_whole_number_that_no_double_holds_is_refused() -> None:
    assert read_again(field(Type.FLOAT64), 2**53) == 2.0**53
    for value in (2**53 + 1, 10**400):
        with pytest.raises(Rejected):
            encoded(field(Type.FLOAT64), value)


def test_scaled_values_lie_on_the_registers_steps_or_are_refused() -> None:
    tenths = field(Type.INT16, scale=0.1, offset=-40.0)
    for raw in range(-32_768, 32_768, 7):
        value = raw / 10 - 40
        write = encoded(tenths, value)
        assert write.data == struct.pack(">h", raw)
    for value in (21.55, 21.5001, 3_300.0, -3_400.0, math.nan):
        with pytest.raises(Rejected):
            encoded(tenths, value)
    assert read_again(field(Type.BCD16, scale=0.01), 12.34) == 12.34
    assert read_again(field(Type.UINT32, scale=-2.0), -6) == -6
    with pytest.raises(Rejected):
        encoded(field(Type.UINT32, scale=-2.0), 6)


def test_scaled_64_bit_numbers_that_a_float_would_round_are_refused() -> None:
    assert read_again(field(Type.INT64, scale=0.001), 123_456_789.123) == 123_456_789.123
    with pytest.raises(Rejected):
        encoded(field(Type.UINT64, scale=1.0), 2**53 + 1)


def test_texts_fit_or_are_refused() -> None:
    name = field(Type.STRING, length=6)
    assert encoded(name, "Press").data == b"Press\0"
    assert encoded(field(Type.STRING, Order.BADC, length=4), "Pum").data == b"uP\0m"
    assert read_again(name, "") == ""
    assert read_again(name, "süßp") == "süßp"
    for value in ("seven77", "süßes", "a\0b", "a ", " ", "\ud800", 1, True, 1.5):
        with pytest.raises(Rejected):
            encoded(name, value)


def test_a_coil_is_true_or_false_and_nothing_else() -> None:
    coil = Field("tags[0]", "t", Table.COIL, 7, Type.BOOL)
    assert encoded(coil, True).pdu == bytes.fromhex("0500 07ff 00")
    assert encoded(coil, False).pdu == bytes.fromhex("0500 0700 00")
    for value in (1, 0, 1.0, "true"):
        with pytest.raises(Rejected):
            encoded(coil, value)


def test_one_register_is_function_6_and_several_are_one_request_of_function_16() -> None:
    assert encoded(field(Type.UINT16), 0x0304).pdu == bytes.fromhex("06 0064 0304")
    assert encoded(field(Type.UINT32), 0x000A0102).pdu == bytes.fromhex("10 0064 0002 04 000a0102")


@pytest.mark.parametrize(
    ("written", "unit", "data_type", "word"),
    [
        ({"table": "input"}, 1, "UInt16", "read-only"),
        ({"table": "discrete"}, 1, "Boolean", "read-only"),
        ({"bit": 3}, 1, "Boolean", "part of a register"),
        ({"bits": [4, 7]}, 1, "UInt16", "part of a register"),
        ({}, 0, "UInt16", "everyone"),
        ({"type": "string", "length": 5}, 1, "String", "even"),
        ({}, 1, "Double", "written as SByte or"),
        ({"scale": 0.1}, 1, "Int16", "scaled, which is written as Float or Double"),
        ({"table": "coil"}, 1, "Int16", "written as Boolean"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_runs(
    written: dict[str, object], unit: int, data_type: str, word: str
) -> None:
    found = unwritable(settings(devices=[device("press", unit, tag("t", 1, **written))]), "t", data_type)
    assert word in found
    assert "`t`" in found


def test_what_can_be_written_has_no_objection() -> None:
    tags = [
        (tag("i", 1), "UInt16"),
        (tag("f", 2, type="float32"), "Float"),
        (tag("d", 4, type="float32"), "Double"),
        (tag("s", 6, scale=0.1), "Double"),
        (tag("c", 7, table="coil"), "Boolean"),
        (tag("n", 8, type="string", length=4), "String"),
    ]
    plant = settings(devices=[device("press", 1, *(each for each, _ in tags))])
    for each, data_type in tags:
        assert unwritable(plant, each["tag"], data_type) == ""
    assert "no device of this connection has a tag `x`" in unwritable(plant, "x", "Double")
