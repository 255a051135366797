"""The Merkle tree of RFC 9162.

The eight inputs, the roots and the paths below are the reference vectors of Google's
certificate-transparency project (merkletree/merkle_tree_test.cc), which RFC 6962 was written with.
"""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.ledger.tree import (
    CompactRange,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

INPUTS = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {  # (leaf, size): audit path
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
REFERENCE_LEAVES = [leaf_hash(bytes.fromhex(text)) for text in INPUTS]
LARGEST_TREE = 64
LEAVES = [leaf_hash(str(number).encode()) for number in range(LARGEST_TREE + 1)]
ROOT_OF_SIZE = [root(LEAVES[:size]) for size in range(LARGEST_TREE + 2)]


def recursive_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 9162, 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(recursive_root(leaves[:split]), recursive_root(leaves[split:]))


@pytest.mark.parametrize("size", range(9))
def test_the_root_is_that_of_the_reference_vectors(size: int) -> None:
    assert root(REFERENCE_LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize("leaf_and_size", PATHS)
def test_the_inclusion_proof_is_that_of_the_reference_vectors(
    leaf_and_size: tuple[int, int],
) -> None:
    index, size = leaf_and_size
    proof = inclusion_proof(REFERENCE_LEAVES[:size], index)
    assert [step.hex() for step in proof] == PATHS[leaf_and_size]


def test_the_root_is_the_recursive_definition_at_every_size() -> None:
    for size in range(LARGEST_TREE + 1):
        assert root(LEAVES[:size]) == recursive_root(LEAVES[:size])


def test_a_tree_grown_leaf_by_leaf_has_the_root_of_the_whole_and_survives_packing() -> None:
    tree = CompactRange()
    for size, leaf in enumerate(LEAVES):
        assert tree.root() == ROOT_OF_SIZE[size]
        assert tree.root_after(leaf) == ROOT_OF_SIZE[size + 1]
        tree = CompactRange.from_bytes(tree.size, tree.to_bytes())
        tree.append(leaf)


def test_packed_peaks_that_do_not_fit_the_size_are_refused() -> None:
    with pytest.raises(
        ValueError, match="a tree of 3 leaves has one peak per set bit of its size: got 1 peaks"
    ):
        CompactRange.from_bytes(3, LEAVES[0])
    with pytest.raises(ValueError, match="peaks are 32 bytes each: got 31 bytes"):
        CompactRange.from_bytes(1, LEAVES[0][1:])


def test_every_inclusion_proof_holds_and_no_other_leaf_index_or_size_does() -> None:
    for size in range(1, LARGEST_TREE + 1):
        for index in range(size):
            proof = inclusion_proof(LEAVES[:size], index)
            whole = ROOT_OF_SIZE[size]
            assert verify_inclusion(LEAVES[index], index, size, proof, whole)
            assert not verify_inclusion(LEAVES[size], index, size, proof, whole)
            assert not verify_inclusion(LEAVES[index], index + 1, size, proof, whole)
            assert not verify_inclusion(LEAVES[index], index, size, [*proof, whole], whole)


def test_every_consistency_proof_holds_and_none_for_another_prefix() -> None:
    for second in range(1, LARGEST_TREE + 1):
        for first in range(second + 1):
            proof = consistency_proof(LEAVES[:second], first)
            roots = ROOT_OF_SIZE[first], ROOT_OF_SIZE[second]
            assert verify_consistency(first, second, *roots, proof)
            assert not verify_consistency(first, second, leaf_hash(b"x"), roots[1], proof)
            assert not verify_consistency(first, second, *roots, [*proof, roots[0]])
            if first:
                assert not verify_consistency(first, second, roots[0], leaf_hash(b"x"), proof)


def flip(proof: list[bytes], at: int) -> list[bytes]:
    changed = bytearray(b"".join(proof))
    changed[at % len(changed)] ^= 1 << at % 8
    return [bytes(changed[start : start + 32]) for start in range(0, len(changed), 32)]


@given(st.data())
def test_a_proof_with_one_flipped_bit_never_holds(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, LARGEST_TREE))
    index = data.draw(st.integers(0, size - 1))
    at = data.draw(st.integers(0, 10_000))
    proof = flip(inclusion_proof(LEAVES[:size], index), at)
    assert not verify_inclusion(LEAVES[index], index, size, proof, ROOT_OF_SIZE[size])
    first = data.draw(st.integers(1, size - 1))
    proof = flip(consistency_proof(LEAVES[:size], first), at)
    assert not verify_consistency(first, size, ROOT_OF_SIZE[first], ROOT_OF_SIZE[size], proof)


def test_a_leaf_is_never_taken_for_a_node() -> None:
    left, right = LEAVES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)


def test_asking_for_a_leaf_outside_the_tree_is_refused() -> None:
    with pytest.raises(IndexError, match="a tree of 3 leaves has no leaf 3"):
        inclusion_proof(LEAVES[:3], 3)
    with pytest.raises(IndexError, match="a tree of 3 leaves has no prefix of 4"):
        consistency_proof(LEAVES[:3], 4)
    assert not verify_inclusion(LEAVES[0], -1, 3, [], LEAVES[0])
    assert not verify_consistency(2, 1, LEAVES[0], LEAVES[0], [])
