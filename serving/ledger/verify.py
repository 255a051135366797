"""Verification of a whole ledger: every leaf, root, position, segment and checkpoint.

It reads through a connection that cannot write and reports the first contradiction by name; damage
is a finding, never an exception. Without a checkpoint, a log cut at its end by someone who also
adjusts the stored state of the tree, or one rewritten with all hashes, is consistent: only a
checkpoint kept elsewhere shows it.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson

from data_contracts.canonical import canonical_bytes
from data_contracts.errors import InputError
from serving.ledger import tree as merkle
from serving.ledger.checkpoint import (
    Checkpoint,
    public_key_file,
    read_checkpoint_lines,
    read_public_keys,
)
from serving.ledger.database import (
    Database,
    LedgerUnavailableError,
    Location,
    connect_for_reading,
    is_url,
    require_ledger,
)
from serving.ledger.envelope import ENVELOPE_KEYS, labels_of, request_sha256
from serving.ledger.findings import ContradictionError, Finding, VerifyReport
from serving.ledger.verify_segments import SegmentReader, segment_problems


@dataclass(frozen=True)
class _Segment:
    position: int
    body: dict[str, object]


def verify(
    where: Location,
    *,
    since: str | os.PathLike[str] | None = None,
    public_key: str | os.PathLike[str] | None = None,
    segment_reader: SegmentReader | None = None,
    base_dir: str | os.PathLike[str] | None = None,
) -> VerifyReport:
    """Check the ledger at ``where``, a path or a database URL.

    ``since`` is a checkpoint file; all its checkpoints are checked, with the keys in
    ``public_key``, by default ``<since>.pub``. ``segment_reader`` returns the decision hashes of a
    segment file in row order; without it the rows inside segments are not checked beyond the
    file's own hash. ``base_dir`` is what segment paths are relative to, by default the ledger's
    folder or, of one in a database, the working folder. Missing inputs (the ledger, the checkpoint
    file, the keys) raise ``InputError``.
    """
    require_ledger(where)
    default = Path() if is_url(where) else Path(where).parent
    checker = _Checker(where, Path(base_dir) if base_dir is not None else default)
    first_bad = None
    try:
        checkpoints = []
        if since is not None:
            keys_file = Path(public_key) if public_key is not None else None
            checkpoints = _signed_checkpoints(Path(since), keys_file)
        checker.check_database(checkpoints)
        checker.check_segments(segment_reader)
    except ContradictionError as bad:
        first_bad = bad.first_bad
    return VerifyReport(checker.tree.size, checker.segments_checked, first_bad is None, first_bad)


def _signed_checkpoints(since: Path, public_key: Path | None) -> list[Checkpoint]:
    lines = read_checkpoint_lines(since)
    keys = read_public_keys(public_key or public_key_file(since))
    checkpoints = []
    for number, line in enumerate(lines, 1):
        try:
            checkpoint = Checkpoint.parse(line)
        except InputError as error:
            raise ContradictionError(
                None, Finding.CHECKPOINT_UNREADABLE, f"{since} line {number}: {error}"
            ) from error
        key = keys.get(checkpoint.key_id)
        if key is None or not checkpoint.is_signed_by(key):
            reason = "no public key with this id" if key is None else "the signature does not match"
            raise ContradictionError(
                None,
                Finding.BAD_SIGNATURE,
                f"{since} line {number}, key {checkpoint.key_id}: {reason}",
            )
        checkpoints.append(checkpoint)
    return sorted(checkpoints, key=lambda checkpoint: checkpoint.size)


class _Checker:
    def __init__(self, where: Location, base_dir: Path) -> None:
        self.where = where
        self.base_dir = base_dir
        self.tree = merkle.CompactRange()
        self.segments: list[_Segment] = []
        self.segments_checked = 0
        self.labels = hashlib.sha256()

    def check_database(self, checkpoints: list[Checkpoint]) -> None:
        """Check everything inside the file, and the file against the checkpoints."""
        try:
            with closing(connect_for_reading(self.where)) as connection:
                roots = self._walk(connection, {checkpoint.size for checkpoint in checkpoints})
                self._check_tree_state(connection)
                self._check_checkpoints(checkpoints, roots)
                self._check_idempotency(connection)
                if connection.version >= 2:
                    self._check_labels(connection)
                problem = connection.integrity()
        except (ContradictionError, InputError, LedgerUnavailableError):
            raise
        except Exception as error:
            raise ContradictionError(
                None,
                Finding.DATABASE_UNREADABLE,
                f"after {self.tree.size} good entries: {error}",
            ) from error
        if problem is not None:
            raise ContradictionError(
                None, Finding.DATABASE_UNREADABLE, f"the file is damaged: {problem}"
            )

    def _walk(self, connection: Database, sizes: set[int]) -> dict[int, bytes]:
        """Rebuild the tree from the entries; return its roots at ``sizes``."""
        roots = {0: merkle.EMPTY_ROOT}
        for position, stored_leaf, stored_root, entry in connection.scan(
            "SELECT position, leaf_hash, root, entry FROM entries ORDER BY position"
        ):
            expected = self.tree.size
            if position != expected:
                raise ContradictionError(
                    expected,
                    Finding.MISSING_ENTRY,
                    f"positions have no gap: expected {expected}, found {position}",
                )
            if not all(isinstance(value, bytes) for value in (stored_leaf, stored_root, entry)):
                raise ContradictionError(
                    position, Finding.ENTRY_CHANGED, "a column no longer holds bytes"
                )
            leaf = merkle.leaf_hash(entry)
            if leaf != stored_leaf:
                raise self._name_leaf(connection, position, leaf, stored_leaf, stored_root)
            if self.tree.root_after(leaf) != stored_root:
                raise self._name_root(connection, position, leaf, stored_root)
            kind, body = _canonical_entry(position, entry)
            for label in labels_of(kind, body):
                self.labels.update(_label_bytes(label, position))
            if kind == "segment":
                self.segments.append(_Segment(position, body))
            self.tree.append(leaf)
            if self.tree.size in sizes:
                roots[self.tree.size] = stored_root
        return roots

    def _name_leaf(
        self,
        connection: Database,
        position: int,
        leaf: bytes,
        stored_leaf: bytes,
        stored_root: bytes,
    ) -> ContradictionError:
        if self.tree.root_after(leaf) == stored_root:
            return ContradictionError(
                position,
                Finding.LEAF_HASH_CHANGED,
                "the entry leads to the stored root; the stored leaf hash is wrong",
            )
        # Swapped entries: the one whose leaf hash is stored here lies elsewhere.
        for other, entry in connection.execute(
            "SELECT position, entry FROM entries WHERE leaf_hash = ?", (leaf,)
        ):
            if isinstance(entry, bytes) and merkle.leaf_hash(entry) == stored_leaf:
                return _swapped(position, other)
        return ContradictionError(
            position,
            Finding.ENTRY_CHANGED,
            f"leaf hash is {leaf.hex()}, stored is {stored_leaf.hex()}",
        )

    def _name_root(
        self, connection: Database, position: int, leaf: bytes, stored_root: bytes
    ) -> ContradictionError:
        after = connection.execute(
            "SELECT position, leaf_hash, root FROM entries WHERE position > ? ORDER BY position",
            (position,),
        )
        for other, other_leaf, other_root in after:
            if not (isinstance(other_leaf, bytes) and isinstance(other_root, bytes)):
                continue
            if other == position + 1 and self.tree.root_after(leaf, other_leaf) == other_root:
                return ContradictionError(
                    position,
                    Finding.ROOT_CHANGED,
                    "the next stored root follows from this entry; the root stored here is wrong",
                )
            # Rows swapped with their hashes: with the other row's leaf here, a stored root fits.
            if self.tree.root_after(other_leaf) in (stored_root, other_root):
                return _swapped(position, other)
        return ContradictionError(
            position,
            Finding.ENTRY_CHANGED,
            "the stored root does not follow from the entries up to here: this one or its root "
            "was changed, or one was taken out and the rest renumbered",
        )

    def _check_tree_state(self, connection: Database) -> None:
        row = connection.execute("SELECT size, peaks FROM tree").fetchone()
        size, peaks = row or (None, None)
        if isinstance(size, int) and size > self.tree.size:
            raise ContradictionError(
                self.tree.size,
                Finding.TRUNCATED,
                f"the stored state of the tree counts {size} entries, {self.tree.size} are left",
            )
        if (size, peaks) != (self.tree.size, self.tree.to_bytes()):
            raise ContradictionError(
                None,
                Finding.TREE_STATE_CHANGED,
                f"the stored state of the tree is not that of the {self.tree.size} entries",
            )

    def _check_checkpoints(self, checkpoints: list[Checkpoint], roots: dict[int, bytes]) -> None:
        agreed = 0
        for checkpoint in checkpoints:
            if checkpoint.size > self.tree.size:
                raise ContradictionError(
                    self.tree.size,
                    Finding.TRUNCATED,
                    f"the checkpoint of {checkpoint.time} counts {checkpoint.size} entries, "
                    f"{self.tree.size} are left",
                )
            if roots[checkpoint.size].hex() != checkpoint.root:
                raise ContradictionError(
                    None,
                    Finding.REWRITTEN,
                    f"an entry from position {agreed} to {checkpoint.size - 1} is not the one "
                    f"under the checkpoint of {checkpoint.time}",
                )
            agreed = checkpoint.size

    def _check_idempotency(self, connection: Database) -> None:
        rows = connection.execute(
            "SELECT i.position, i.request_sha256, e.entry FROM idempotency i "
            "LEFT JOIN entries e ON e.position = i.position ORDER BY i.position"
        )
        for position, stored, entry in rows:
            if entry is not None:
                document = orjson.loads(entry)
                wanted = request_sha256(document["kind"], canonical_bytes(document["body"]))
            if entry is None or stored != wanted:
                raise ContradictionError(
                    position if isinstance(position, int) else None,
                    Finding.IDEMPOTENCY_CHANGED,
                    "an idempotency key points at an entry other than the one it was recorded with",
                )

    def _check_labels(self, connection: Database) -> None:
        """The labels are those that follow from the entries: in the same order, the same hash."""
        stored = hashlib.sha256()
        for label, position in connection.scan(
            "SELECT label, position FROM labels ORDER BY position, label"
        ):
            text = label if isinstance(label, str) else bytes(label).decode(errors="replace")
            stored.update(_label_bytes(text, position))
        if stored.digest() != self.labels.digest():
            raise ContradictionError(
                None,
                Finding.LABELS_CHANGED,
                "the labels by which entries are found are not those of the entries",
            )

    def check_segments(self, reader: SegmentReader | None) -> None:
        """Check the files that the segment entries name."""
        for segment in self.segments:
            problem = next(segment_problems(segment.body, self.base_dir, reader), None)
            if problem is not None:
                raise ContradictionError(segment.position, *problem)
            self.segments_checked += 1


def _label_bytes(label: str, position: object) -> bytes:
    return f"{position}\x1f{label}\n".encode()


def _swapped(position: int, other: int) -> ContradictionError:
    return ContradictionError(
        position,
        Finding.ENTRIES_SWAPPED,
        f"the entry that belongs here is at position {other}",
    )


def _canonical_entry(position: int, entry: bytes) -> tuple[str, dict[str, object]]:
    """Return kind and body of an entry in strict canonical form."""
    try:
        document = orjson.loads(entry)
        problem = "" if canonical_bytes(document) == entry else "the bytes are not canonical JSON"
    except ValueError as error:  # not JSON, or InputError: not canonical
        problem = str(error)
    if not problem and not (
        isinstance(document, dict)
        and document.keys() == ENVELOPE_KEYS
        and isinstance(document["body"], dict)
        and all(isinstance(document[key], str) for key in ENVELOPE_KEYS - {"body"})
    ):
        problem = f"an entry has the keys {', '.join(sorted(ENVELOPE_KEYS))}"
    if problem:
        raise ContradictionError(position, Finding.NOT_CANONICAL, problem)
    return document["kind"], document["body"]
