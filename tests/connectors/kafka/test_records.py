"""Record batches as they come: read, or named; never a wrong value, never more memory than allowed."""

import gzip
import random
import struct
from importlib.util import find_spec
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from plantgate.testing.reading import measured
from plantgate_connectors.kafka.records import chunks

MOST = 2**20


def record_batch(*values: bytes | None, codec: int = 0) -> bytes:
    """As aiokafka's producer makes it."""
    builder: Any = DefaultRecordBatchBuilder(2, codec, 0, 7, 0, 0, 2**30)
    for place, value in enumerate(values):
        builder.append(place, 1_700_000_000_000, b"key", value, [])
    return bytes(builder.build())


def changed(raw: bytes, at: int, field: str, value: int, *, mend: bool = True) -> bytes:
    """With another number in its head, and a checksum that fits."""
    new = bytearray(raw)
    struct.pack_into(field, new, at, value)
    if mend:
        struct.pack_into(">I", new, 17, calc_crc32c(bytes(new[21:])))
    return bytes(new)


@pytest.mark.parametrize("codec", [0, 1])
def test_records_are_read_tombstones_among_them(codec: int) -> None:
    raw = record_batch(b"1", None, b"x" * 1_100_000, codec=codec) + record_batch(b"2", codec=codec)
    first, second = chunks(raw, (), bytes_max=2 * MOST)
    assert [record.value for record in first.records] == [b"1", None, b"x" * 1_100_000]
    assert (first.first, first.after, second.first) == (0, 3, 0)
    assert [record.value for record in second.records] == [b"2"]


def test_a_batch_cut_short_is_left_for_the_next_answer() -> None:
    raw = record_batch(b"1")
    assert len(list(chunks(raw + raw[:-1], (), bytes_max=MOST))) == 1


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (changed(record_batch(b"1"), 16, ">b", 1, mend=False), "record format 1"),
        (changed(record_batch(b"1"), 16, ">b", 9, mend=False), "record format 9"),
        (changed(record_batch(b"1"), 21, ">h", 6), "unknown compression 6"),
        (changed(record_batch(b"1"), 57, ">i", 2**31 - 1), "damaged"),
        (changed(record_batch(b"1"), 57, ">i", -5), "damaged"),
        (record_batch(b"1")[:-1] + b"\x7f", "checksum"),
        (changed(record_batch(b"1"), 21, ">h", 1), "gzip"),
        (record_batch(b"x" * (MOST + 1)), "the most is"),
    ],
)
def test_a_batch_that_cannot_be_read_is_named_and_the_next_one_is_read(raw: bytes, problem: str) -> None:
    bad, good = chunks(raw + record_batch(b"2"), (), bytes_max=MOST)
    assert problem in bad.problem
    assert bad.lost >= 1
    assert not bad.records
    assert [record.value for record in good.records] == [b"2"]


def test_a_kilobyte_that_unpacks_to_a_gigabyte_stops_at_the_limit() -> None:
    packed = gzip.compress(bytes(2**27))
    head = bytearray(record_batch(b"1")[:61])
    struct.pack_into(">i", head, 8, 49 + len(packed))
    bomb = changed(bytes(head) + packed, 21, ">h", 1)
    with measured() as held:
        (found,) = chunks(bomb, (), bytes_max=MOST)
        assert held() < 4 * MOST
    assert "unpacks to more than" in found.problem


def test_a_batch_that_needs_a_library_says_which_and_is_not_lost() -> None:
    (found,) = chunks(changed(record_batch(b"1"), 21, ">h", 4), (), bytes_max=MOST)
    if find_spec("cramjam") is None:
        assert found.mendable
        assert "zstd, which needs the package cramjam" in found.problem
    else:
        assert "zstd: damaged" in found.problem


def test_records_of_transactions_that_were_given_up_are_left_out() -> None:
    raw = changed(record_batch(b"no"), 21, ">h", 0x10)
    assert [chunk.records for chunk in chunks(raw, [(7, 0)], bytes_max=MOST)] == [()]
    assert len(next(chunks(raw, [(8, 0)], bytes_max=MOST)).records) == 1


def test_whatever_the_bytes_are_nothing_is_raised() -> None:
    luck = random.Random("bytes")
    good = record_batch(b"1", b"2", codec=1) + record_batch(b"3")
    for _ in range(3000):
        raw = bytearray(good)
        for _ in range(luck.randrange(1, 6)):
            raw[luck.randrange(len(raw))] = luck.randrange(256)
        mended = bytes(raw)
        if luck.random() < 0.5 and len(mended) > 61:
            mended = changed(mended, 0, ">q", 0)
        for chunk in chunks(mended[: luck.randrange(len(mended) + 1)], (), bytes_max=MOST):
            assert len(chunk.records) <= 3
