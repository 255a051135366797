"""The SQLite file of the ledger: its schema, how it is opened, and what can go wrong with it."""

import os
import sqlite3
from pathlib import Path

from data_contracts.errors import InputError
from serving.ledger.tree import EMPTY_ROOT, CompactRange

FORMAT_VERSION = 1
# FULL: in WAL mode SQLite syncs the log at every commit, before the commit returns.
# Only the control of a power-loss test has a reason to change it.
SYNCHRONOUS = "FULL"
# What reading a damaged file may raise: SQLite's complaint, or Python's failure to decode one that
# quotes damaged text.
READ_ERRORS = (sqlite3.Error, UnicodeDecodeError)
# How long a writer waits for the writer of another process.
BUSY_SECONDS = 30.0

# `entry` comes last in the row so that leaf hashes and roots can be read without following the
# overflow pages of long entries. `tree` holds the peaks of the compact range: derived from the
# entries, kept so that opening and appending need not read them all, and checked by `verify`.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    position INTEGER PRIMARY KEY,
    leaf_hash BLOB NOT NULL,
    root BLOB NOT NULL,
    entry BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS idempotency (
    key TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL,
    request_sha256 BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tree (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 0),
    size INTEGER NOT NULL,
    peaks BLOB NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS entries_refuse_update BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: an entry is never changed'); END;
CREATE TRIGGER IF NOT EXISTS entries_refuse_delete BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: an entry is never deleted'); END;
CREATE TRIGGER IF NOT EXISTS entries_refuse_gap BEFORE INSERT ON entries
WHEN NEW.position <> (SELECT coalesce(max(position) + 1, 0) FROM entries)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: positions have no gap'); END;
CREATE TRIGGER IF NOT EXISTS idempotency_refuse_update BEFORE UPDATE ON idempotency
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a key keeps its entry'); END;
CREATE TRIGGER IF NOT EXISTS idempotency_refuse_delete BEFORE DELETE ON idempotency
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a key is never deleted'); END;
CREATE TRIGGER IF NOT EXISTS idempotency_refuse_replace BEFORE INSERT ON idempotency
WHEN EXISTS (SELECT 1 FROM idempotency WHERE key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a key keeps its entry'); END;
INSERT OR IGNORE INTO tree (only_row, size, peaks) VALUES (0, 0, x'');
"""


class LedgerUnavailableError(RuntimeError):
    """The entries were not recorded, through no fault of theirs; the caller may try again."""


class LedgerDamagedError(InputError):
    """The ledger contradicts itself; nothing more is written to it."""


def damaged(path: Path, detail: object) -> LedgerDamagedError:
    """Return the error that names the damage and the way to look into it."""
    return LedgerDamagedError(
        f"a ledger is used only while it is whole: {path}: {detail}; run 'gearline ledger verify'"
    )


def require_file(path: Path) -> None:
    """Refuse a path that is no file."""
    if not path.is_file():
        raise InputError(f"a ledger is an existing file: {path} is none; check the path")


def connect_for_writing(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open the one writing connection, making the file if ``create`` says so."""
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
            _create_schema(connection)
            fsync_folder(path.parent)
        _require_format(connection)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise InputError(
                f"a ledger needs a file system that supports SQLite's write-ahead log: {path} "
                f"gives journal mode {mode}; put it on a local disk"
            )
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone leaves the drive cache
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
    return connection


def connect_for_reading(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write and holds one consistent view of the ledger."""
    require_file(path)
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
        _require_format(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def read_head(connection: sqlite3.Connection) -> tuple[CompactRange, bytes | None]:
    """Return the tree and the last entry, after checking that they belong together.

    Run it inside a transaction. Raises ``ValueError`` with the contradiction.
    """
    state = connection.execute("SELECT size, peaks FROM tree").fetchone()
    if state is None:
        raise ValueError("the state of the tree is gone")
    size, peaks = state
    if not (isinstance(size, int) and isinstance(peaks, bytes)):
        raise ValueError("the state of the tree is no size and peaks")
    tree = CompactRange.from_bytes(size, peaks)
    last = connection.execute(
        "SELECT position, root, entry FROM entries ORDER BY position DESC LIMIT 1"
    ).fetchone()
    position, stored_root, entry = last or (-1, EMPTY_ROOT, None)
    if position + 1 != size:
        raise ValueError(f"the tree counts {size} entries, the last position is {position}")
    if tree.root() != stored_root:
        raise ValueError(f"the tree and the entry at position {position} have different roots")
    if not (entry is None or isinstance(entry, bytes)):
        raise ValueError(f"position {position} holds no entry")
    return tree, entry


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create_schema(connection: sqlite3.Connection) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables:
        return
    # Write-ahead mode first: under it the schema and its version commit in one synced step.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(
        f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {FORMAT_VERSION}; COMMIT;"
    )


def _begin_reading(uri: str) -> sqlite3.Connection | None:
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
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


def _require_format(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT_VERSION:
        raise sqlite3.DatabaseError(
            f"this version reads ledgers of format {FORMAT_VERSION}, the file says {version}"
        )
