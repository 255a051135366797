"""The writing side of the ledger: one writer, group commit, nothing acknowledged before fsync."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from data_contracts.errors import InputError
from serving.ledger import tree as merkle
from serving.ledger.checkpoint import Checkpoint, append_checkpoint
from serving.ledger.database import (
    Database,
    LedgerUnavailableError,
    Location,
    connect_for_writing,
    damaged,
    is_url,
    named,
    read_head,
)
from serving.ledger.envelope import (
    KeyedRequest,
    prepare,
    rfc3339_micros,
    utc_now,
)
from serving.ledger.group import Clock, GroupCommit, Submission, end_transaction, known_key
from serving.ledger.reading import StoredEntry, read_entries
from serving.ledger.segment_file import relative_file, synced_file_sha256

SEGMENT_KIND = "segment"


@dataclass(frozen=True)
class Head:
    """How many entries the ledger holds, and the Merkle root over them."""

    size: int
    root: bytes


class Ledger:
    """An append-only, tamper-evident log in an SQLite file or a PostgreSQL database.

    Safe to share between threads: calls of ``append`` that meet are committed, and synced, in one
    transaction. Other processes may read at any time; should one write, writers take turns.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Ledger.open(Path(folder) / "ledger.sqlite", create=True) as ledger:
    ...         ledger.append([{"kind": "note", "body": {"text": "first"}}])
    [0]
    """

    def __init__(self, database: Database, where: Location, clock: Clock) -> None:
        self.where = where
        self._connection = database
        self._clock = clock
        self._queue: list[Submission] = []
        self._queue_lock = threading.Lock()
        self._commit_lock = threading.Lock()

    @classmethod
    def open(cls, where: Location, *, create: bool = False, clock: Clock = utc_now) -> Self:
        """Open a ledger for writing; a missing one is refused unless ``create`` is true."""
        ledger = cls(connect_for_writing(where, create=create), where, clock)
        try:
            ledger.head()
        except BaseException:
            ledger.close()
            raise
        return ledger

    @property
    def path(self) -> Path:
        """The file of a ledger that is one; segments lie under its folder unless told otherwise."""
        if is_url(self.where):
            raise InputError(f"{named(self.where)} has no folder of its own; give base_dir")
        return Path(self.where)

    def close(self) -> None:
        """Close the connection; the ledger can be opened again."""
        with self._commit_lock:
            self._connection.close()

    def __enter__(self) -> Self:
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
                self._connection.revive()
                self._connection.begin_reading()
                tree, _ = read_head(self._connection)
            except Exception as error:
                raise self.explained(error) from error
            finally:
                end_transaction(self._connection)
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
        items = [(prepare(entry), key) for entry, key in zip(entries, keys, strict=True)]
        return self.submit(Submission(items)).positions if items else []

    def record(
        self, entries: Sequence[Mapping[str, object]], request: KeyedRequest | None = None
    ) -> Submission:
        """Record what one request of a caller did, in one transaction with the request's own key.

        A request that was recorded before, and whose record has not expired, records nothing: the
        position and bytes of its first entry are returned. Raises ``RequestConflictError`` where
        the key stands for another request.
        """
        return self.submit(Submission([(prepare(entry), None) for entry in entries], request))

    def submit(self, waiting: Submission) -> Submission:
        """Commit a submission together with those of other threads; return it done, or raise."""
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
            raise self.explained(waiting.error) from waiting.error
        return waiting

    def commit_group(self, group: list[Submission]) -> None:
        """Commit several submissions in one synced transaction; each holds its own outcome."""
        with self._commit_lock:
            self._commit(group)

    def position_of(self, idempotency_key: str) -> int | None:
        """Return the position recorded under ``idempotency_key``, or null."""
        with self._commit_lock:
            try:
                self._connection.revive()
                known = known_key(self._connection, idempotency_key)
            except Exception as error:
                raise self.explained(error) from error
        return known[0] if known else None

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[StoredEntry]:
        """Yield the committed entries from position ``start`` up to, not including, ``stop``."""
        return read_entries(self.where, start, stop)

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
        relative = relative_file(Path(file), base)
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
            "file_sha256": synced_file_sha256(base / relative),
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

    def _commit(self, group: list[Submission]) -> None:
        with GroupCommit(self._connection, self._clock) as commit:
            commit.run(group)

    def _root_at(self, size: int) -> bytes | None:
        if size == 0:
            return merkle.EMPTY_ROOT
        with self._commit_lock:
            row = self._connection.execute(
                "SELECT root FROM entries WHERE position = ?", (size - 1,)
            ).fetchone()
        return row[0] if row else None

    def explained(self, error: BaseException) -> BaseException:
        """What to tell the caller of an error met while recording."""
        if isinstance(error, InputError | LedgerUnavailableError):
            return error
        database = self._connection
        if isinstance(error, database.errors):
            if database.is_damage(error):  # trying again would not help
                return damaged(self.where, error)
            return LedgerUnavailableError(
                f"{database.name}: nothing was recorded: {error}; try again, and run "
                "'gearline ledger verify' if it persists"
            )
        return damaged(self.where, error) if isinstance(error, ValueError) else error
