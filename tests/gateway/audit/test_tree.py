"""The tree against its definition, against published roots, and the checks against altered proofs."""

from functools import cache
from hashlib import sha256

import pytest

from plantgate.audit.tree import (
    EMPTY,
    Frontier,
    NotProven,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
)

LEAVES = [bytes.fromhex(each) for each in ("", "00", "10", "2021", "3031", "40414243")] + [
    bytes(range(0x50, 0x58)),
    bytes(range(0x60, 0x70)),
]
"""The reference tree of RFC 6962 implementations (transparency-dev/merkle, testonly)."""
ROOTS = [
    "6e340b9cffb37a98",
    "fac54203e7cc696c",
    "aeb6bcfe274b70a1",
    "d37ee418976dd957",
    "4e3bbb1f7b478dcf",
    "76e67dadbcdf1e10",
    "ddb89be403809e32",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
MOST = 70


@cache
def by_definition(low: int, high: int) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    if high == low:
        return sha256(b"").digest()
    if high - low == 1:
        return leaf_hash(b"%d" % low)
    k = 1
    while k * 2 < high - low:
        k *= 2
    return node_hash(by_definition(low, low + k), by_definition(low + k, high))


def node(level: int, index: int) -> bytes:
    return by_definition(index << level, (index + 1) << level)


def test_the_reference_tree_has_the_published_roots() -> None:
    frontier = Frontier()
    assert frontier.root() == EMPTY
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        frontier.append(leaf_hash(leaf))
        assert frontier.root().hex().startswith(root)


def test_a_growing_tree_has_the_root_of_the_definition_at_every_size() -> None:
    frontier = Frontier()
    for size in range(MOST):
        assert frontier.root() == by_definition(0, size) == root_of(size, node)
        assert Frontier.of(size, node).root() == frontier.root()
        frontier.append(leaf_hash(b"%d" % size))


def test_every_entry_is_proven_at_every_size_and_no_other_in_its_place() -> None:
    for size in range(1, MOST):
        root = by_definition(0, size)
        for index in range(size):
            path = inclusion_proof(index, size, node)
            check_inclusion(leaf_hash(b"%d" % index), index, size, path, root)
            with pytest.raises(NotProven):
                check_inclusion(leaf_hash(b"another"), index, size, path, root)
            if size > 1:
                with pytest.raises(NotProven):
                    check_inclusion(leaf_hash(b"%d" % index), (index + 1) % size, size, path, root)


def test_every_past_is_proven_and_no_other() -> None:
    for size in range(MOST):
        for old in range(size + 1):
            path = consistency_proof(old, size, node)
            then, now = by_definition(0, old), by_definition(0, size)
            check_consistency(old, size, path, then, now)
            with pytest.raises(NotProven):
                check_consistency(old, size, path, leaf_hash(b"another"), now)
            if 0 < old < size:
                with pytest.raises(NotProven):
                    check_consistency(old, size, path, then, leaf_hash(b"another"))


@pytest.mark.parametrize("size", [2, 3, 7, 8, 33])
def test_a_proof_with_a_hash_more_less_or_altered_proves_nothing(size: int) -> None:
    root = by_definition(0, size)
    for index in range(size):
        leaf, path = leaf_hash(b"%d" % index), inclusion_proof(index, size, node)
        altered = [[*path, EMPTY], path[:-1], *([*path[:at], EMPTY, *path[at + 1 :]] for at in range(len(path)))]
        for wrong in altered:
            with pytest.raises(NotProven):
                check_inclusion(leaf, index, size, wrong, root)
    for old in range(1, size):
        path = consistency_proof(old, size, node)
        altered = [[*path, EMPTY], path[:-1], *([*path[:at], EMPTY, *path[at + 1 :]] for at in range(len(path)))]
        for wrong in altered:
            with pytest.raises(NotProven):
                check_consistency(old, size, wrong, by_definition(0, old), root)


def test_what_is_not_in_the_log_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="no entry 3 in a log of 3"):
        inclusion_proof(3, 3, node)
    with pytest.raises(ValueError, match="never one of 4"):
        consistency_proof(4, 3, node)
    with pytest.raises(NotProven, match="no entry 5"):
        check_inclusion(EMPTY, 5, 5, [], EMPTY)
    with pytest.raises(NotProven, match="never one of 6"):
        check_consistency(6, 5, [], EMPTY, EMPTY)
