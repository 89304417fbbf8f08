"""Reads structured values by the definitions the server gives, session by session.

asyncua can do this too, but it generates Python source from the server's texts and executes it, and it registers the
classes by namespace index for the whole process, so that two servers decode each other's values. Here a definition is
data.
Format: OPC 10000-6, 5.2.6 (structures), 5.2.7 (optional fields), 5.2.8 (unions); definitions: OPC 10000-3, 8.48.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import unpack_uatype

from plantgate.sdk import Value
from plantgate_connectors.opcua.bounds import (
    DEPTH_MAX,
    ELEMENTS_MAX,
    MalformedNotification,
    Walk,
    Walker,
    skip_data_value,
    skip_diagnostic_info,
    skip_extension_object,
    skip_localized_text,
    skip_node_id,
    skip_string,
    skip_variant,
)

_EXTENSION_OBJECT: Final = 22
_VARIANT: Final = 24
_SCALARS: Final = {
    1: "?", 2: "b", 3: "B", 4: "h", 5: "H", 6: "i", 7: "I", 8: "q", 9: "Q", 10: "f", 11: "d", 19: "I",
}  # fmt: skip
_UINT32: Final = struct.Struct("<I")


class Undecodable(Exception):
    """The value cannot be read for certain; its sample gets quality BAD_DECODING and no value."""


class Unlearned(Undecodable):
    """The value has a type whose definition has not been fetched yet."""


@dataclass(frozen=True, slots=True)
class Member:
    """A field of a structure."""

    name: str
    kind: "int | Definition"
    """Number of a built-in type, or the definition of the structure that stands here."""
    dimensions: int
    """0 scalar, 1 array, more: matrix."""
    optional: bool = False


@dataclass(slots=True)
class Definition:
    """A structured data type. Members are filled in after it is made, since structures may contain themselves."""

    name: str
    kind: ua.StructureType
    members: tuple[Member, ...] = ()


Plain: TypeAlias = Callable[[object], Value]


def read(definition: Definition, body: bytes, plain: Plain) -> Value:
    """The value of a whole body; raises `Undecodable` unless the definition accounts for every byte."""
    reader = _Reader(body, plain)
    try:
        value = reader.structure(definition, 0)
    except (MalformedNotification, struct.error, ua.UaError, ValueError) as error:
        raise Undecodable(f"{definition.name}: {error}") from error
    if reader.at != len(body):
        raise Undecodable(f"{definition.name}: {len(body) - reader.at} bytes are left over")
    return value


class _Reader:
    def __init__(self, body: bytes, plain: Plain) -> None:
        self._walk = Walk(body, len(body), inside=True)
        self._body = body
        self._plain = plain
        self.at = 0
        self._budget = ELEMENTS_MAX
        """Structures read so far may be empty on the wire: what is built is bounded too."""

    def structure(self, definition: Definition, depth: int) -> Value:
        self._budget -= 1
        if depth > DEPTH_MAX or self._budget < 0:
            raise MalformedNotification("nested too deep or too often", self.at)
        match definition.kind:
            case ua.StructureType.Union | ua.StructureType.UnionWithSubtypedValues:
                return self._union(definition, depth)
            case ua.StructureType.StructureWithOptionalFields:
                return self._with_optional(definition, depth)
            case _:
                return {member.name: self._member(member, depth) for member in definition.members}

    def _with_optional(self, definition: Definition, depth: int) -> Value:
        present = self._uint32()
        found: dict[str, Value] = {}
        bit = 1
        for member in definition.members:
            if member.optional:
                there = present & bit
                bit <<= 1
                if not there:
                    continue
            found[member.name] = self._member(member, depth)
        return found

    def _union(self, definition: Definition, depth: int) -> Value:
        chosen = self._uint32()
        if chosen == 0:
            return {}
        if chosen > len(definition.members):
            raise MalformedNotification(f"choice {chosen} of {len(definition.members)}", self.at)
        member = definition.members[chosen - 1]
        return {member.name: self._member(member, depth)}

    def _member(self, member: Member, depth: int) -> Value:
        if member.dimensions == 0:
            return self._one(member.kind, depth)
        if member.dimensions == 1:
            return self._array(member.kind, self._count(member.kind), depth)
        count = self._walk.count(self.at, 4, "dimensions", 16)
        sizes = struct.unpack_from(f"<{count}i", self._body, self.at + 4)
        self.at += 4 + 4 * count
        cells = 1
        for size in sizes:
            cells *= max(0, size)
        if cells > ELEMENTS_MAX:
            raise MalformedNotification(f"a matrix of {cells} cells", self.at)
        return _folded(self._array(member.kind, cells, depth), sizes)

    def _count(self, kind: "int | Definition") -> int:
        smallest = struct.calcsize(_SCALARS[kind]) if isinstance(kind, int) and kind in _SCALARS else 0
        count = self._walk.count(self.at, smallest, "array elements", None if smallest else ELEMENTS_MAX)
        self.at += 4
        return count

    def _array(self, kind: "int | Definition", count: int, depth: int) -> list[Value]:
        if isinstance(kind, int) and kind in _SCALARS:
            layout = f"<{count}{_SCALARS[kind]}"
            after = self._walk.need(self.at, struct.calcsize(layout), "an array")
            values = list(struct.unpack_from(layout, self._body, self.at))
            self.at = after
            return values
        return [self._one(kind, depth) for _ in range(count)]

    def _one(self, kind: "int | Definition", depth: int) -> Value:
        if isinstance(kind, Definition):
            return self.structure(kind, depth + 1)
        if kind in _SCALARS:
            [value] = self._array(kind, 1, depth)
            return value
        skip = _SKIPS.get(kind)
        if skip is None:
            raise MalformedNotification(f"built-in type {kind} cannot stand here", self.at)
        after = skip(self._walk, self.at, depth + 1)
        value = unpack_uatype(ua.VariantType(kind), Buffer(self._body[self.at : after]))
        self.at = after
        return self._plain(value)

    def _uint32(self) -> int:
        after = self._walk.need(self.at, 4, "a mask")
        (number,) = _UINT32.unpack_from(self._body, self.at)
        self.at = after
        return int(number)


def _skip_qualified_name(walk: Walk, at: int, depth: int) -> int:
    return skip_string(walk, walk.need(at, 2, "a qualified name"))


_SKIPS: Final[dict[int, Walker]] = {
    12: skip_string,
    13: lambda walk, at, depth: walk.need(at, 8, "a time"),
    14: lambda walk, at, depth: walk.need(at, 16, "a guid"),
    15: skip_string,
    16: skip_string,
    17: skip_node_id,
    18: skip_node_id,
    20: _skip_qualified_name,
    21: skip_localized_text,
    22: skip_extension_object,
    23: skip_data_value,
    24: skip_variant,
    25: skip_diagnostic_info,
}


def _folded(flat: Sequence[Value], sizes: Sequence[int]) -> list[Value]:
    if len(sizes) <= 1:
        return list(flat)
    inner = 1
    for size in sizes[1:]:
        inner *= max(0, size)
    return [_folded(flat[row * inner : (row + 1) * inner], sizes[1:]) for row in range(max(0, sizes[0]))]
