"""A recipe: the fields of a data package in their order, with the types the controller gave them."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

from plantgate_connectors.ur.frames import Malformed

Held: TypeAlias = bool | int | float | tuple[bool | int | float, ...]
"""A field's value; a vector is a tuple."""

_FORMATS: Final = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT32": "I",
    "UINT64": "Q",
    "INT32": "i",
    "DOUBLE": "d",
    "VECTOR3D": "3d",
    "VECTOR6D": "6d",
    "VECTOR6INT32": "6i",
    "VECTOR6UINT32": "6I",
}
"""Names of types as the controller writes them, and how they lie in a package; big-endian, without padding."""
NOT_FOUND: Final = "NOT_FOUND"
IN_USE: Final = "IN_USE"


def is_vector(type_name: str) -> bool:
    """Whether values of the type have several parts."""
    return type_name.startswith("VECTOR")


@dataclass(frozen=True)
class Recipe:
    """Agreed with the controller, which calls it by `id`."""

    id: int
    fields: tuple[str, ...]
    types: tuple[str, ...]

    @cached_property
    def _packed(self) -> struct.Struct:
        return struct.Struct(">B" + "".join(_FORMATS[name] for name in self.types))

    @property
    def data_bytes(self) -> int:
        """Payload of its data packages, the recipe's id included."""
        return self._packed.size

    def unpack(self, payload: bytes) -> list[Held]:
        """The values of a data package, in the order of the fields. Raises `Malformed`."""
        if len(payload) != self.data_bytes:
            raise Malformed(f"a data package of {len(payload)} bytes where the recipe makes {self.data_bytes}")
        number, *parts = self._packed.unpack(payload)
        if number != self.id:
            raise Malformed(f"a data package of recipe {number}; ours is {self.id}")
        values: list[Held] = []
        at = 0
        for name in self.types:
            count = _parts(name)
            values.append(tuple(parts[at : at + count]) if is_vector(name) else parts[at])
            at += count
        return values

    def pack(self, values: Sequence[bool | int | float]) -> bytes:
        """The payload of a data package to the controller; recipes that are sent have no vectors."""
        return self._packed.pack(self.id, *values)


def answered(fields: Sequence[str], payload: bytes) -> Recipe:
    """What the controller makes of the fields that it was asked for: an id, and a type for each.

    A type can be `NOT_FOUND` or `IN_USE`; such a recipe is not to be used. Raises `Malformed`.
    """
    try:
        types = tuple(payload[1:].decode("ascii").split(","))
    except UnicodeDecodeError:
        raise Malformed("a list of types that is no ASCII text") from None
    if len(types) != len(fields):
        raise Malformed(f"{len(types)} types for the {len(fields)} fields of a recipe")
    if odd := [name for name in types if name not in _FORMATS and name not in (NOT_FOUND, IN_USE)]:
        raise Malformed(f"a field of type {odd[0][:20]!r}, which is not known here")
    return Recipe(payload[0], tuple(fields), types)


def _parts(type_name: str) -> int:
    return int(type_name[6]) if is_vector(type_name) else 1
