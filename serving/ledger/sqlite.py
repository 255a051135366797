"""A ledger in one SQLite file: write-ahead log, synced at every commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from data_contracts.errors import InputError
from serving.ledger.database import (
    BUSY_SECONDS,
    LedgerUnavailableError,
    Rows,
    damaged,
    fsync_folder,
    require_ledger,
)
from serving.ledger.migrations import CURRENT_VERSION, SQLITE, backfill_labels

SYNCHRONOUS: Final = "FULL"
"""In write-ahead mode SQLite then syncs the log at every commit, before the commit returns.
Only the control of a power-loss test has a reason to change it."""
CHECKPOINT_PAGES: Final = 8192
"""Pages in the log, 32 MiB, before they are copied into the file: a page of an index that changes
with every group is then copied once for many groups."""
CACHE_KIB: Final = 32 * 1024
READ_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file may raise: SQLite's complaint, or Python's failure to decode one that
quotes damaged text."""


class SqliteDatabase:
    """One connection to the file."""

    errors: tuple[type[Exception], ...] = READ_ERRORS

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.name = str(path)
        self.connection = connection
        self.version = int(connection.execute("PRAGMA user_version").fetchone()[0])

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self.connection.in_transaction

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Run one statement."""
        return self.connection.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Sequence[object]]) -> None:
        """Run one statement for many rows."""
        self.connection.executemany(sql, parameters)

    def scan(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[Any]:
        """Run a query row by row."""
        return iter(self.execute(sql, parameters))

    def begin_writing(self) -> None:
        """Take the file's write lock; another process's writer is waited for."""
        self.connection.execute("BEGIN IMMEDIATE")

    def begin_reading(self) -> None:
        """Open a transaction that sees one state of the file."""
        self.connection.execute("BEGIN")

    def revive(self) -> None:
        """A file is never disconnected."""

    def integrity(self) -> str | None:
        """SQLite's own check of its pages."""
        [found] = self.connection.execute("PRAGMA integrity_check(1)").fetchone()
        text = found.decode(errors="replace") if isinstance(found, bytes) else str(found)
        return None if text == "ok" else text

    def is_damage(self, error: BaseException) -> bool:
        """Malformed, no database at all, or a damaged schema."""
        return type(error) is sqlite3.DatabaseError or "no such" in str(error)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


def open_for_writing(path: Path, *, create: bool) -> SqliteDatabase:
    """Open the one writing connection; an older file is brought to the current version."""
    if not path.is_file():
        if not create:
            raise InputError(
                f"a ledger is opened where one exists: {path} is no file; "
                "check the path, or open it with create=True"
            )
        if not path.parent.is_dir():
            raise InputError(
                f"a ledger is created in an existing folder: {path.parent} is none; make it first"
            )
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        if create:
            _create(connection)
            fsync_folder(path.parent)
        _require_version(connection)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise InputError(
                f"a ledger needs a file system that supports SQLite's write-ahead log: {path} "
                f"gives journal mode {mode}; put it on a local disk"
            )
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone leaves the drive cache
        _migrate(connection, path)
        return SqliteDatabase(connection, path)
    except READ_ERRORS as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise LedgerUnavailableError(f"{path}: {error}; try again") from error
        if isinstance(error, sqlite3.OperationalError) and "readonly" in str(error):
            raise InputError(
                f"a ledger is opened for writing where it may be written: {path}: {error}; "
                "check the permissions of the file and its folder"
            ) from error
        raise damaged(path, error) from error
    except BaseException:
        connection.close()
        raise


def open_for_reading(path: Path) -> SqliteDatabase:
    """Open a connection that cannot write and holds one consistent view of the ledger."""
    require_ledger(path)
    uri = path.resolve().as_uri()
    connection = _begin_reading(f"{uri}?mode=ro")
    if connection is None:
        # A write-ahead database on a read-only disk cannot be joined as a reader. With no log
        # beside it there is no writer either, and the file alone is the whole ledger.
        log = path.with_name(path.name + "-wal")
        if not (log.exists() and log.stat().st_size):
            connection = _begin_reading(f"{uri}?mode=ro&immutable=1")
    if connection is None:
        raise sqlite3.OperationalError("unable to open database file")
    try:
        _require_version(connection)
        return SqliteDatabase(connection, path)
    except BaseException:
        connection.close()
        raise


def _create(connection: sqlite3.Connection) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables:
        return
    # Write-ahead mode first: under it the schema and its version commit in one synced step.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    steps = "".join(SQLITE[k] for k in sorted(SQLITE))
    connection.executescript(
        f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {CURRENT_VERSION}; COMMIT;"
    )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring an older file up, each step in a transaction of its own."""
    for step in range(2, CURRENT_VERSION + 1):
        if connection.execute("PRAGMA user_version").fetchone()[0] >= step:
            continue
        connection.executescript(f"BEGIN IMMEDIATE; {SQLITE[step]}")
        try:
            if step == 2:
                backfill_labels(SqliteDatabase(connection, path))
            connection.execute(f"PRAGMA user_version = {step}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _begin_reading(uri: str) -> sqlite3.Connection | None:
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.text_factory = bytes  # damaged text must reach the checks, not a decoder
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if "unable to open" in str(error) or "readonly" in str(error):
            return None
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _require_version(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not 1 <= version <= CURRENT_VERSION:
        raise sqlite3.DatabaseError(
            f"this version reads ledgers of format 1 to {CURRENT_VERSION}, the file says {version}"
        )
