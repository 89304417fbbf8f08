"""Bytes that contradict themselves give a named error quickly, or a bad value; never a wrong one, a hang or a crash."""

import random
import struct
import time
import tracemalloc

import pytest
from asyncua import ua

from plantgate_connectors.opcua.bounds import (
    DEPTH_MAX,
    ELEMENTS_MAX,
    MalformedNotification,
    Walk,
    skip_diagnostic_info,
    skip_extension_object,
    skip_variant,
)
from plantgate_connectors.opcua.decode import ITEMS_MAX, Columns, decode
from plantgate_connectors.opcua.envelope import Fault, Part, open_response
from tests.connectors.opcua.messages import message, value
from tests.fuzz.opcua_oracle import HOSTILE, judge, mutations, seeds


def part_of(items: bytes, count: int) -> tuple[bytes, Part]:
    """The body of a data change notification: so many items, declared as `count`."""
    body = struct.pack("<i", count) + items + struct.pack("<i", -1)
    return body, Part(811, 0, len(body))


def refused(items: bytes, count: int = 1) -> MalformedNotification:
    """It is refused, within milliseconds and without building anything of the declared size."""
    body, part = part_of(items, count)
    columns = Columns()
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(MalformedNotification) as caught:
        decode(body, part, lambda variant: variant.Value, columns)
    took, (_, peak) = time.monotonic() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 0.5
    assert peak < 1_000_000
    assert len(columns) == 0
    return caught.value


HEAD = struct.pack("<IB", 1, 1)
"""Client handle 1, value present."""
SIZED = [kind.value for kind in ua.VariantType if kind.value not in (0,)]


@pytest.mark.parametrize("kind", SIZED)
@pytest.mark.parametrize("length", [1000, 2**16 + 1, 2**31 - 1, -2, -(2**31)])
def test_an_array_longer_than_the_message_is_refused(kind: int, length: int) -> None:
    error = refused(HEAD + bytes((0x80 | kind,)) + struct.pack("<i", length) + bytes(8))
    assert "array elements" in str(error)
    assert error.offset == 4 + len(HEAD) + 1


@pytest.mark.parametrize("length", [1, 2**31 - 1])
def test_an_array_of_nulls_is_refused_since_it_costs_no_bytes(length: int) -> None:
    refused(HEAD + b"\x80" + struct.pack("<i", length))


@pytest.mark.parametrize("kind", [12, 15, 16, 26, 31])
@pytest.mark.parametrize("length", [100, 2**31 - 1, -2, -(2**31)])
def test_a_string_longer_than_the_message_is_refused(kind: int, length: int) -> None:
    refused(HEAD + bytes((kind,)) + struct.pack("<i", length) + b"abc")


@pytest.mark.parametrize("kind", range(32, 64))
def test_a_type_that_does_not_exist_is_refused(kind: int) -> None:
    assert "unknown type" in str(refused(HEAD + bytes((kind,)) + bytes(64)))


@pytest.mark.parametrize("count", [2, 1000, ITEMS_MAX + 1, 2**31 - 1, -2, -(2**31)])
def test_more_values_declared_than_there_are_is_refused(count: int) -> None:
    refused(struct.pack("<IBBd", 1, 1, 11, 1.5), count)


def test_fewer_values_declared_than_there_are_is_refused() -> None:
    assert "left over" in str(refused(struct.pack("<IBBd", 1, 1, 11, 1.5) * 3, 1))


def test_values_nested_five_thousand_deep_are_refused() -> None:
    deep = HEAD + b"\x18" * 5000 + struct.pack("<Bi", 6, 1)
    assert "nested deeper" in str(refused(deep))


def test_data_values_nested_in_each_other_are_refused_too() -> None:
    assert "nested deeper" in str(refused(HEAD + b"\x17\x01" * 5000))


