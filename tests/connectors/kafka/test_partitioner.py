"""A key is in the partition where other producers put it."""

import random

from aiokafka.partitioner import DefaultPartitioner

from plantgate_connectors.kafka.partitioner import Partitioner, murmur2, partition_of


def test_murmur2_gives_what_javas_gives() -> None:
    """The figures of Kafka's own UtilsTest.testMurmur2."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    for key, hashed in known.items():
        assert murmur2(key) == hashed & 0xFFFFFFFF


def test_every_key_is_where_aiokafka_puts_it() -> None:
    luck, theirs = random.Random("keys"), DefaultPartitioner()
    for length in range(40):
        for count in (1, 3, 7, 100):
            key = luck.randbytes(length)
            assert partition_of(key, count) == theirs(key, list(range(count)), [])


def test_a_tag_that_is_no_unicode_has_a_partition_too() -> None:
    assert 0 <= Partitioner(5)["line/\ud800"] < 5
