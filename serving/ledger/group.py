"""A group commit: many callers' submissions in one synced transaction, each with its outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self
from uuid import UUID

import orjson

from data_contracts.errors import InputError
from serving.ledger import tree as merkle
from serving.ledger.database import Database, read_head
from serving.ledger.envelope import (
    KeyedRequest,
    Request,
    RequestConflictError,
    next_entry_id,
    rfc3339_micros,
    seal,
)
from serving.ledger.reading import REQUEST_CONFLICT

Clock = Callable[[], datetime]
KEYS_AT_ONCE = 500
Act = Callable[[Database, int], Sequence[Request]]
"""Work inside a submission's transaction: reads and changes tables of its own, given the position
that its first entry gets, and returns entries to record. Raising undoes what it changed."""
Row = tuple[object, ...]


@dataclass(frozen=True)
class Rows:
    """What a submission adds to tables of its own that cannot be refused: with its group, at once.

    ``make`` is given the position that its first entry gets; it returns entries to record, and rows
    each with the statement that inserts it.
    """

    make: Callable[[int], tuple[Sequence[Request], Sequence[tuple[str, Row]]]]


@dataclass
class Submission:
    """Entries on their way through a group commit, and what became of them.

    ``positions`` and ``entries`` are of the items in order; ``repeated`` says that the request was
    recorded before and these are its first positions. ``act`` runs in the same transaction; its
    entries come after the items. Writers take turns, so what it reads nobody else is changing.
    """

    items: list[tuple[Request, str | None]]
    request: KeyedRequest | None = None
    act: Act | Rows | None = None
    positions: list[int] = field(default_factory=list)
    entries: list[bytes] = field(default_factory=list)
    repeated: bool = False
    error: BaseException | None = None
    done: bool = False


@dataclass
class _Batch:
    """Rows to insert at the end of a group."""

    entries: list[tuple[int, bytes, bytes, bytes]] = field(default_factory=list)
    keys: list[tuple[str, int, bytes]] = field(default_factory=list)
    labels: list[tuple[str, int]] = field(default_factory=list)
    requests: list[tuple[str, bytes, int, str]] = field(default_factory=list)
    expired: list[tuple[str]] = field(default_factory=list)
    others: dict[str, list[Row]] = field(default_factory=dict)


class GroupCommit:
    """One transaction; the caller holds the ledger's commit lock."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._connection = database
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        end_transaction(self._connection)

    def run(self, group: list[Submission]) -> None:
        """Commit; an outcome of its own for each, the same error for all if it fails as a whole."""
        try:
            self._connection.revive()
            self._connection.begin_writing()
            tree, last = read_head(self._connection)
            size_before = tree.size
            entry_id = _entry_id(last) if last is not None else None
            batch = _Batch()
            taken: dict[str, Submission] = {}
            recorded = self._recorded_requests(group)
            for waiting in group:
                try:
                    if self._is_repeated(waiting, taken, recorded):
                        continue
                    known = self._known_positions(waiting.items, batch)
                    items = [*waiting.items, *self._acted(waiting, tree.size, batch)]
                except InputError as refused:  # the caller's own mistake; nothing written for it
                    waiting.error = refused
                    if waiting.request is not None and taken.get(waiting.request.key) is waiting:
                        del taken[waiting.request.key]
                    continue
                entry_id = self._add(waiting, items, known, tree, entry_id, batch)
            if tree.size != size_before:
                self._insert(batch)
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
            end_transaction(self._connection)
            for waiting in group:
                waiting.done = True

    def _acted(
        self, waiting: Submission, size: int, batch: _Batch
    ) -> list[tuple[Request, str | None]]:
        """The entries of a submission's act; what a refused one changed is undone."""
        if waiting.act is None:
            return []
        if isinstance(waiting.act, Rows):
            requests, rows = waiting.act.make(size + len(waiting.items))
            for sql, row in rows:
                batch.others.setdefault(sql, []).append(row)
            return [(request, None) for request in requests]
        execute = self._connection.execute
        execute("SAVEPOINT act")
        try:
            found = waiting.act(self._connection, size + len(waiting.items))
        except InputError:
            execute("ROLLBACK TO SAVEPOINT act")
            execute("RELEASE SAVEPOINT act")
            raise
        execute("RELEASE SAVEPOINT act")
        return [(request, None) for request in found]

    def _insert(self, batch: _Batch) -> None:
        insert = self._connection.executemany
        insert(
            "INSERT INTO entries (position, leaf_hash, root, entry) VALUES (?, ?, ?, ?)",
            batch.entries,
        )
        insert("INSERT INTO labels (label, position) VALUES (?, ?)", batch.labels)
        if batch.keys:
            insert(
                "INSERT INTO idempotency (key, position, request_sha256) VALUES (?, ?, ?)",
                batch.keys,
            )
        if batch.requests:
            insert("DELETE FROM requests WHERE key = ?", batch.expired)
            insert(
                "INSERT INTO requests (key, request_sha256, position, expires_at)"
                " VALUES (?, ?, ?, ?)",
                batch.requests,
            )
        for sql, rows in batch.others.items():
            insert(sql, rows)

    def _recorded_requests(self, group: list[Submission]) -> dict[str, tuple[bytes, int, str]]:
        """Hash, position and end of what is on record under the requests of a group, by key."""
        keys = sorted({s.request.key for s in group if s.request is not None})
        found: dict[str, tuple[bytes, int, str]] = {}
        for start in range(0, len(keys), KEYS_AT_ONCE):
            part = keys[start : start + KEYS_AT_ONCE]
            rows = self._connection.execute(
                "SELECT key, request_sha256, position, expires_at FROM requests WHERE key IN"
                f" ({', '.join('?' * len(part))})",
                part,
            ).fetchall()
            found |= {key: (sha256, position, until) for key, sha256, position, until in rows}
        return found

    def _is_repeated(
        self,
        waiting: Submission,
        taken: dict[str, Submission],
        on_record: dict[str, tuple[bytes, int, str]],
    ) -> bool:
        """Whether a request is on record: then it gets the first one's position and entry."""
        request = waiting.request
        if request is None:
            return False
        before = taken.get(request.key)
        if before is not None and before.request is not None:
            recorded = before.request.sha256
            position, entry = before.positions[0], before.entries[0]
        else:
            found = on_record.get(request.key)
            if found is None or found[2] <= rfc3339_micros(self._clock()):
                taken[request.key] = waiting
                return False
            recorded, position, _ = found
            [entry] = self._connection.execute(
                "SELECT entry FROM entries WHERE position = ?", (position,)
            ).fetchone() or (b"",)
        if recorded != request.sha256:
            raise RequestConflictError(REQUEST_CONFLICT)
        waiting.positions, waiting.entries, waiting.repeated = [position], [entry], True
        return True

    def _known_positions(
        self, items: list[tuple[Request, str | None]], batch: _Batch
    ) -> dict[str, int]:
        """Return the positions of the keys recorded before; refuse a key with other content."""
        known: dict[str, int] = {}
        asked: dict[str, bytes] = {}
        for request, key in items:
            if key is None:
                continue
            digest = request.sha256()
            recorded = known_key(self._connection, key) or next(
                ((position, sha256) for k, position, sha256 in batch.keys if k == key), None
            )
            if recorded is not None:
                known[key] = recorded[0]
            if (recorded[1] if recorded else asked.setdefault(key, digest)) != digest:
                raise InputError(
                    f"an idempotency key stands for one content: {key!r} was "
                    f"{'recorded' if recorded else 'given twice'} with another; use a new key"
                )
        return known

    def _add(
        self,
        waiting: Submission,
        items: list[tuple[Request, str | None]],
        known: dict[str, int],
        tree: merkle.CompactRange,
        entry_id: UUID | None,
        batch: _Batch,
    ) -> UUID | None:
        for request, key in items:
            if key is not None and key in known:
                waiting.positions.append(known[key])
                continue
            now = self._clock()
            entry_id = next_entry_id(now, entry_id)
            entry = seal(request, entry_id, now)
            position, leaf = tree.size, merkle.leaf_hash(entry)
            tree.append(leaf)
            batch.entries.append((position, leaf, tree.root(), entry))
            batch.labels.extend((label, position) for label in request.labels)
            if key is not None:
                known[key] = position
                batch.keys.append((key, position, request.sha256()))
            waiting.positions.append(position)
            waiting.entries.append(entry)
        if waiting.request is not None:
            keyed = waiting.request
            batch.expired.append((keyed.key,))
            batch.requests.append(
                (keyed.key, keyed.sha256, waiting.positions[0], rfc3339_micros(keyed.expires_at))
            )
        return entry_id


def known_key(database: Database, key: str) -> tuple[int, bytes] | None:
    """Position and content's hash recorded under an idempotency key, or None."""
    row: tuple[int, bytes] | None = database.execute(
        "SELECT position, request_sha256 FROM idempotency WHERE key = ?", (key,)
    ).fetchone()
    return row


def end_transaction(database: Database) -> None:
    """Roll back whatever is still open."""
    # the file is full or the server gone: the next call reports it
    with suppress(Exception):
        if database.in_transaction:
            database.execute("ROLLBACK")


def _entry_id(entry: bytes) -> UUID:
    try:
        return UUID(orjson.loads(entry)["entry_id"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the last entry has no entry_id ({error})") from error