def test_nesting_up_to_the_cap_is_read() -> None:
    body, part = part_of(HEAD + b"\x18" * (DEPTH_MAX // 2) + struct.pack("<Bi", 6, 77), 1)
    columns = Columns()
    decode(body, part, lambda variant: variant.Value, columns)
    assert columns.values == [77]


def test_diagnostics_nested_for_ever_are_refused() -> None:
    with pytest.raises(MalformedNotification, match="nested deeper"):
        skip_diagnostic_info(Walk(b"\x40" * 9000, 9000), 0)


def test_nested_diagnostics_are_walked_as_the_specification_has_them() -> None:
    """asyncua 2.1 takes an inner diagnostic info for an ExtensionObject."""
    encoded = struct.pack("<BiB", 0x41, 5, 0x21) + struct.pack("<iI", 6, 0x80000000)
    assert skip_diagnostic_info(Walk(encoded, len(encoded)), 0) == len(encoded)


@pytest.mark.parametrize("dimensions", [(1000, 1000), (-1, 4), (2, 3), (0, 4), (2**31 - 1, 2**31 - 1)])
def test_dimensions_that_do_not_fit_the_array_are_refused(dimensions: tuple[int, int]) -> None:
    array = struct.pack("<Bi4B", 0xC3, 4, 1, 2, 3, 4) + struct.pack("<i2i", 2, *dimensions)
    assert "dimensions" in str(refused(HEAD + array))


def test_a_structure_cannot_make_the_library_loop() -> None:
    """Lists inside a structure the library knows: the count is checked before the library counts to it."""
    encoded = bytes(ua.ua_binary.extensionobject_to_binary(ua.Argument(Name="n", ArrayDimensions=[1])))
    lying = encoded.replace(struct.pack("<iI", 1, 1), struct.pack("<iI", 2**31 - 1, 1))
    assert skip_extension_object(Walk(encoded, len(encoded), inside=True), 0) == len(encoded)
    with pytest.raises(MalformedNotification):
        skip_extension_object(Walk(lying, len(lying), inside=True), 0)
    body, part = part_of(HEAD + b"\x16" + lying, 1)
    columns = Columns()
    decode(body, part, lambda variant: variant.Value, columns)
    assert (columns.values, columns.undecodable) == ([None], 1)


def test_many_elements_of_varying_size_are_capped() -> None:
    count = ELEMENTS_MAX + 1
    refused_array = b"\x8c" + struct.pack("<i", count) + b"\xff\xff\xff\xff" * count
    with pytest.raises(MalformedNotification, match="at most"):
        skip_variant(Walk(refused_array, len(refused_array)), 0)


def test_a_very_large_legal_array_is_read() -> None:
    array = ua.Variant(list(range(500_000)), ua.VariantType.UInt32)
    body = message([value(array)])
    columns = Columns()
    decode(body, open_response(body).parts[0], lambda variant: variant.Value, columns)
    assert columns.values[0] == list(range(500_000))


@pytest.mark.parametrize("code", [0x80780000, 0x807B0000])
def test_a_service_fault_is_known_from_a_response(code: int) -> None:
    fault = ua.ServiceFault()
    fault.ResponseHeader.ServiceResult = ua.StatusCode(code)
    with pytest.raises(Fault) as caught:
        open_response(bytes(ua.ua_binary.struct_to_binary(fault)))
    assert caught.value.code == code


def test_a_response_of_another_service_is_refused() -> None:
    with pytest.raises(MalformedNotification, match="type 634"):
        open_response(bytes(ua.ua_binary.struct_to_binary(ua.ReadResponse())))


def test_every_message_cut_anywhere_is_refused() -> None:
    for body in seeds():
        for end in range(0, len(body), max(1, len(body) // 200)):
            assert judge(body[:end]).startswith("malformed")


def test_lengths_that_lie_anywhere_in_a_message() -> None:
    luck = random.Random(7)
    for body in seeds():
        for at in range(luck.randrange(4), len(body) - 4, max(1, len(body) // 25)):
            for hostile in HOSTILE:
                judge(body[:at] + hostile + body[at + 4 :])


def test_a_short_deterministic_fuzz_finds_nothing() -> None:
    """The long run is `python tests/fuzz/fuzz_opcua_decode.py`."""
    luck = random.Random(2026)
    endings = {judge(mutated) for body in seeds() for mutated in mutations(body, luck, 60)}
    assert {"malformed envelope", "malformed values", "values"} <= endings
