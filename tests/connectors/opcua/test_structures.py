"""Structured values are read by their definition, byte for byte, or not at all."""

import struct
from collections.abc import Callable

import pytest
from asyncua import ua

from plantgate.sdk import Value
from plantgate_connectors.opcua.structures import Definition, Member, Undecodable, read

KINDS = ua.StructureType


def plain(value: object) -> Value:
    return value if isinstance(value, str | bytes | int | float | None) else str(value)


def text(written: str) -> bytes:
    encoded = written.encode()
    return struct.pack("<i", len(encoded)) + encoded


POINT = Definition("Point", KINDS.Structure, (Member("x", 11, 0), Member("y", 11, 0)))


def test_members_stand_one_after_another() -> None:
    recipe = Definition(
        "Recipe",
        KINDS.Structure,
        (
            Member("on", 1, 0),
            Member("count", 7, 0),
            Member("name", 12, 0),
            Member("at", POINT, 0),
            Member("raw", 15, 0),
        ),
    )
    body = b"\x01" + struct.pack("<I", 7) + text("press") + struct.pack("<dd", 1.5, -2.5) + b"\xff\xff\xff\xff"
    assert read(recipe, body, plain) == {
        "on": True,
        "count": 7,
        "name": "press",
        "at": {"x": 1.5, "y": -2.5},
        "raw": None,
    }


def test_arrays_and_matrices_keep_their_shape() -> None:
    table = Definition(
        "Table", KINDS.Structure, (Member("row", 4, 1), Member("points", POINT, 1), Member("grid", 6, 2))
    )
    body = struct.pack("<i3h", 3, 1, 2, 3) + struct.pack("<i", 1) + struct.pack("<dd", 1, 2)
    body += struct.pack("<iii", 2, 2, 3) + struct.pack("<6i", *range(6))
    assert read(table, body, plain) == {
        "row": [1, 2, 3],
        "points": [{"x": 1.0, "y": 2.0}],
        "grid": [[0, 1, 2], [3, 4, 5]],
    }


def test_only_the_optional_members_that_are_there_are_read() -> None:
    kind = Definition(
        "Some",
        KINDS.StructureWithOptionalFields,
        (Member("must", 6, 0), Member("a", 6, 0, optional=True), Member("b", 6, 0, optional=True)),
    )
    assert read(kind, struct.pack("<Iii", 0b10, 1, 3), plain) == {"must": 1, "b": 3}
    assert read(kind, struct.pack("<Ii", 0, 1), plain) == {"must": 1}


def test_a_union_holds_the_member_it_names() -> None:
    either = Definition("Either", KINDS.Union, (Member("number", 11, 0), Member("name", 12, 0)))
    assert read(either, struct.pack("<I", 2) + text("x"), plain) == {"name": "x"}
    assert read(either, struct.pack("<Id", 1, 0.5), plain) == {"number": 0.5}
    assert read(either, struct.pack("<I", 0), plain) == {}
    with pytest.raises(Undecodable, match="choice 3 of 2"):
        read(either, struct.pack("<Id", 3, 0.5), plain)


def endless() -> Definition:
    node = Definition("Node", KINDS.Structure)
    node.members = (Member("children", node, 1),)
    return node


def boundless() -> Definition:
    node = Definition("Node", KINDS.Structure)
    node.members = (Member("self", node, 0),)
    return node


EMPTY = Definition("Empty", KINDS.Structure)

HOSTILE: list[tuple[str, Callable[[], Definition], bytes]] = [
    ("too short", lambda: POINT, b"\0" * 15),
    ("too long", lambda: POINT, b"\0" * 17),
    (
        "array longer than the rest",
        lambda: Definition("A", KINDS.Structure, (Member("a", 11, 1),)),
        b"\xff\xff\xff\x7f",
    ),
    ("negative length", lambda: Definition("A", KINDS.Structure, (Member("a", 11, 1),)), b"\xfe\xff\xff\xff"),
    ("array of nothing", lambda: Definition("A", KINDS.Structure, (Member("a", EMPTY, 1),)), b"\xff\xff\xff\x7f"),
    (
        "string longer than the rest",
        lambda: Definition("A", KINDS.Structure, (Member("a", 12, 0),)),
        b"\xff\xff\xff\x7fab",
    ),
    (
        "huge matrix",
        lambda: Definition("A", KINDS.Structure, (Member("a", 6, 2),)),
        struct.pack("<iii", 2, 1 << 20, 1 << 20),
    ),
    (
        "matrix of nothing",
        lambda: Definition("A", KINDS.Structure, (Member("a", EMPTY, 2),)),
        struct.pack("<iii", 2, 1 << 15, 1 << 15),
    ),
    ("nested for ever", endless, struct.pack("<i", 1) * 5000),
    ("contains itself", boundless, b""),
    ("bad node id", lambda: Definition("A", KINDS.Structure, (Member("a", 17, 0),)), b"\x3f\0\0"),
    ("unknown built-in", lambda: Definition("A", KINDS.Structure, (Member("a", 0, 0),)), b""),
    ("variant array", lambda: Definition("A", KINDS.Structure, (Member("a", 24, 0),)), b"\x80\xff\xff\xff\x7f"),
]


@pytest.mark.parametrize(("make", "body"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_a_body_that_does_not_fit_its_definition_is_undecodable(make: Callable[[], Definition], body: bytes) -> None:
    with pytest.raises(Undecodable):
        read(make(), body, plain)
