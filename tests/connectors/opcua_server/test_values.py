"""Values and readings as OPC UA writes them, read back by another's decoder (asyncua's)."""

import math

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, variant_from_binary

from plantgate.sdk import Value
from plantgate_connectors.opcua_server import values
from plantgate_connectors.opcua_server.values import Unwritable, data_value, parts, shape_of, variant, with_times

NOW = 1_795_694_400_123_456_700


def again(value: Value) -> ua.Variant:
    return variant_from_binary(Buffer(variant(value)))


def test_every_kind_of_value_comes_back_as_it_was() -> None:
    plain: list[Value] = [
        True, False, 0, -(2**63), 2**63 - 1, 2**64 - 1, 1.5, -0.0, math.inf, -math.inf, 5e-324, "", "ünïcödé \0", b"",
        b"\xff\x00", [1, 2, 3], [1.5, 2.5], ["a", ""], [b"x"], [True, False], [2**64 - 1],
    ]  # fmt: skip
    for value in plain:
        found = again(value).Value
        assert found == value, value
        assert type(found) is type(value), value
    assert math.isnan(again(math.nan).Value)
    assert math.copysign(1.0, again(-0.0).Value) == -1.0


def test_a_matrix_keeps_its_shape() -> None:
    value = [[[1, 2, 3], [4, 5, 6]]]
    found = again(value)
    assert found.Dimensions == [1, 2, 3]
    assert shape_of(variant(value), value) == (values.INT64, 3)


def test_whole_numbers_beside_real_ones_are_real_if_nothing_is_lost() -> None:
    assert again([1, 2.5]).VariantType == ua.VariantType.Double
    assert again([2**60 + 1, 2.5]).VariantType == ua.VariantType.Variant


def test_mixed_and_ragged_lists_are_lists_of_variants() -> None:
    found = again([1, "two", None, [3, "four"]])
    assert [each.Value if isinstance(each, ua.Variant) else each for each in found.Value][:3] == [1, "two", None]
    assert again([[1], [2, 3]]).VariantType == ua.VariantType.Variant


def test_a_structure_is_json_text() -> None:
    assert again({"a": 1, "b": [True, None], "c": math.nan}).Value == '{"a": 1, "b": [true, null], "c": "NaN"}'


def test_what_has_no_type_is_named() -> None:
    with pytest.raises(Unwritable):
        variant(2**64)
    with pytest.raises(Unwritable):
        variant(-(2**63) - 1)
    deep: Value = 1
    for _ in range(50):
        deep = [deep, "x"]
    with pytest.raises(Unwritable):
        variant(deep)


@pytest.mark.parametrize("status", [0, 0x8034_0000])
@pytest.mark.parametrize("source", [0, values.ticks(NOW)])
@pytest.mark.parametrize("body", [b"", variant(1.5), variant("text"), variant([1, 2])])
def test_a_reading_in_every_form_is_what_a_client_asked_for(body: bytes, source: int, status: int) -> None:
    server = values.ticks(NOW + 5_000)
    encoded = data_value(body, status, source, server)
    assert parts(encoded) == (body, status, source, server)
    for wanted in range(4):
        found = struct_from_binary(ua.DataValue, Buffer(with_times(encoded, wanted)))
        assert (found.StatusCode.value if found.StatusCode is not None else 0) == status
        assert (found.SourceTimestamp is not None) == (wanted in (0, 2) and bool(source))
        assert (found.ServerTimestamp is not None) == (wanted in (1, 2))
        assert (found.Value is not None and found.Value.Value is not None) == bool(body)


def test_times_no_date_holds_are_none() -> None:
    assert values.ticks(None) == 0
    assert values.ticks(-(2**63)) > 0
    assert values.ticks(10**25) == 0
    assert values.ticks(-(10**25)) == 0
    assert values.ticks(0) == values.EPOCH_TICKS
