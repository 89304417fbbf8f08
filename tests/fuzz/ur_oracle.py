"""What must hold for any bytes at all that a UR controller may send."""

import random
import struct
from collections.abc import Iterator
from typing import Final

from plantgate_connectors.ur.frames import Frames, Kind, Malformed, package
from plantgate_connectors.ur.recipe import IN_USE, NOT_FOUND, Recipe, answered

RECIPE: Final = Recipe(1, ("timestamp", "actual_TCP_pose", "robot_mode"), ("DOUBLE", "VECTOR6D", "INT32"))
FIELDS: Final = ("timestamp", "robot_mode")
HELD_BYTES_MAX: Final = 2**16


def judge(stream: bytes) -> str:
    """A word for how it ended; raises `AssertionError` where something must not be."""
    words = []
    for length in (None, RECIPE.data_bytes):
        whole, word = _fed([stream], length)
        singly, same = _fed([stream[at : at + 1] for at in range(len(stream))], length)
        assert (whole, word) == (singly, same), "it matters where the stream was cut"
        sent = b"".join(package(kind, payload) for kind, payload in whole)
        assert stream.startswith(sent), "packages that were not in the stream"
        for kind, payload in whole:
            _judge_package(kind, payload, length)
        words.append(word)
    return " ".join(words)


def _fed(pieces: list[bytes], length: int | None) -> tuple[list[tuple[Kind, bytes]], str]:
    frames = Frames()
    frames.data_bytes = length
    found: list[tuple[Kind, bytes]] = []
    try:
        for piece in pieces:
            for each in frames.feed(piece):
                found.append(each)  # noqa: PERF402  what comes before a fault counts, as in the connector
    except Malformed:
        return found, "malformed"
    return found, "packages" if found else "nothing"


def _judge_package(kind: Kind, payload: bytes, length: int | None) -> None:
    assert len(payload) < HELD_BYTES_MAX
    if kind is Kind.DATA:
        assert length == len(payload), "a data package before there is a recipe, or of another length"
        try:
            values = RECIPE.unpack(payload)
        except Malformed:
            assert payload[0] != RECIPE.id
        else:
            assert [type(value) for value in values] == [float, tuple, int]
            assert payload == struct.pack(">Bd6di", RECIPE.id, values[0], *values[1], values[2])  # type: ignore[misc]
    if kind in (Kind.OUTPUTS, Kind.INPUTS):
        try:
            recipe = answered(FIELDS, payload)
        except Malformed:
            return
        assert len(recipe.types) == len(FIELDS)
        if not {IN_USE, NOT_FOUND} & set(recipe.types):
            assert recipe.data_bytes > 1


def seeds() -> Iterator[bytes]:
    """Right answers, to be spoilt."""
    yield package(Kind.PROTOCOL_VERSION, b"\1")
    yield package(Kind.CONTROLLER_VERSION, struct.pack(">4I", 5, 11, 0, 108))
    yield package(Kind.OUTPUTS, b"\1DOUBLE,INT32")
    yield package(Kind.OUTPUTS, b"\1NOT_FOUND,INT32")
    yield package(Kind.INPUTS, b"\2DOUBLE,IN_USE")
    yield package(Kind.START, b"\1")
    yield package(Kind.TEXT, b"\5hello\4here\1")
    yield package(Kind.DATA, struct.pack(">Bd6di", 1, 17.002, *[0.5] * 6, 7))


def spoilt(count: int, seed: int) -> Iterator[bytes]:
    """The seeds, each changed in a few places; the same ones for the same number."""
    luck = random.Random(seed)
    from_these = list(seeds())
    for _ in range(count):
        stream = bytearray(luck.choice(from_these) + luck.choice(from_these))
        for _ in range(luck.randrange(4)):
            at = luck.randrange(len(stream))
            match luck.randrange(4):
                case 0:
                    stream[at] ^= 1 << luck.randrange(8)
                case 1:
                    stream[at] = luck.choice((0, 1, 0x7F, 0x80, 0xFF))
                case 2:
                    del stream[at : at + luck.randrange(1, 9)]
                case _:
                    stream[at:at] = luck.randbytes(luck.randrange(1, 9))
            if not stream:
                break
        yield bytes(stream)
