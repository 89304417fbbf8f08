"""Whatever a Variant can hold becomes a plain value that says the same, or nothing."""

import math
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from asyncua import ua

from plantgate.testing.context import lent
from plantgate_connectors.opcua.client import PlainClient
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.values import Undecodable, Unlearned, Values, flatten
from tests.connectors.opcua.plant_given import settings


@pytest.fixture
def values(tmp_path: Path) -> Values:
    chosen = settings()
    client = PlainClient(chosen, name="test", application_uri="urn:test")
    session = Session(client, chosen, lent(tmp_path), security="None")
    session.namespaces = ["http://opcfoundation.org/UA/", "urn:own", "urn:press"]
    return Values(session)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (True, True),
        (2**64 - 1, 2**64 - 1),
        (-0.0, -0.0),
        (math.inf, math.inf),
        ("µ°", "µ°"),
        (b"\x00\xff", b"\x00\xff"),
        (None, None),
        ([1, 2], [1, 2]),
        ([[1.5, 2.5], [3.5, 4.5]], [[1.5, 2.5], [3.5, 4.5]]),
        (datetime(2026, 11, 26, 12, 0, 0, 250000, tzinfo=UTC), "2026-11-26T12:00:00.250000Z"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (ua.NodeId(85), "i=85"),
        (ua.NodeId("Temp", 2), "nsu=urn:press;s=Temp"),
        (ua.NodeId("Temp", 9), "ns=9;s=Temp"),
        (ua.QualifiedName("Temp", 2), "nsu=urn:press;Temp"),
        (ua.QualifiedName("Temp", 0), "Temp"),
        (ua.LocalizedText("Zu heiß", "de"), "Zu heiß"),
        (ua.LocalizedText(None), None),
        (ua.StatusCode(ua.UInt32(0x80340000)), 0x80340000),
        (ua.ServerState.Running, 0),
        (ua.Variant([ua.Variant(1), ua.Variant("a")]), [1, "a"]),
        (ua.Range(Low=1.0, High=2.0), {"Low": 1.0, "High": 2.0}),
        ([ua.Range(Low=1.0, High=2.0)], [{"Low": 1.0, "High": 2.0}]),
    ],
)
def test_a_value_says_what_the_device_said(values: Values, given: object, expected: object) -> None:
    got = values.plain(ua.Variant(given) if isinstance(given, bool | int | float) else given)
    assert got == expected
    assert type(got) is type(expected)


def test_nan_stays_nan_and_minus_zero_keeps_its_sign(values: Values) -> None:
    assert math.isnan(cast("float", values.plain(ua.Variant(math.nan))))
    assert math.copysign(1, cast("float", values.plain(ua.Variant(-0.0)))) == -1


def test_a_text_that_is_not_utf_8_is_undecodable_wherever_it_stands(values: Values) -> None:
    bad = b"press \xff".decode("utf-8", errors="surrogateescape")
    for given in (bad, [bad], ua.LocalizedText(bad), ua.NodeId(bad, 2), ua.QualifiedName(bad, 0), ua.Range(Low=bad)):
        with pytest.raises(Undecodable, match="UTF-8"):
            values.plain(given)


def test_what_nests_without_end_is_undecodable(values: Values) -> None:
    nested: object = 1
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(Undecodable, match="nested"):
        values.plain(nested)


def test_a_structure_of_unknown_type_waits_to_be_learned(values: Values) -> None:
    given = ua.ExtensionObject(TypeId=ua.NodeId(5001, 2), Body=b"\x01")
    assert not values.definitions.unlearned
    with pytest.raises(Unlearned):
        values.plain(given)
    assert values.definitions.unlearned


def test_no_value_is_made_of_what_is_none(values: Values) -> None:
    assert values.plain(ua.ExtensionObject()) is None
    with pytest.raises(Undecodable):
        values.plain(ua.DiagnosticInfo())
    with pytest.raises(Undecodable):
        values.plain(object())


def test_structures_are_flattened_down_to_what_is_not_one() -> None:
    value = {"speed": 1.5, "at": {"x": 1, "y": 2}, "rows": [{"a": 1}], "none": {}}
    assert list(flatten("press/recipe", value)) == [
        ("press/recipe.speed", 1.5),
        ("press/recipe.at.x", 1),
        ("press/recipe.at.y", 2),
        ("press/recipe.rows", [{"a": 1}]),
        ("press/recipe.none", {}),
    ]
    assert list(flatten("press/t", 20.5)) == [("press/t", 20.5)]
