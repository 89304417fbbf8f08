"""Walks OPC UA binary data without decoding it, so that every declared length is checked before anything is built.

A decoder that trusts a declared length can be made to loop or allocate for ever. Here each length and count is compared
with the bytes that remain and with a cap first, and nesting is capped; what passes is safe to hand to a decoder that
trusts. Format: OPC 10000-6, 5.2.

A walker takes the message, an offset and a depth; it returns the offset behind what it walked, or raises
`MalformedNotification`.
"""

import functools
import struct
from collections.abc import Callable
from dataclasses import fields
from enum import Enum, IntFlag
from typing import Any, Final, TypeAlias

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import uatypes
from asyncua.ua.ua_binary import get_safe_type_hints, nodeid_from_binary, resolve_uatype

DEPTH_MAX: Final = 16
"""Variants in variants, structures in structures: real ones nest two or three deep."""
ELEMENTS_MAX: Final = 65_536
"""Elements of varying size in one array; arrays of fixed-size elements are bounded by their bytes alone."""

_INT32: Final = struct.Struct("<i")
_FIXED: Final = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 4, 8: 8, 9: 8, 10: 4, 11: 8, 13: 8, 14: 16, 19: 4}
"""Bytes of the built-in types (OPC 10000-6, Table 1) whose size does not vary."""
_STRINGS: Final = frozenset({12, 15, 16, *range(26, 32)})
"""String, ByteString, XmlElement, and the reserved ids that a decoder is told to take for a ByteString."""


