"""The Merkle tree of RFC 9162, section 2.1, as pure functions over leaf hashes.

Leaves are hashed with a leading 0x00 and inner nodes with a leading 0x01, so that no leaf can be
passed off as a node. All functions but ``leaf_hash`` take leaf hashes, not leaf data.
"""

import hashlib
from collections.abc import Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the tree head over ``leaf_hashes``; of none, SHA-256 of the empty string.

    >>> root([]).hex()[:8]
    'e3b0c442'
    """
    if not leaf_hashes:
        return EMPTY_ROOT
    level = list(leaf_hashes)
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the hashes that lead from leaf ``index`` to the root (RFC 9162, 2.1.3.1)."""
    if not 0 <= index < len(leaf_hashes):
        raise IndexError(f"a tree of {len(leaf_hashes)} leaves has no leaf {index}")
    proof = []
    level = list(leaf_hashes)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        level = _level_above(level)
        index >>= 1
    return proof


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes
) -> bool:
    """Say whether ``leaf`` is leaf ``index`` of the tree of ``size`` leaves (2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, running = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            running = node_hash(sibling, running)
            while node and not node & 1:
                node >>= 1
                last >>= 1
        else:
            running = node_hash(running, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and running == expected_root


def consistency_proof(leaf_hashes: Sequence[bytes], first_size: int) -> list[bytes]:
    """Return the hashes showing that the first ``first_size`` leaves are a prefix (2.1.4.1)."""
    if not 0 <= first_size <= len(leaf_hashes):
        raise IndexError(f"a tree of {len(leaf_hashes)} leaves has no prefix of {first_size}")
    if first_size == 0:
        return []
    return _subproof(first_size, leaf_hashes, whole=True)


def verify_consistency(
    first_size: int,
    second_size: int,
    first_root: bytes,
    second_root: bytes,
    proof: Sequence[bytes],
) -> bool:
    """Say whether the tree of ``first_size`` leaves is a prefix of the second (2.1.4.2)."""
    if not 0 <= first_size <= second_size:
        return False
    if first_size == 0:
        return not proof and first_root == EMPTY_ROOT
    if first_size == second_size:
        return not proof and first_root == second_root
    path = list(proof)
    if first_size & (first_size - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    node, last = first_size - 1, second_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    first_running = second_running = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first_running = node_hash(sibling, first_running)
            second_running = node_hash(sibling, second_running)
            while node and not node & 1:
                node >>= 1
                last >>= 1
        else:
            second_running = node_hash(second_running, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and first_running == first_root and second_running == second_root


class CompactRange:
    """The roots of the perfect subtrees of a growing tree, largest first.

    They are all that appending needs: one append costs O(log n) hashes and the range holds
    O(log n) of them.

    >>> tree = CompactRange()
    >>> tree.append(leaf_hash(b"a")); tree.append(leaf_hash(b"b"))
    >>> tree.root() == root([leaf_hash(b"a"), leaf_hash(b"b")])
    True
    """

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if size < 0 or len(self.peaks) != size.bit_count():
            raise ValueError(
                f"a tree of {size} leaves has one peak per set bit of its size: "
                f"got {len(self.peaks)} peaks"
            )

    @classmethod
    def from_bytes(cls, size: int, packed: bytes) -> "CompactRange":
        """Read what ``to_bytes`` wrote."""
        if len(packed) % HASH_BYTES:
            raise ValueError(f"peaks are {HASH_BYTES} bytes each: got {len(packed)} bytes")
        return cls(size, (packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)))

    def to_bytes(self) -> bytes:
        """Return the peaks, largest first, joined."""
        return b"".join(self.peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash on the right."""
        self.peaks.append(leaf)
        carry = self.size
        while carry & 1:
            right = self.peaks.pop()
            self.peaks.append(node_hash(self.peaks.pop(), right))
            carry >>= 1
        self.size += 1

    def root(self) -> bytes:
        """Return the tree head."""
        if not self.peaks:
            return EMPTY_ROOT
        running = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            running = node_hash(peak, running)
        return running

    def root_after(self, *leaves: bytes) -> bytes:
        """Return the tree head as it would be with ``leaves`` added, adding none."""
        copy = CompactRange(self.size, self.peaks)
        for leaf in leaves:
            copy.append(leaf)
        return copy.root()


def _level_above(level: list[bytes]) -> list[bytes]:
    above = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    if len(level) % 2:
        above.append(level[-1])  # a node without sibling rises unchanged
    return above


def _subproof(first_size: int, leaves: Sequence[bytes], *, whole: bool) -> list[bytes]:
    size = len(leaves)
    if first_size == size:
        return [] if whole else [root(leaves)]
    split = 1 << ((size - 1).bit_length() - 1)
    if first_size <= split:
        return [*_subproof(first_size, leaves[:split], whole=whole), root(leaves[split:])]
    return [
        *_subproof(first_size - split, leaves[split:], whole=False),
        root(leaves[:split]),
    ]
