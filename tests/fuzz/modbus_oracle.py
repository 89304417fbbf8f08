"""What must hold for any bytes at all that a Modbus device may send."""

import random
from collections.abc import Iterator
from typing import Final

from plantgate_connectors.modbus.mbap import Frame, Malformed, Mbap
from plantgate_connectors.modbus.pdu import Broken, Read, Refused, answer
from plantgate_connectors.modbus.rtu import Rtu, crc

READS: Final = (Read(3, 0, 1), Read(3, 0, 125), Read(4, 7, 2), Read(1, 0, 9), Read(2, 0, 2000))
HELD_BYTES_MAX: Final = 512


def judge(stream: bytes) -> str:
    """A word for how it ended; raises `AssertionError` where something must not be."""
    words = {_judge_mbap(stream), _judge_rtu(stream)}
    return " ".join(sorted(words))


def _judge_mbap(stream: bytes) -> str:
    whole, word = _fed(Mbap(), [stream])
    singly, same = _fed(Mbap(), [stream[at : at + 1] for at in range(len(stream))])
    assert word == same, "it matters where the stream was cut"
    assert whole == singly[: len(whole)], "cut otherwise, the frames differ"
    sent = b"".join(Mbap().frame(frame.transaction, frame.unit, frame.pdu) for frame in singly)
    assert stream.startswith(sent), "frames that were not in the stream"
    _judge_answers(whole)
    return word


def _judge_rtu(stream: bytes) -> str:
    framing = Rtu()
    frames, word = _fed(framing, [stream])
    at = 0
    for frame in frames:
        sent = framing.frame(0, frame.unit, frame.pdu)
        found = stream.find(sent, at)
        assert found >= 0, "a frame that was not in the stream"
        at = found + len(sent)
    assert framing.forget() <= HELD_BYTES_MAX, "more is held than a frame and a piece"
    _judge_answers(frames)
    return f"rtu {word}"


def _fed(framing: Mbap | Rtu, pieces: list[bytes]) -> tuple[list[Frame], str]:
    frames: list[Frame] = []
    try:
        for piece in pieces:
            frames += framing.feed(piece)
    except Malformed:
        return frames, "malformed"
    return frames, "frames" if frames else "nothing"


def _judge_answers(frames: list[Frame]) -> None:
    for frame in frames:
        assert len(frame.pdu) >= 2
        for read in READS:
            came = answer(read, frame.pdu)
            if isinstance(came, bytes):
                assert len(came) == read.payload_bytes, "a payload of another length than asked for"
                assert frame.pdu[0] == read.function
            else:
                assert isinstance(came, Refused | Broken)


def seeds() -> Iterator[bytes]:
    """Right answers of both framings, to be spoilt."""
    pdus = [
        b"\x03\x02\x00\x07",
        b"\x83\x02",
        b"\x04\x04\x00\x01\x00\x02",
        b"\x01\x02\xff\x01",
        b"\x03\xfa" + bytes(250),
    ]
    for number, pdu in enumerate(pdus):
        yield Mbap().frame(number, 1, pdu)
        yield b"\x01" + pdu + crc(b"\x01" + pdu)
    yield b"".join(Mbap().frame(number, 1, pdu) for number, pdu in enumerate(pdus))
    yield b"".join(b"\x01" + pdu + crc(b"\x01" + pdu) for pdu in pdus)


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
