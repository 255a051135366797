"""The reading side: entries, proofs and the export, from a connection that cannot write."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson

from data_contracts.errors import InputError
from serving.ledger import tree as merkle
from serving.ledger.database import (
    Database,
    LedgerUnavailableError,
    Location,
    connect_for_reading,
    damaged,
    named,
)
from serving.ledger.envelope import KeyedRequest, RequestConflictError, rfc3339_micros, utc_now

REQUEST_CONFLICT = (
    "an idempotency key stands for one request: this one was used with another; use a new key"
)
# Entries fetched per view of the file: a slow reader must not keep the write-ahead log growing.
_ENTRIES_PER_VIEW = 1000
LABELS_AT_ONCE = 500


@dataclass(frozen=True)
class StoredEntry:
    """An entry as recorded."""

    position: int
    kind: str
    body: dict[str, object]
    entry_id: str
    recorded_at: str


def stored_entry(where: Location, position: int, entry: bytes) -> StoredEntry:
    """Read the bytes of an entry."""
    try:
        document = orjson.loads(entry)
        return StoredEntry(
            position,
            document["kind"],
            document["body"],
            document["entry_id"],
            document["recorded_at"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(where, f"position {position} holds no entry ({error})") from error


def read_entries(where: Location, start: int = 0, stop: int | None = None) -> Iterator[StoredEntry]:
    """Yield the entries from position ``start`` up to, not including, ``stop``."""
    for position, entry in _raw_entries(where, start, stop):
        yield stored_entry(where, position, entry)


def export(where: Location) -> Iterator[bytes]:
    """Yield every entry as one line of canonical JSON, in order of position.

    A line without its newline is the leaf data: whoever holds the export can rebuild the tree.
    """
    for _, entry in _raw_entries(where, 0, None):
        yield entry + b"\n"


def prove(where: Location, position: int) -> dict[str, object]:
    """Return the proof that the entry at ``position`` is in the ledger as it is now.

    Hashes are hexadecimal; ``entry`` is the exact leaf data. The proof is checked, against the
    root stored with the last entry, before it is returned.
    """
    try:
        with closing(_reader(where)) as connection:
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
                raise damaged(where, f"the entry at position {position} does not lead to the root")
            return {
                "position": position,
                "size": len(leaves),
                "root": root.hex(),
                "leaf_hash": leaf.hex(),
                "proof": [step.hex() for step in proof],
                "entry": entry.decode(),
            }
    except TypeError as error:
        raise damaged(where, error) from error
    except Exception as error:
        raise _explained(where, error) from error


class LedgerReader:
    """Look-ups by label and by request, on one connection that cannot write; safe to share.

    Every call sees what is committed when it is made.
    """

    def __init__(self, where: Location) -> None:
        self.where = where
        self._lock = threading.Lock()
        self._database = _reader(where)
        self._database.execute("COMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._database.close()

    def entry(self, position: int) -> StoredEntry:
        """The entry at a position."""
        rows = self._query("SELECT position, entry FROM entries WHERE position = ?", (position,))
        [(found, entry)] = rows
        return stored_entry(self.where, found, entry)

    def latest(self, label: str, count: int = 1, before: int | None = None) -> list[StoredEntry]:
        """The last entries under a label, newest first; ``before`` a position where it is given."""
        limit = 2**62 if before is None else before
        rows = self._query(
            "SELECT e.position, e.entry FROM labels l JOIN entries e ON e.position = l.position"
            " WHERE l.label = ? AND l.position < ? ORDER BY l.position DESC LIMIT ?",
            (label, limit, count),
        )
        return [stored_entry(self.where, position, entry) for position, entry in rows]

    def newest(self, labels: Sequence[str]) -> dict[str, StoredEntry]:
        """The last entry under each of some labels; those without one are left out."""
        found: dict[str, StoredEntry] = {}
        for start in range(0, len(labels), LABELS_AT_ONCE):
            part = labels[start : start + LABELS_AT_ONCE]
            rows = self._query(
                "SELECT l.label, e.position, e.entry FROM (SELECT label, max(position) AS position"
                f" FROM labels WHERE label IN ({', '.join('?' * len(part))}) GROUP BY label) l"
                " JOIN entries e ON e.position = l.position",
                tuple(part),
            )
            for label, position, entry in rows:
                name = label.decode() if isinstance(label, bytes) else label
                found[name] = stored_entry(self.where, position, entry)
        return found

    def request(self, keyed: KeyedRequest) -> StoredEntry | None:
        """The first entry that a request left, or None; another request's key is refused."""
        rows = self._query(
            "SELECT r.position, r.request_sha256, r.expires_at, e.entry FROM requests r"
            " JOIN entries e ON e.position = r.position WHERE r.key = ?",
            (keyed.key,),
        )
        for position, sha256, expires_at, entry in rows:
            text = expires_at.decode() if isinstance(expires_at, bytes) else expires_at
            if text <= rfc3339_micros(utc_now()):
                continue
            if sha256 != keyed.sha256:
                raise RequestConflictError(REQUEST_CONFLICT)
            return stored_entry(self.where, position, entry)
        return None

    def size(self) -> int:
        """How many entries are committed."""
        [(size,)] = self._query("SELECT size FROM tree", ())
        return int(size)

    def _query(self, sql: str, parameters: tuple[object, ...]) -> list[Any]:
        with self._lock:
            try:
                self._database.revive()
                rows = self._database.execute(sql, parameters).fetchall()
            except Exception as error:
                raise _explained(self.where, error, self._database) from error
        return rows


def _reader(where: Location) -> Database:
    try:
        return connect_for_reading(where)
    except Exception as error:
        raise _explained(where, error) from error


def _explained(where: Location, error: Exception, database: Database | None = None) -> Exception:
    """Our own errors as they are; a lost server as unavailable; the rest as damage."""
    if isinstance(error, InputError | LedgerUnavailableError):
        return error
    lost = database is not None and not database.is_damage(error)
    if lost or type(error).__module__.startswith("psycopg"):
        return LedgerUnavailableError(f"{named(where)}: {error}; try again")
    return damaged(where, error)


def _raw_entries(where: Location, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
    position = start
    while stop is None or position < stop:
        limit = _ENTRIES_PER_VIEW if stop is None else min(_ENTRIES_PER_VIEW, stop - position)
        try:
            with closing(_reader(where)) as connection:
                rows = connection.execute(
                    "SELECT position, entry FROM entries WHERE position >= ? "
                    "ORDER BY position LIMIT ?",
                    (position, limit),
                ).fetchall()
        except Exception as error:
            raise _explained(where, error) from error
        for row in rows:
            if not isinstance(row[1], bytes):
                raise damaged(where, f"position {row[0]} holds no entry")
            yield row
        if len(rows) < limit:
            return
        position = rows[-1][0] + 1
