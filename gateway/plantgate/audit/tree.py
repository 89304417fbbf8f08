"""The Merkle tree of a log: hashes, proofs, and how a proof is checked.

Source: RFC 6962 section 2.1 (tree and proofs) and RFC 9162 sections 2.1.3.2 and 2.1.4.2 (checking them). The checks do
not share code with what makes the proofs, so that one is a test of the other.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final

HASH_SIZE: Final = 32
EMPTY: Final = sha256(b"").digest()
"""Root of a log without entries."""

Node = Callable[[int, int], bytes]
"""The hash of a perfect subtree: ``node(level, index)`` covers the entries ``index << level`` to
``(index + 1) << level``."""


class NotProven(ValueError):
    """A proof does not show what it should; the message says where it fails."""


def leaf_hash(entry: bytes) -> bytes:
    """The leaf of an entry."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node above two others."""
    return sha256(b"\1" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: enough to append and to know the root, and nothing else.

    One hash for each bit that is set in the size, largest subtree first.
    """

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self._hashes = list(hashes)
        if len(self._hashes) != size.bit_count():
            raise ValueError(f"{len(self._hashes)} hashes for a tree of {size}, which has {size.bit_count()}")

    @classmethod
    def of(cls, size: int, node: Node) -> "Frontier":
        """Of a tree whose nodes can be had."""
        return cls(size, [node(level, index) for level, index in _perfect(0, size)])

    def append(self, leaf: bytes) -> None:
        """One entry more, by its leaf hash."""
        size = self.size
        while size & 1:
            leaf = node_hash(self._hashes.pop(), leaf)
            size >>= 1
        self._hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root now."""
        return fold(self._hashes)


def root_of(size: int, node: Node) -> bytes:
    """The root of the first `size` entries of a tree."""
    return _subtree(0, size, node)


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """The hashes, leaf to root, that lead from entry `index` to the root of the first `size` entries."""
    if not 0 <= index < size:
        raise ValueError(f"there is no entry {index} in a log of {size}")
    low, high, path = 0, size, []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_subtree(middle, high, node))
            high = middle
        else:
            path.append(_subtree(low, middle, node))
            low = middle
    return path[::-1]


def consistency_proof(old: int, size: int, node: Node) -> list[bytes]:
    """The hashes that show that the first `old` entries of a log of `size` are the log of then."""
    if not 0 <= old <= size:
        raise ValueError(f"a log of {size} was never one of {old}")
    if old in (0, size):
        return []
    low, high, whole, path = 0, size, True, []
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_subtree(middle, high, node))
            high = middle
        else:
            path.append(_subtree(low, middle, node))
            low, whole = middle, False
    if not whole:
        path.append(_subtree(low, high, node))
    return path[::-1]


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raises `NotProven` unless the path leads from the leaf to the root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        raise NotProven(f"there is no entry {index} in a log of {size}")
    first, last, seen = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise NotProven("the inclusion proof is too long")
        if first & 1 or first == last:
            seen = node_hash(sibling, seen)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            seen = node_hash(seen, sibling)
        first >>= 1
        last >>= 1
    if last:
        raise NotProven("the inclusion proof is too short")
    if seen != root:
        raise NotProven(f"entry {index} is not in the log: the proof leads to another root")


def check_consistency(old: int, size: int, path: Sequence[bytes], old_root: bytes, root: bytes) -> None:
    """Raises `NotProven` unless the log of `size` is the log of `old`, grown (RFC 9162, 2.1.4.2).

    From a log without entries every log has grown, by an empty proof (as c2sp.org/tlog-witness has it).
    """
    if not 0 <= old <= size:
        raise NotProven(f"a log of {size} was never one of {old}")
    if old in (0, size):
        if path:
            raise NotProven("a consistency proof where none is needed")
        if old_root != (EMPTY if old == 0 else root):
            raise NotProven("two logs of the same size with different roots")
        if size == 0 and root != EMPTY:
            raise NotProven("a log without entries has one root, and this is another")
        return
    hashes = list(path)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise NotProven("the consistency proof is empty")
    first, last = old - 1, size - 1
    while first & 1:
        first >>= 1
        last >>= 1
    then = now = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise NotProven("the consistency proof is too long")
        if first & 1 or first == last:
            then, now = node_hash(sibling, then), node_hash(sibling, now)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            now = node_hash(now, sibling)
        first >>= 1
        last >>= 1
    if last:
        raise NotProven("the consistency proof is too short")
    if then != old_root:
        raise NotProven(f"the log of {size} is not the log of {old}, grown: its past is another")
    if now != root:
        raise NotProven(f"the consistency proof leads to another root of {size} entries")


def _split(size: int) -> int:
    """The largest power of two below a size above 1: where RFC 6962 divides a tree."""
    return 1 << (size - 1).bit_length() - 1


def _perfect(low: int, high: int) -> Iterable[tuple[int, int]]:
    """The perfect subtrees that a range consists of, left to right, as (level, index)."""
    while low < high:
        level = min((low & -low).bit_length() - 1 if low else 63, (high - low).bit_length() - 1)
        yield level, low >> level
        low += 1 << level


def _subtree(low: int, high: int, node: Node) -> bytes:
    return fold([node(level, index) for level, index in _perfect(low, high)])


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees, given largest first."""
    if not hashes:
        return EMPTY
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root
