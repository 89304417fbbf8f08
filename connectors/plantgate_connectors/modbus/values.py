"""Turns the bytes of one answered block into values, with one precompiled struct for all of its tags."""

import struct
from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Final

from plantgate.sdk import Value
from plantgate.sdk.quality import BAD_DECODING, GOOD
from plantgate_connectors.modbus.registers import Field, Table, Type

CODES: Final = {
    Type.INT16: "h",
    Type.UINT16: "H",
    Type.INT32: "i",
    Type.UINT32: "I",
    Type.INT64: "q",
    Type.UINT64: "Q",
    Type.FLOAT32: "f",
    Type.FLOAT64: "d",
    Type.BCD16: "H",
    Type.BCD32: "I",
    Type.BOOL: "H",
}
DECIMAL: Final = (Type.BCD16, Type.BCD32)
_BITS: Final = tuple(tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256))
"""The truth values of a byte, lowest bit first, as coils are packed."""

Decode = Callable[[bytes], tuple[list[Value], list[int] | None]]
"""Values in the order of the fields, and their qualities if any is not good."""


def decoder(table: Table, fields: Sequence[Field], start: int) -> Decode:
    """For the payload of an answer that begins at address `start`; its length has been checked."""
    return _bits(fields, start) if table.of_bits else _Registers(fields, start)


def _bits(fields: Sequence[Field], start: int) -> Decode:
    wanted = [field.address - start for field in fields]
    if wanted == list(range(len(wanted))):

        def decode_run(payload: bytes) -> tuple[list[Value], list[int] | None]:
            values: list[Value] = list(chain.from_iterable(map(_BITS.__getitem__, payload)))
            return values[: len(wanted)], None

        return decode_run

    def decode_some(payload: bytes) -> tuple[list[Value], list[int] | None]:
        return [bool(payload[at >> 3] >> (at & 7) & 1) for at in wanted], None

    return decode_some


class _Registers:
    def __init__(self, fields: Sequence[Field], start: int) -> None:
        order = list(chain.from_iterable(places(field, start) for field in fields))
        self._struct = struct.Struct(">" + "".join(_code(field) for field in fields))
        in_place = order == list(range(len(order)))
        # Gathers the bytes of all fields in network order, whatever the device's; not needed where they lie so.
        self._gather: Callable[[bytes], tuple[int, ...]] | None = None if in_place else itemgetter(*order)
        scales = [None if field.type in DECIMAL else scaling(field) for field in fields]
        self._some_scaled = [(index, scale) for index, scale in enumerate(scales) if scale is not None]
        self._all_scales = [scale for _, scale in self._some_scaled] if len(self._some_scaled) == len(fields) else None
        self._finish = [
            (index, finish) for index, field in enumerate(fields) if (finish := _finisher(field)) is not None
        ]

    def __call__(self, payload: bytes) -> tuple[list[Value], list[int] | None]:
        raw = self._struct.unpack_from(payload if self._gather is None else bytes(self._gather(payload)))
        if self._all_scales is not None:
            return [
                number * factor / divisor + offset
                for number, (factor, divisor, offset) in zip(raw, self._all_scales, strict=True)
            ], None
        values: list[Value] = list(raw)
        for index, (factor, divisor, offset) in self._some_scaled:
            values[index] = raw[index] * factor / divisor + offset
        qualities: list[int] | None = None
        for index, finish in self._finish:
            try:
                values[index] = finish(values[index])
            except ValueError:
                if qualities is None:
                    qualities = [GOOD] * len(values)
                values[index], qualities[index] = None, BAD_DECODING
        return values, qualities


def places(field: Field, start: int) -> list[int]:
    """Where its bytes lie in the payload, most significant first."""
    words = [2 * (address - start) for address in range(field.address, field.end)]
    if field.order.words_reversed and field.type is not Type.STRING:
        words.reverse()
    first, second = (1, 0) if field.order.bytes_swapped else (0, 1)
    return [word + byte for word in words for byte in (first, second)]


def _code(field: Field) -> str:
    return f"{2 * field.span}s" if field.type is Type.STRING else CODES[field.type]


def scaling(field: Field) -> tuple[float, float, float] | None:
    """Factor, divisor, offset. A scale of 0.1 divides by 10: 3 is 0.3 then, and not 0.30000000000000004."""
    if field.scale is None and field.offset is None:
        return None
    scale = 1.0 if field.scale is None else field.scale
    offset = 0.0 if field.offset is None else field.offset
    divisor = round(1 / scale) if 0 < abs(scale) < 1 else 1
    if divisor != 1 and 1 / divisor == scale:
        return 1, divisor, offset
    return scale, 1, offset


def _finisher(field: Field) -> Callable[[Value], Value] | None:
    """What is left to do after the struct; raises `ValueError` where the bytes are no such value."""
    if field.type is Type.STRING:
        return _text(field.length)
    if field.type in DECIMAL:
        return _decimal(scaling(field))
    if field.bits is not None:
        return _part(*field.bits)
    return None


def _text(length: int) -> Callable[[Value], Value]:
    def text(raw: Value) -> Value:
        assert isinstance(raw, bytes)
        return raw[:length].partition(b"\0")[0].decode("utf-8").rstrip(" ")

    return text


def _part(first: int, last: int) -> Callable[[Value], Value]:
    mask = (1 << (last - first + 1)) - 1

    def one(raw: Value) -> Value:
        assert isinstance(raw, int)
        return bool(raw >> first & 1)

    def several(raw: Value) -> Value:
        assert isinstance(raw, int)
        return raw >> first & mask

    return one if first == last else several


def _decimal(scale: tuple[float, float, float] | None) -> Callable[[Value], Value]:
    def plain(raw: Value) -> Value:
        assert isinstance(raw, int)
        return int(f"{raw:x}")

    if scale is None:
        return plain
    factor, divisor, offset = scale

    def scaled(raw: Value) -> Value:
        assert isinstance(raw, int)
        return int(f"{raw:x}") * factor / divisor + offset

    return scaled