class MalformedNotification(Exception):
    """The message contradicts itself; nothing of it can be trusted. Says where."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason}, at byte {offset}")
        self.reason = reason
        self.offset = offset


class Walk:
    """A message, the offset that must not be passed, and whether known structures are walked inside.

    A structure has a length of its own, so that a bad inside need not spoil the message around it: the first walk
    takes it whole, and the value's own decoder walks it inside.
    """

    __slots__ = ("body", "end", "inside")

    def __init__(self, body: bytes, end: int, *, inside: bool = False) -> None:
        self.body, self.end, self.inside = body, end, inside

    def need(self, at: int, size: int, what: str) -> int:
        """The offset `size` bytes on, if they are there."""
        if at + size > self.end:
            raise MalformedNotification(f"{what} needs {size} bytes, {max(0, self.end - at)} remain", at)
        return at + size

    def count(self, at: int, smallest: int, what: str, most: int | None = None) -> int:
        """A declared count that the remaining bytes can hold, and `most` too; null (-1) gives 0.

        `smallest` is the least size of an element in bytes. The elements begin 4 bytes on.
        """
        self.need(at, 4, f"the count of {what}")
        (declared,) = _INT32.unpack_from(self.body, at)
        if declared < -1:
            raise MalformedNotification(f"{declared} {what}", at)
        if declared > 0 and smallest * declared > self.end - at - 4:
            raise MalformedNotification(f"{declared} {what} declared, {self.end - at - 4} bytes remain", at)
        if most is not None and declared > most:
            raise MalformedNotification(f"{declared} {what}, at most {most} are taken", at)
        return max(0, int(declared))


Walker: TypeAlias = Callable[[Walk, int, int], int]


def skip_string(walk: Walk, at: int, depth: int = 0) -> int:
    """A String, ByteString or XmlElement."""
    walk.need(at, 4, "a length")
    (length,) = _INT32.unpack_from(walk.body, at)
    if length < -1:
        raise MalformedNotification(f"a string of {length} bytes", at)
    return walk.need(at + 4, max(0, length), "a string")


def skip_node_id(walk: Walk, at: int, depth: int = 0) -> int:
    """A NodeId or ExpandedNodeId in any of its encodings."""
    walk.need(at, 1, "a node id")
    encoding = walk.body[at]
    at += 1
    match encoding & 0x3F:
        case 0:
            at = walk.need(at, 1, "a node id")
        case 1:
            at = walk.need(at, 3, "a node id")
        case 2:
            at = walk.need(at, 6, "a node id")
        case 3 | 5:
            at = skip_string(walk, walk.need(at, 2, "a node id"))
        case 4:
            at = walk.need(at, 18, "a node id")
        case kind:
            raise MalformedNotification(f"a node id of unknown kind {kind}", at - 1)
    if encoding & 0x80:
        at = skip_string(walk, at)
    if encoding & 0x40:
        at = walk.need(at, 4, "a server index")
    return at


def skip_localized_text(walk: Walk, at: int, depth: int = 0) -> int:
    """A LocalizedText: mask, then locale and text where the mask says so."""
    after = walk.need(at, 1, "a localized text")
    for bit in (1, 2):
        if walk.body[at] & bit:
            after = skip_string(walk, after)
    return after


def skip_diagnostic_info(walk: Walk, at: int, depth: int = 0) -> int:
    """A DiagnosticInfo with what is nested in it."""
    while True:
        _not_too_deep(at, depth)
        walk.need(at, 1, "a diagnostic info")
        mask = walk.body[at]
        at = walk.need(at + 1, 4 * (mask & 0x0F).bit_count(), "a diagnostic info")
        if mask & 0x10:
            at = skip_string(walk, at)
        if mask & 0x20:
            at = walk.need(at, 4, "a status code")
        if not mask & 0x40:
            return at
        depth += 1


def skip_data_value(walk: Walk, at: int, depth: int = 0) -> int:
    """A DataValue: mask, then value, status, times and picoseconds where the mask says so."""
    walk.need(at, 1, "a data value")
    mask = walk.body[at]
    at += 1
    if mask & 0x01:
        at = skip_variant(walk, at, depth + 1)
    rest = (4 if mask & 0x02 else 0) + 8 * (mask & 0x0C).bit_count() + 2 * (mask & 0x30).bit_count()
    return walk.need(at, rest, "a data value")


def skip_extension_object(walk: Walk, at: int, depth: int = 0) -> int:
    """An ExtensionObject, whole; walked inside too if `walk` says so and the library knows its structure."""
    _not_too_deep(at, depth)
    start = at
    at = skip_node_id(walk, at)
    inside = walk.need(at, 1, "an extension object") + 4
    match walk.body[at]:
        case 0:
            return at + 1
        case 1 | 2 as encoding:
            at = skip_string(walk, at + 1)
        case encoding:
            raise MalformedNotification(f"an extension object of encoding {encoding}", at)
    if walk.inside and encoding == 1:
        structure = ua.extension_objects_by_typeid.get(nodeid_from_binary(Buffer(walk.body, start)))
        if structure is not None:
            _walk_structure(structure)(Walk(walk.body, at, inside=True), inside, depth + 1)
    return at


def skip_variant(walk: Walk, at: int, depth: int = 0) -> int:
    """A Variant: scalar, array or matrix of any built-in type."""
    _not_too_deep(at, depth)
    walk.need(at, 1, "a variant")
    encoding = walk.body[at]
    kind = encoding & 0x3F
    at += 1
    if kind > 31:
        raise MalformedNotification(f"a value of unknown type {kind}", at - 1)
    if not encoding & 0x80:
        if encoding & 0x40:
            raise MalformedNotification("dimensions of a scalar", at - 1)
        return _skip_builtin(walk, at, depth, kind)
    if kind in _FIXED:
        length = walk.count(at, _FIXED[kind], "array elements")
    else:
        length = walk.count(at, 1 if kind else 0, "array elements", ELEMENTS_MAX if kind else 0)
    at = _skip_elements(walk, at + 4, depth, kind, length)
    return _skip_dimensions(walk, at, length) if encoding & 0x40 else at


def _not_too_deep(at: int, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise MalformedNotification(f"nested deeper than {DEPTH_MAX}", at)


def _skip_builtin(walk: Walk, at: int, depth: int, kind: int) -> int:
    if kind in _FIXED:
        return walk.need(at, _FIXED[kind], "a value")
    if kind in _STRINGS:
        return skip_string(walk, at)
    return _VARYING[kind](walk, at, depth + 1)


def _skip_elements(walk: Walk, at: int, depth: int, kind: int, length: int) -> int:
    if kind in _FIXED:
        return at + _FIXED[kind] * length
    for _ in range(length):
        at = _skip_builtin(walk, at, depth, kind)
    return at


def _skip_dimensions(walk: Walk, at: int, length: int) -> int:
    dimensions = walk.count(at, 4, "dimensions")
    cells = 1
    for size in struct.unpack_from(f"<{dimensions}i", walk.body, at + 4):
        cells *= max(0, size)
    if dimensions and cells != length:
        raise MalformedNotification(f"dimensions of {cells} elements over an array of {length}", at)
    return at + 4 + 4 * dimensions


def _skip_qualified_name(walk: Walk, at: int, depth: int = 0) -> int:
    return skip_string(walk, walk.need(at, 2, "a qualified name"))


def _skip_null(walk: Walk, at: int, depth: int = 0) -> int:
    return at


_VARYING: Final[dict[int, Walker]] = {
    0: _skip_null,
    17: skip_node_id,
    18: skip_node_id,
    20: _skip_qualified_name,
    21: skip_localized_text,
    22: skip_extension_object,
    23: skip_data_value,
    24: skip_variant,
    25: skip_diagnostic_info,
}


@functools.cache
def _walk_structure(structure: type[Any]) -> Walker:
    """Mirrors how asyncua derives a decoder from a dataclass (`ua_binary._create_dataclass_deserializer`)."""
    if issubclass(structure, ua.UaUnion):
        return _walk_union([_walk_type(kind) for kind in structure._union_types])  # noqa: SLF001  has no public name
    hints = get_safe_type_hints(structure, {"ua": ua})
    steps: list[tuple[str, int, Walker]] = []
    optional = 0
    for member in fields(structure):
        kind, bit = hints[member.name], 0
        if uatypes.type_is_optional(kind):
            kind, bit = uatypes.type_from_optional(kind), 1 << optional
            optional += 1
        walker = skip_extension_object if uatypes.type_allow_subclass(kind) else _walk_type(kind)
        steps.append((member.name, bit, walker))

    def walk_members(walk: Walk, at: int, depth: int) -> int:
        _not_too_deep(at, depth)
        present = 0
        for name, bit, step in steps:
            if bit and not present & bit:
                continue
            after = step(walk, at, depth + 1)
            if name == "Encoding":
                present = int.from_bytes(walk.body[at:after], "little")
            at = after
        return at

    return walk_members


def _walk_union(members: list[Walker]) -> Walker:
    def walk_member(walk: Walk, at: int, depth: int) -> int:
        after = walk.need(at, 4, "a union")
        chosen = int.from_bytes(walk.body[at:after], "little")
        return members[chosen - 1](walk, after, depth + 1) if 0 < chosen <= len(members) else after

    return walk_member


def _walk_type(kind: Any) -> Walker:
    kind, _ = resolve_uatype(kind)
    if uatypes.type_is_union(kind):
        listed, kind = uatypes.types_or_list_from_union(kind)
        return _walk_list(kind) if listed else _walk_type(kind)
    if uatypes.type_is_list(kind):
        return _walk_list(uatypes.type_from_list(kind))
    name = "Byte" if kind.__name__ == "Char" else kind.__name__
    if name in ua.VariantType.__members__:
        builtin = ua.VariantType[name].value
        return lambda walk, at, depth: _skip_builtin(walk, at, depth, builtin)
    if name in ("Bytes", "CharArray"):
        return skip_string
    if issubclass(kind, Enum):
        size = _FIXED[ua.VariantType[_flag_type(kind)].value] if issubclass(kind, IntFlag) else 4
        return lambda walk, at, depth: walk.need(at, size, "an enumeration")
    return lambda walk, at, depth: _walk_structure(kind)(walk, at, depth)  # found late: structures may recurse


def _walk_list(kind: Any) -> Walker:
    def walk_elements(walk: Walk, at: int, depth: int) -> int:
        element = _walk_type(kind)
        length = walk.count(at, 0, "list elements", ELEMENTS_MAX)
        at += 4
        for _ in range(length):
            at = element(walk, at, depth + 1)
        return at

    return walk_elements


def _flag_type(kind: type) -> str:
    return str(kind.datatype()) if hasattr(kind, "datatype") else "UInt32"
