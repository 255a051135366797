"""The writing side of the ledger: one writer, group commit, nothing acknowledged before fsync."""

import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from types import TracebackType
from uuid import UUID

import orjson

from data_contracts.errors import InputError
from serving.ledger import tree as merkle
from serving.ledger.checkpoint import Checkpoint, append_checkpoint
from serving.ledger.database import (
    LedgerUnavailableError,
    connect_for_writing,
    damaged,
    fsync_folder,
    read_head,
)
from serving.ledger.envelope import Request, next_entry_id, prepare, rfc3339_micros, seal, utc_now
from serving.ledger.reading import StoredEntry, read_entries

SEGMENT_KIND = "segment"
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Head:
    """How many entries the ledger holds, and the Merkle root over them."""

    size: int
    root: bytes


@dataclass
class _Waiting:
    """One call of ``append`` on its way through a group commit."""

    items: list[tuple[Request, str | None]]
    positions: list[int] = field(default_factory=list)
    error: BaseException | None = None
    done: bool = False


class Ledger:
    """An append-only, tamper-evident log in one SQLite file.

    Safe to share between threads: calls of ``append`` that meet are committed, and synced, in one
    transaction. Other processes may read at any time; should one write, writers take turns.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Ledger.open(Path(folder) / "ledger.sqlite", create=True) as ledger:
    ...         ledger.append([{"kind": "note", "body": {"text": "first"}}])
    [0]
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self.path = path
        self._connection = connection
        self._clock = clock
        self._queue: list[_Waiting] = []
        self._queue_lock = threading.Lock()
        self._commit_lock = threading.Lock()

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, create: bool = False, clock: Clock = utc_now
    ) -> "Ledger":
        """Open a ledger for writing; a missing file is refused unless ``create`` is true."""
        file = Path(path)
        ledger = cls(connect_for_writing(file, create=create), file, clock)
        try:
            ledger.head()
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Close the file; the ledger can be opened again."""
        with self._commit_lock:
            self._connection.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def head(self) -> Head:
        """Return the size and the root of the ledger as committed now."""
        with self._commit_lock:
            try:
                self._connection.execute("BEGIN")
                tree, _ = read_head(self._connection)
            except (sqlite3.Error, ValueError) as error:
                raise self._explained(error) from error
            finally:
                self._end_transaction()
        return Head(tree.size, tree.root())

    def append(
        self,
        entries: Sequence[Mapping[str, object]],
        *,
        idempotency_keys: Sequence[str | None] | None = None,
    ) -> list[int]:
        """Record ``entries``, each ``{kind, body}``, all or none; return their positions.

        Returns only after the entries are on disk. An entry whose idempotency key is known is not
        recorded again: its first position is returned, and another content under the same key is
        refused. Raises ``LedgerUnavailableError`` if the file could not be written.
        """
        keys: Sequence[str | None] = idempotency_keys or [None] * len(entries)
        if len(keys) != len(entries):
            raise InputError(
                f"each entry has one idempotency key or null: got {len(keys)} keys for "
                f"{len(entries)} entries; give as many"
            )
        for key in keys:
            if key is not None and (type(key) is not str or not key or not key.isascii()):
                raise InputError(
                    f"an idempotency key is a non-empty ASCII string or null: got {key!r}"
                )
        waiting = _Waiting(
            [(prepare(entry), key) for entry, key in zip(entries, keys, strict=True)]
        )
        if not waiting.items:
            return []
        with self._queue_lock:
            self._queue.append(waiting)
        # Whoever gets the lock commits for all that queued up meanwhile; the others find theirs
        # done. While one group is being synced the next one gathers.
        with self._commit_lock:
            if not waiting.done:
                with self._queue_lock:
                    group, self._queue = self._queue, []
                self._commit(group)
        if waiting.error is not None:
            raise self._explained(waiting.error) from waiting.error
        return waiting.positions

    def position_of(self, idempotency_key: str) -> int | None:
        """Return the position recorded under ``idempotency_key``, or null."""
        with self._commit_lock:
            known = self._known(idempotency_key)
        return known[0] if known else None

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[StoredEntry]:
        """Yield the committed entries from position ``start`` up to, not including, ``stop``."""
        return read_entries(self.path, start, stop)

    def seal_segment(
        self,
        *,
        run_id: str,
        bucket: int,
        file: str | os.PathLike[str],
        decisions_sha256: Sequence[bytes],
        base_dir: str | os.PathLike[str] | None = None,
    ) -> int:
        """Record that a segment file holds these decisions; return the position of the entry.

        ``decisions_sha256`` are the 32-byte hashes of the rows in row order. ``file`` lies under
        ``base_dir`` (the ledger's folder unless given) and is recorded relative to it. The file
        is synced first. Sealing the same bucket of the same run again returns the first position;
        with other content it is refused.
        """
        base = Path(base_dir) if base_dir is not None else self.path.parent
        relative = _relative_file(Path(file), base)
        for digest in decisions_sha256:
            if len(digest) != merkle.HASH_BYTES:
                raise InputError(
                    f"a decision hash is {merkle.HASH_BYTES} bytes: got {len(digest)} bytes"
                )
        root = merkle.root([merkle.leaf_hash(digest) for digest in decisions_sha256])
        body: dict[str, object] = {
            "run_id": run_id,
            "bucket": bucket,
            "file": relative,
            "rows": len(decisions_sha256),
            "file_sha256": _synced_file_sha256(base / relative),
            "decisions_root": root.hex(),
        }
        [position] = self.append(
            [{"kind": SEGMENT_KIND, "body": body}],
            idempotency_keys=[f"{SEGMENT_KIND}/{run_id}/{bucket}"],
        )
        return position

    def checkpoint(
        self, key_path: str | os.PathLike[str], out_path: str | os.PathLike[str]
    ) -> Checkpoint:
        """Sign the current size and root and append the line to ``out_path``, synced.

        The Ed25519 key is made, readable by its owner only, if ``key_path`` is missing; the public
        half is written beside both files. Refused, if the ledger no longer contains what the last
        checkpoint of that file says.
        """
        head = self.head()
        return append_checkpoint(
            Path(key_path),
            Path(out_path),
            size=head.size,
            root=head.root,
            time=rfc3339_micros(self._clock()),
            root_at=self._root_at,
        )

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            tree, last = read_head(self._connection)
            size_before = tree.size
            entry_id = _entry_id(last) if last is not None else None
            for waiting in group:
                try:
                    known = self._known_positions(waiting.items)
                except InputError as refused:  # the caller's own mistake; nothing written for it
                    waiting.error = refused
                    continue
                entry_id = self._write(waiting, known, tree, entry_id)
            if tree.size != size_before:
                self._connection.execute(
                    "UPDATE tree SET size = ?, peaks = ?", (tree.size, tree.to_bytes())
                )
            self._connection.execute("COMMIT")
        except BaseException as error:
            for waiting in group:
                waiting.error = waiting.error or error
            if not isinstance(error, Exception):
                raise
        finally:
            self._end_transaction()
            for waiting in group:
                waiting.done = True

    def _known_positions(self, items: list[tuple[Request, str | None]]) -> dict[str, int]:
        """Return the positions of the keys recorded before; refuse a key with other content."""
        known: dict[str, int] = {}
        asked: dict[str, bytes] = {}
        for request, key in items:
            if key is None:
                continue
            digest = request.sha256()
            recorded = self._known(key)
            if recorded is not None:
                known[key] = recorded[0]
            if (recorded[1] if recorded else asked.setdefault(key, digest)) != digest:
                raise InputError(
                    f"an idempotency key stands for one content: {key!r} was "
                    f"{'recorded' if recorded else 'given twice'} with another; use a new key"
                )
        return known

    def _write(
        self,
        waiting: _Waiting,
        known: dict[str, int],
        tree: merkle.CompactRange,
        entry_id: UUID | None,
    ) -> UUID | None:
        for request, key in waiting.items:
            if key is not None and key in known:
                waiting.positions.append(known[key])
                continue
            now = self._clock()
            entry_id = next_entry_id(now, entry_id)
            entry = seal(request, entry_id, now)
            position, leaf = tree.size, merkle.leaf_hash(entry)
            tree.append(leaf)
            self._connection.execute(
                "INSERT INTO entries (position, leaf_hash, root, entry) VALUES (?, ?, ?, ?)",
                (position, leaf, tree.root(), entry),
            )
            if key is not None:
                known[key] = position
                self._connection.execute(
                    "INSERT INTO idempotency (key, position, request_sha256) VALUES (?, ?, ?)",
                    (key, position, request.sha256()),
                )
            waiting.positions.append(position)
        return entry_id

    def _known(self, key: str) -> tuple[int, bytes] | None:
        row: tuple[int, bytes] | None = self._connection.execute(
            "SELECT position, request_sha256 FROM idempotency WHERE key = ?", (key,)
        ).fetchone()
        return row

    def _root_at(self, size: int) -> bytes | None:
        if size == 0:
            return merkle.EMPTY_ROOT
        with self._commit_lock:
            row = self._connection.execute(
                "SELECT root FROM entries WHERE position = ?", (size - 1,)
            ).fetchone()
        return row[0] if row else None

    def _end_transaction(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:  # the file is gone or full; the next call reports it
            pass

    def _explained(self, error: BaseException) -> BaseException:
        # Malformed, no database at all, or a damaged schema: trying again would not help.
        if type(error) is sqlite3.DatabaseError or "no such" in str(error):
            return damaged(self.path, error)
        if isinstance(error, sqlite3.Error):
            return LedgerUnavailableError(
                f"{self.path}: nothing was recorded: {error}; try again, and run "
                "'gearline ledger verify' if it persists"
            )
        if isinstance(error, ValueError) and not isinstance(error, InputError):
            return damaged(self.path, error)
        return error


def _entry_id(entry: bytes) -> UUID:
    try:
        return UUID(orjson.loads(entry)["entry_id"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the last entry has no entry_id ({error})") from error


def _relative_file(file: Path, base: Path) -> str:
    if file.is_absolute():
        if not file.is_relative_to(base.absolute()):
            raise InputError(
                f"a segment file lies under the base folder: {file} is not under {base}; "
                "move it or give another base_dir"
            )
        file = file.relative_to(base.absolute())
    relative = PurePosixPath(file.as_posix())
    if ".." in relative.parts or not relative.parts:
        raise InputError(
            f"a segment file lies under the base folder: {relative} leads out of it; "
            "give a path without '..'"
        )
    return str(relative)


def _synced_file_sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
    except OSError as error:
        raise InputError(
            f"a segment is sealed once its file is written: {file}: {error.strerror}"
        ) from error
    fsync_folder(file.parent)
    return digest
