"""The reading side: entries, proofs and the export, from a connection that cannot write."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson

from data_contracts.errors import InputError
from serving.ledger import tree as merkle
from serving.ledger.database import READ_ERRORS, connect_for_reading, damaged

# Entries fetched per view of the file: a slow reader must not keep the write-ahead log growing.
_ENTRIES_PER_VIEW = 1000


@dataclass(frozen=True)
class StoredEntry:
    """An entry as recorded."""

    position: int
    kind: str
    body: dict[str, object]
    entry_id: str
    recorded_at: str


def read_entries(
    path: str | os.PathLike[str], start: int = 0, stop: int | None = None
) -> Iterator[StoredEntry]:
    """Yield the entries from position ``start`` up to, not including, ``stop``."""
    for position, entry in _raw_entries(Path(path), start, stop):
        try:
            document = orjson.loads(entry)
            stored = StoredEntry(
                position,
                document["kind"],
                document["body"],
                document["entry_id"],
                document["recorded_at"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(Path(path), f"position {position} holds no entry ({error})") from error
        yield stored


def export(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yield every entry as one line of canonical JSON, in order of position.

    A line without its newline is the leaf data: whoever holds the export can rebuild the tree.
    """
    for _, entry in _raw_entries(Path(path), 0, None):
        yield entry + b"\n"


def prove(path: str | os.PathLike[str], position: int) -> dict[str, object]:
    """Return the proof that the entry at ``position`` is in the ledger as it is now.

    Hashes are hexadecimal; ``entry`` is the exact leaf data. The proof is checked, against the
    root stored with the last entry, before it is returned.
    """
    file = Path(path)
    try:
        with closing(connect_for_reading(file)) as connection:
            rows = connection.execute(
                "SELECT leaf_hash, root FROM entries ORDER BY position"
            ).fetchall()
            leaves: list[bytes] = [leaf for leaf, _ in rows]
            if not 0 <= position < len(leaves):
                raise InputError(
                    f"a position in this ledger is below its {len(leaves)} entries, from 0: "
                    f"got {position}; name one of them"
                )
            [entry] = connection.execute(
                "SELECT entry FROM entries WHERE position = ?", (position,)
            ).fetchone() or (b"",)
            root: bytes = rows[-1][1]
            proof = merkle.inclusion_proof(leaves, position)
            leaf = merkle.leaf_hash(entry)
            if not merkle.verify_inclusion(leaf, position, len(leaves), proof, root):
                raise damaged(file, f"the entry at position {position} does not lead to the root")
            return {
                "position": position,
                "size": len(leaves),
                "root": root.hex(),
                "leaf_hash": leaf.hex(),
                "proof": [step.hex() for step in proof],
                "entry": entry.decode(),
            }
    except (*READ_ERRORS, TypeError) as error:
        raise damaged(file, error) from error


def _raw_entries(path: Path, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
    position = start
    while stop is None or position < stop:
        limit = _ENTRIES_PER_VIEW if stop is None else min(_ENTRIES_PER_VIEW, stop - position)
        try:
            with closing(connect_for_reading(path)) as connection:
                rows = connection.execute(
                    "SELECT position, entry FROM entries WHERE position >= ? "
                    "ORDER BY position LIMIT ?",
                    (position, limit),
                ).fetchall()
        except READ_ERRORS as error:
            raise damaged(path, error) from error
        for row in rows:
            if not isinstance(row[1], bytes):
                raise damaged(path, f"position {row[0]} holds no entry")
            yield row
        if len(rows) < limit:
            return
        position = rows[-1][0] + 1
