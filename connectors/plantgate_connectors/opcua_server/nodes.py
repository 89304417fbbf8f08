"""What a node is: its attributes as they go over the wire, and its references."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from plantgate_connectors.opcua_server import values

Key = tuple[int, int | str]
"""Namespace index and identifier of a node id; no node of ours has another kind of identifier."""

OBJECT: Final = 1
VARIABLE: Final = 2
OBJECT_TYPE: Final = 8
VARIABLE_TYPE: Final = 16
REFERENCE_TYPE: Final = 32
DATA_TYPE: Final = 64

ORGANIZES: Final = 35
HAS_TYPE_DEFINITION: Final = 40
HAS_SUBTYPE: Final = 45
HAS_PROPERTY: Final = 46
HAS_COMPONENT: Final = 47

VALUE: Final = 13
EVENT_NOTIFIER: Final = 12
"""Attribute ids (OPC 10000-6, A.1)."""
READABLE: Final = 1
"""Access level: current value may be read, and nothing else."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference, seen from the node that has it."""

    kind: int
    """Reference type, in namespace 0."""
    forward: bool
    target: Key


@dataclass(slots=True)
class Node:
    """A node of any class; what its class does not have is left at its default."""

    key: Key
    node_class: int
    name: str
    name_namespace: int = 0
    type_definition: int = 0
    value: Callable[[], bytes] | None = None
    """Gives the encoded DataValue."""
    data_type: int = 0
    rank: int = values.SCALAR
    abstract: bool = False
    inverse: str = ""
    """Name of a reference type's other direction; empty for a symmetric or abstract one."""
    references: list[Reference] = field(default_factory=list)
    children: Callable[[], Iterator[Reference]] | None = None
    """Further references, made when asked for: there can be many."""

    def all_references(self) -> Iterator[Reference]:
        """Stored ones first, then those made on demand, then the type."""
        yield from self.references
        if self.children is not None:
            yield from self.children()
        if self.type_definition:
            yield Reference(HAS_TYPE_DEFINITION, True, (0, self.type_definition))

    def attribute(self, number: int, server: int) -> bytes | None:
        """The encoded DataValue of an attribute, read at `server` (ticks); None where the node has no such."""
        if number == VALUE:
            return None if self.value is None else self.value()
        body = self._attribute(number)
        return None if body is None else values.data_value(body, 0, 0, server)

    def _attribute(self, number: int) -> bytes | None:
        match number:
            case 1:
                return b"\x11" + node_id(self.key)
            case 2:
                return _i32(self.node_class)
            case 3:
                return b"\x14" + qualified_name(self.name_namespace, self.name)
            case 4 | 5:
                return b"\x15" + localized_text(self.name if number == 4 else "")
            case 6 | 7:
                return struct.pack("<BI", values.UINT32, 0)
            case 8 if self.node_class >= OBJECT_TYPE:
                return struct.pack("<B?", values.BOOLEAN, self.abstract)
        if self.node_class == REFERENCE_TYPE:
            return self._of_reference_type(number)
        if self.node_class == OBJECT:
            return b"\x03\x00" if number == EVENT_NOTIFIER else None
        if self.node_class in (VARIABLE, VARIABLE_TYPE):
            return self._of_variable(number)
        return None

    def _of_reference_type(self, number: int) -> bytes | None:
        if number == 9:
            return struct.pack("<B?", values.BOOLEAN, not self.inverse and not self.abstract)
        return b"\x15" + localized_text(self.inverse) if number == 10 and self.inverse else None

    def _of_variable(self, number: int) -> bytes | None:
        match number:
            case 14:
                return b"\x11" + node_id((0, self.data_type or 24))
            case 15:
                return _i32(self.rank)
            case 16 if self.rank > 0:
                return struct.pack(f"<Bi{self.rank}I", values.UINT32 | 0x80, self.rank, *[0] * self.rank)
            case 17 | 18 if self.node_class == VARIABLE:
                return bytes((3, READABLE))
            case 19 if self.node_class == VARIABLE:
                return struct.pack("<Bd", values.DOUBLE, 0.0)
            case 20 if self.node_class == VARIABLE:
                return struct.pack("<B?", values.BOOLEAN, False)
        return None


def node_id(key: Key) -> bytes:
    """Encoded (OPC 10000-6, 5.2.2.9)."""
    namespace, identifier = key
    if isinstance(identifier, str):
        return struct.pack("<BH", 3, namespace) + string(identifier)
    if namespace == 0 and identifier < 256:
        return bytes((0, identifier))
    return struct.pack("<BBH", 1, namespace, identifier)


def string(text: str) -> bytes:
    """Encoded String."""
    written = text.encode("utf-8", "replace")
    return struct.pack("<i", len(written)) + written


def qualified_name(namespace: int, name: str) -> bytes:
    """Encoded QualifiedName."""
    return struct.pack("<H", namespace) + string(name)


def localized_text(text: str) -> bytes:
    """Encoded LocalizedText without a locale."""
    return b"\x02" + string(text) if text else b"\0"


def _i32(number: int) -> bytes:
    return struct.pack("<Bi", values.INT32, number)
