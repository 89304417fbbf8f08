"""Batches as bytes: what comes back, and what is refused."""

import math
import random

import pytest

from plantgate.sdk import Batch, Gap, Sample, Value
from plantgate.store.codec import VERSION, Unreadable, decode, encode, halves


def test_columns_whose_samples_are_alike_are_stored_once() -> None:
    alike = Batch(["a"] * 100, [1] * 100, [0] * 100, [5] * 100)
    different = Batch(["a"] * 100, [1] * 100, [n % 2 for n in range(100)], [n % 2 + 300 for n in range(100)])
    for batch in (alike, different):
        assert list(decode(encode(batch))) == list(batch)
    assert len(encode(alike)) < len(encode(different)) - 300


def test_not_a_number_and_the_infinities_are_values() -> None:
    batch = Batch(["a", "b", "c"], [math.nan, math.inf, -math.inf], [0, 0, 0], [None, None, None])
    values = decode(encode(batch)).values
    assert isinstance(values[0], float)
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


def test_integers_of_any_size_keep_their_value() -> None:
    luck = random.Random(1)
    values: list[Value] = [luck.choice((-1, 1)) * luck.getrandbits(bits) for bits in range(1, 300)]
    values += [2**63, -(2**63), -(2**63) - 1, 2**64, [2**70, {"x": -(2**70)}]]
    batch = Batch(["a"] * len(values), values, [0] * len(values), [0] * len(values))
    assert decode(encode(batch)).values == values


def test_a_batch_of_another_version_is_refused_by_number() -> None:
    content = bytearray(encode(Batch(["a"], [1], [0], [0])))
    content[0] = VERSION + 1
    with pytest.raises(Unreadable, match=r"encoding version 2, this plantgate reads 1"):
        decode(bytes(content))
    with pytest.raises(Unreadable, match="encoding version none"):
        decode(b"")


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(Unreadable, match="columns of different lengths, 2 tags"):
        decode(encode(Batch(["a", "b"], [1], [0, 0], [0, 0])))


def test_whatever_the_bytes_are_they_decode_or_are_refused() -> None:
    luck = random.Random(2)
    gap = Gap(("a",), 1, 2, "session lost", 3)
    whole = encode(Batch(["a", "b"], [[1, {"k": "v"}], 2**80], [0, 1], [5, None], gaps=(gap,), received=9))
    refused = 0
    for _ in range(20_000):
        content = bytearray(whole)
        for _ in range(luck.randrange(1, 4)):
            content[luck.randrange(len(content))] = luck.randrange(256)
        try:
            batch = decode(bytes(content[: luck.randrange(1, len(content) + 1)]))
            assert len(batch.tags) == len(batch.values) == len(batch.qualities) == len(batch.times)
        except Unreadable:
            refused += 1
    assert refused > 10_000


def test_halves_hold_what_the_whole_held() -> None:
    gap = Gap(("a",), 1, 2, "session lost", 3)
    batch = Batch.of([Sample("a", n, 0, n) for n in range(7)], gaps=(gap,))
    batch.received = 5
    first, second = halves(batch)
    assert [*first, *second] == list(batch)
    assert (first.gaps, second.gaps) == ((gap,), ())
    assert first.received == second.received == 5
