"""From registers to values."""

import math
import struct

import pytest

from plantgate.sdk.quality import BAD_DECODING, GOOD
from plantgate_connectors.modbus.blocks import Budget, blocks
from plantgate_connectors.modbus.registers import Field, Order, Table, Type
from plantgate_connectors.modbus.values import decoder


def field(kind: Type, address: int = 0, **options: object) -> Field:
    table = Table.COIL if kind is Type.BOOL and "bits" not in options else Table.HOLDING
    return Field("here", f"t{address}", table, address, kind, **options)  # type: ignore[arg-type]  # as a test writes them


def read(payload: bytes, *fields: Field) -> list[object]:
    values, qualities = decoder(fields[0].table, fields, 0)(payload)
    assert qualities is None
    return list(values)


def test_the_four_orders_of_two_registers() -> None:
    abcd = struct.pack(">f", 61.25)
    a, b, c, d = (bytes((byte,)) for byte in abcd)
    for order, sent in (
        (Order.ABCD, abcd),
        (Order.CDAB, c + d + a + b),
        (Order.BADC, b + a + d + c),
        (Order.DCBA, d + c + b + a),
    ):
        assert read(sent, field(Type.FLOAT32, order=order)) == [61.25]


def test_a_scale_of_a_tenth_divides_by_ten() -> None:
    assert read(struct.pack(">H", 3), field(Type.UINT16, scale=0.1)) == [0.3]
    assert read(struct.pack(">HH", 3, 7), field(Type.UINT16, scale=0.25, offset=1.0), field(Type.UINT16, 1)) == [
        1.75,
        7,
    ]


def test_numbers_that_are_none_pass_through() -> None:
    values = read(struct.pack(">ff", math.nan, -math.inf), field(Type.FLOAT32), field(Type.FLOAT32, 2))
    assert isinstance(values[0], float)
    assert math.isnan(values[0])
    assert values[1] == -math.inf


@pytest.mark.parametrize(
    ("fields", "payload"),
    [
        ((field(Type.BCD16), field(Type.UINT16, 1)), b"\x12\x3a\x00\x05"),
        ((field(Type.STRING, length=2), field(Type.UINT16, 1)), b"\xff\xfe\x00\x05"),
    ],
)
def test_bytes_that_are_no_such_value_are_bad_and_the_next_one_is_right(
    fields: tuple[Field, ...], payload: bytes
) -> None:
    values, qualities = decoder(Table.HOLDING, fields, 0)(payload)
    assert (values, qualities) == ([None, 5], [BAD_DECODING, GOOD])


def test_coils_are_packed_lowest_first() -> None:
    run = [field(Type.BOOL, address) for address in range(10)]
    assert read(b"\x05\x02", *run) == [True, False, True, False, False, False, False, False, False, True]
    assert read(b"\x05\x02", run[2], run[9]) == [True, True]


def test_neighbours_are_read_together_across_a_gap_within_the_budget_and_no_further() -> None:
    fields = [field(Type.UINT16, address) for address in (0, 10, 27, 200, 300)]
    found = blocks(fields, Budget(registers_max=125, gap_registers_max=16))
    assert [(block.read.address, block.read.count) for block in found] == [(0, 28), (200, 1), (300, 1)]
    narrow = blocks(fields, Budget(registers_max=11, gap_registers_max=125))
    assert [(block.read.address, block.read.count) for block in narrow] == [(0, 11), (27, 1), (200, 1), (300, 1)]


def test_a_value_is_never_divided_between_two_requests() -> None:
    fields = [field(Type.FLOAT64, 4 * index) for index in range(100)]
    for block in blocks(fields, Budget(registers_max=125, gap_registers_max=0)):
        assert block.read.count % 4 == 0
        assert block.read.count <= 124
