"""The specialised reader gives exactly what asyncua's own decoder gives, for everything a server can send."""

import math
import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from plantgate.sdk.quality import BAD_DECODING, GOOD, OVERFLOW, UNCERTAIN
from plantgate_connectors.opcua.decode import Columns, decode
from plantgate_connectors.opcua.envelope import open_response
from tests.connectors.opcua.messages import WHEN, WHEN_NS, message, value

SCALARS: dict[str, Sequence[Any]] = {
    "Boolean": (True, False),
    "SByte": (-128, 127),
    "Byte": (0, 255),
    "Int16": (-(2**15), 2**15 - 1),
    "UInt16": (0, 2**16 - 1),
    "Int32": (-(2**31), 2**31 - 1),
    "UInt32": (0, 2**32 - 1),
    "Int64": (-(2**63), 2**63 - 1),
    "UInt64": (0, 2**64 - 1),
    "Float": (0.0, 1.5, math.inf, -math.inf, 2.0**-149),
    "Double": (0.0, -1.25, math.inf, -math.inf, 5e-324),
    "String": ("", "läuft", "x" * 70_000, None),
    "ByteString": (b"", b"\x00\xff", None),
    "DateTime": (WHEN,),
    "Guid": (uuid.UUID(int=77),),
    "LocalizedText": (ua.LocalizedText("warm", "en"), ua.LocalizedText(None)),
    "QualifiedName": (ua.QualifiedName("speed", 3),),
    "NodeId": (ua.NodeId(5, 1), ua.NodeId("a", 2), ua.NodeId(uuid.UUID(int=1), 3), ua.NodeId(b"b", 4)),
    "ExpandedNodeId": (ua.ExpandedNodeId(5, 1, NamespaceUri="urn:x", ServerIndex=2),),
    "StatusCode": (ua.StatusCode(0x80340000),),
    "Null": (None,),
}
CASES = [(content, ua.VariantType[kind]) for kind, contents in SCALARS.items() for content in contents]


def theirs(variant: ua.Variant) -> Any:
    """The library's value, as it is."""
    return variant.Value.value if isinstance(variant.Value, ua.StatusCode) else variant.Value


def ours(body: bytes) -> Columns:
    columns = Columns()
    for part in open_response(body).parts:
        decode(body, part, theirs, columns)
    return columns


def assert_equal_to_the_library(body: bytes) -> Columns:
    """Handles, values, status codes and times, all the same as asyncua finds in the same bytes."""
    columns = ours(body)
    expected = struct_from_binary(ua.PublishResponse, Buffer(body))
    items = [item for data in expected.Parameters.NotificationMessage.NotificationData for item in data.MonitoredItems]
    assert columns.handles == [item.ClientHandle for item in items]
    assert columns.values == [None if item.Value.Value is None else theirs(item.Value.Value) for item in items]
    assert columns.qualities == [item.Value.StatusCode.value if item.Value.StatusCode else GOOD for item in items]
    assert columns.times == [_nanoseconds(item.Value.SourceTimestamp) for item in items]
    return columns


