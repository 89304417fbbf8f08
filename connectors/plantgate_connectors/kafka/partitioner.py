"""Which partition a key belongs to: what Java's clients say, so that its records are together, whoever wrote them."""

from typing import Final

_CACHED_MOST: Final = 200_000
_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


class Partitioner(dict[str, int]):
    """Tag to partition. Reckoned once for each tag."""

    def __init__(self, partitions: int) -> None:
        super().__init__()
        self.partitions = partitions

    def __missing__(self, tag: str) -> int:
        if len(self) >= _CACHED_MOST:
            self.clear()
        partition = self[tag] = partition_of(key_of(tag), self.partitions)
        return partition


class Keys(dict[str, bytes]):
    """Tag to key."""

    def __missing__(self, tag: str) -> bytes:
        if len(self) >= _CACHED_MOST:
            self.clear()
        key = self[tag] = key_of(tag)
        return key


def key_of(tag: str) -> bytes:
    """UTF-8; half a surrogate pair, which is no character, becomes a question mark."""
    return tag.encode(errors="replace")


def partition_of(key: bytes, partitions: int) -> int:
    """As Java's DefaultPartitioner: a positive murmur2, modulo."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(key: bytes) -> int:
    """MurmurHash2, 32 bits, with Kafka's seed (org.apache.kafka.common.utils.Utils)."""
    length = len(key)
    mixed = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * _M & _MASK
        word = (word ^ word >> 24) * _M & _MASK
        mixed = mixed * _M & _MASK ^ word
    if whole < length:
        mixed = (mixed ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    mixed = (mixed ^ mixed >> 13) * _M & _MASK
    return mixed ^ mixed >> 15