def _nanoseconds(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize(("content", "kind"), CASES, ids=lambda case: str(case)[:20])
def test_every_scalar_type_alone_and_in_a_run(content: Any, kind: ua.VariantType) -> None:
    for count in (1, 2, 3, 50):
        assert_equal_to_the_library(message([value(content, kind) for _ in range(count)]))


@pytest.mark.parametrize(("content", "kind"), CASES, ids=lambda case: str(case)[:20])
def test_every_type_as_an_array(content: Any, kind: ua.VariantType) -> None:
    if kind is ua.VariantType.Null:
        return
    for array in ([content] * 3, [], None):
        variant = ua.Variant(array, kind, is_array=True)
        assert_equal_to_the_library(message([value(variant), value(1.0)]))
    matrix = ua.Variant([[content] * 2, [content] * 2], kind, [2, 2])
    assert_equal_to_the_library(message([value(matrix)] * 2))


@pytest.mark.parametrize("present", list(product((False, True), repeat=4)))
def test_every_combination_of_status_and_times(present: tuple[bool, bool, bool, bool]) -> None:
    status, source, server, valued = present
    for count, kind in product((1, 7), (ua.VariantType.Double, ua.VariantType.String, ua.VariantType.Null)):
        content = {ua.VariantType.Double: 1.5, ua.VariantType.String: "on", ua.VariantType.Null: None}[kind]
        made = value(
            content,
            kind if valued else None,
            status=0x40900000 if status else None,
            source=WHEN if source else None,
            server=WHEN if server else None,
        )
        assert_equal_to_the_library(message([made] * count))


def test_types_in_any_order_keep_it() -> None:
    luck = random.Random(7)
    for _ in range(50):
        values = [
            value(
                content,
                kind,
                status=luck.choice((None, 0, 0x80000000)),
                source=luck.choice((None, WHEN, WHEN + timedelta(microseconds=luck.randrange(9)))),
            )
            for content, kind in luck.choices(CASES, k=luck.randrange(1, 40))
            if content != "x" * 70_000
        ]
        assert_equal_to_the_library(message(values, handles=[luck.randrange(2**32) for _ in values]))


def test_values_that_are_no_ordinary_numbers_pass_through() -> None:
    columns = ours(message([value(number) for number in (math.nan, -0.0, math.inf, 5e-324)]))
    assert math.isnan(columns.values[0])  # type: ignore[arg-type]  # a float
    assert math.copysign(1.0, columns.values[1]) == -1.0  # type: ignore[arg-type]  # a float
    assert columns.values[2:] == [math.inf, 5e-324]


def test_a_variant_in_a_variant_and_a_data_value_are_taken_apart_by_the_library() -> None:
    inner = ua.Variant(
        [ua.Variant(1, ua.VariantType.Int32), ua.Variant("a", ua.VariantType.String)], ua.VariantType.Variant
    )
    columns = ours(message([value(inner), value(2.0)]))
    assert [each.Value for each in columns.values[0]] == [1, "a"]  # type: ignore[union-attr]  # the library's variants
    assert columns.values[1] == 2.0


def test_picoseconds_add_to_the_time_below_a_tick() -> None:
    columns = ours(
        message([value(source_picoseconds=1234), value(source_picoseconds=65_535), value(server_picoseconds=9)])
    )
    assert columns.times == [WHEN_NS + 12, WHEN_NS + 99, WHEN_NS]


TICKS = 116_444_736_000_000_000


@pytest.mark.parametrize(
    ("ticks", "time", "doubted"),
    [
        (0, None, 0),
        (-(2**63), None, 0),
        (TICKS, 0, 0),
        (TICKS + 1, 100, 0),
        (1, None, 1),
        (2**63 - 1, None, 1),
        (-1, None, 1),
        (2_650_467_743_999_999_999, None, 1),
        (TICKS + 2**63 // 100 - 2, (2**63 // 100 - 2) * 100, 0),
        (TICKS - 2**63 // 100 + 1, -(2**63 // 100 - 1) * 100, 0),
    ],
    ids=["null", "least", "1970", "a tick later", "1601", "the end of time", "before time", "9999", "2262", "1677"],
)
@pytest.mark.parametrize("count", [1, 20])
def test_a_source_time_no_clock_shows_is_none_and_makes_a_good_value_uncertain(
    ticks: int, time: int | None, doubted: int, count: int
) -> None:
    stamp = (WHEN_NS // 100 + TICKS).to_bytes(8, "little")
    body = message([value(), value(status=0x80340000)] * count)
    columns = ours(body.replace(stamp, ticks.to_bytes(8, "little", signed=True)))
    assert columns.times == [time] * 2 * count
    assert columns.doubted == doubted * 2 * count
    assert columns.qualities == [UNCERTAIN if doubted else GOOD, 0x80340000] * count


def test_an_overflow_bit_is_reported_with_its_row_and_passes_through() -> None:
    values = [value(float(row), status=OVERFLOW if row in (0, 17) else 0) for row in range(30)]
    columns = ours(message(values))
    assert columns.overflows == [0, 17]
    assert columns.qualities[17] == OVERFLOW


def test_the_overflow_bit_of_another_info_type_is_not_one() -> None:
    assert ours(message([value(status=0x0080)])).overflows == []


def test_text_that_is_not_utf_8_is_a_bad_value_and_the_next_one_is_right() -> None:
    body = message([value("abcd", ua.VariantType.String), value(2.0)]).replace(b"abcd", b"ab\xff\xfe")
    columns = ours(body)
    assert columns.values == [None, 2.0]
    assert columns.qualities == [BAD_DECODING, GOOD]
    assert columns.undecodable == 1


def test_a_structure_that_does_not_fit_its_type_is_a_bad_value_and_the_next_one_is_right() -> None:
    body = message([value(ua.Variant(ua.Range(0.0, 100.0), ua.VariantType.ExtensionObject)), value(2.0)])
    assert ours(body).values == [ua.Range(0.0, 100.0), 2.0]
    longer = body.replace(b"\x10\x00\x00\x00" + bytes(8), b"\x08\x00\x00\x00", 1)
    columns = ours(_part_shortened(longer, 8))
    assert columns.values == [None, 2.0]
    assert columns.qualities == [BAD_DECODING, GOOD]


def _part_shortened(body: bytes, by: int) -> bytes:
    """The declared length of the first data change, less."""
    at = body.index(b"\x01\x00\x2b\x03\x01") + 5
    length = int.from_bytes(body[at : at + 4], "little") - by
    return body[:at] + length.to_bytes(4, "little") + body[at + 4 :]


def test_several_notifications_in_one_message_append_in_order() -> None:
    parts = [
        ua.DataChangeNotification(MonitoredItems=[ua.MonitoredItemNotification(ClientHandle=handle, Value=value(0.0))])
        for handle in (5, 6)
    ]
    assert ours(message([], parts=parts)).handles == [5, 6]


def test_diagnostic_infos_are_passed_over() -> None:
    info = ua.DiagnosticInfo(SymbolicId=1, AdditionalInfo="why", InnerStatusCode=ua.StatusCode(0x80000000))
    item = ua.MonitoredItemNotification(ClientHandle=5, Value=value(1.0))
    part = ua.DataChangeNotification(MonitoredItems=[item], DiagnosticInfos=[info])
    assert ours(message([], parts=[part])).values == [1.0]


def test_the_envelope_says_what_the_library_finds() -> None:
    body = message([value()], subscription=9, sequence=77, available=(75, 76, 77), more=True, results=(0, 0x807A0000))
    envelope = open_response(body)
    assert (envelope.subscription, envelope.sequence, envelope.more) == (9, 77, True)
    assert envelope.results == (0, 0x807A0000)
    assert len(envelope.parts) == 1


def test_a_header_with_diagnostics_and_strings_is_read_too() -> None:
    response = struct_from_binary(ua.PublishResponse, Buffer(message([value(4.0)])))
    response.ResponseHeader.ServiceDiagnostics = ua.DiagnosticInfo(SymbolicId=3, AdditionalInfo="slow")
    response.ResponseHeader.StringTable = ["a", "bc"]
    assert ours(bytes(ua.ua_binary.struct_to_binary(response))).values == [4.0]


@pytest.mark.parametrize(
    "type_id",
    [b"\x02\x00\x00\x3d\x03\x00\x00", b"\x01\x00\x3d\x03"],
    ids=["numeric", "four bytes"],
)
def test_the_response_is_known_by_its_type_in_either_encoding(type_id: bytes) -> None:
    body = message([value(4.0)])
    assert body.startswith(b"\x01\x00\x3d\x03")
    assert ours(type_id + body[4:]).values == [4.0]
