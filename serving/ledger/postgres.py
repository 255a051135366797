"""A ledger in a PostgreSQL database, in the schema ``gearline``: many writers take turns.

Writers meet at one advisory lock, held for a commit group. A commit returns once the server has
synced its log; a server that runs without syncing is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

try:
    import psycopg
    from psycopg.pq import TransactionStatus
except ImportError as error:  # pragma: no cover - the extra is part of the lock
    from data_contracts.errors import InputError as _Refused

    raise _Refused(
        "a ledger on PostgreSQL needs psycopg; install gearline with the extra 'postgres'"
    ) from error

from data_contracts.errors import InputError
from serving.ledger.database import BUSY_SECONDS, LedgerUnavailableError, Rows, damaged, named
from serving.ledger.migrations import (
    CURRENT_VERSION,
    POSTGRES,
    POSTGRES_ROLES,
    backfill_labels,
)

WRITER_LOCK: Final = 0x6765_6172_6C69_6E65
"""The advisory lock of the one writer: "gearline" in ASCII."""
SYNCHRONOUS_COMMIT: Final = "on"
"""Only the control of a power-loss test has a reason to change it."""
CONNECT_SECONDS: Final = 5
_SCAN_ROWS: Final = 500
_DAMAGE: Final = ("XX", "58", "42P01", "42703")
"""SQLSTATE classes of corruption and system errors, and of tables or columns that are gone."""


@lru_cache(maxsize=256)
def _native(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


class PostgresDatabase:
    """One connection to the database; ``revive`` replaces it after a loss."""

    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, url: str, *, writing: bool) -> None:
        self.url = url
        self.name = named(url)
        self._writing = writing
        self._alive = threading.Lock()
        self.connection = self._connect()
        self.version = _version(self.connection)

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        connection = _connect(self.url)
        if self._writing:
            connection.execute(f"SET synchronous_commit = {SYNCHRONOUS_COMMIT}")
            connection.execute(f"SET lock_timeout = '{int(BUSY_SECONDS)}s'")
        else:
            connection.execute("SET default_transaction_read_only = on")
        return connection

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self.connection.info.transaction_status in (
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
            TransactionStatus.ACTIVE,
        )

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Run one statement."""
        return self.connection.execute(_native(sql), parameters or None, prepare=True)

    def executemany(self, sql: str, parameters: Iterable[Sequence[object]]) -> None:
        """Run one statement for many rows, in one round trip."""
        rows = list(parameters)
        if rows:
            with self.connection.cursor() as cursor:
                cursor.executemany(_native(sql), rows)

    def scan(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[Any]:
        """Run a query through a cursor of the server."""
        with self.connection.cursor(name="scan") as cursor:
            cursor.itersize = _SCAN_ROWS
            yield from cursor.execute(_native(sql), parameters or None)

    def begin_writing(self) -> None:
        """Wait for the writer's lock; it is released with the transaction."""
        self.connection.execute("BEGIN")
        self.connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))

    def begin_reading(self) -> None:
        """Open a transaction that sees one state of the ledger."""
        self.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def revive(self) -> None:
        """Connect again where the server has gone away or the connection was broken."""
        with self._alive:
            if self.connection.closed or self.connection.broken:
                self.connection = self._connect()

    def integrity(self) -> str | None:
        """PostgreSQL checks pages as it reads them; there is nothing more to ask."""
        return None

    def is_damage(self, error: BaseException) -> bool:
        """Corruption, or a schema that is not the ledger's."""
        state = getattr(error, "sqlstate", None) or ""
        return state.startswith(_DAMAGE)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def _connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    try:
        return psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            options="-c search_path=gearline",
            application_name="gearline",
        )
    except psycopg.OperationalError as error:
        raise LedgerUnavailableError(
            f"{named(url)}: {_first_line(error)}; check that the server runs and the URL is right,"
            " then try again"
        ) from None
    except psycopg.Error as error:
        raise InputError(f"{named(url)} is no database URL: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no answer"])[0]


def _version(connection: psycopg.Connection[tuple[Any, ...]]) -> int:
    found = connection.execute("SELECT to_regclass('gearline.schema_version')").fetchone()
    if found is None or found[0] is None:
        return 0
    row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def schema_version(url: str) -> int:
    """The version of the ledger there; 0 without one."""
    with _connect(url) as connection:
        return _version(connection)


def open_for_writing(url: str, *, create: bool) -> PostgresDatabase:
    """Open a writing connection; ``create`` makes the ledger or brings it up, as its owner."""
    database = PostgresDatabase(url, writing=True)
    try:
        if database.version < CURRENT_VERSION and create:
            _migrate(database)
        _require_version(database)
        _require_syncing(database)
    except psycopg.errors.InsufficientPrivilege as error:
        database.close()
        raise InputError(
            f"{database.name}: {_first_line(error)}; let the owner of the database run"
            " `gearline ledger migrate URL` first"
        ) from None
    except psycopg.Error as error:
        database.close()
        raise damaged(url, _first_line(error)) from error
    except BaseException:
        database.close()
        raise
    return database


def open_for_reading(url: str) -> PostgresDatabase:
    """Open a read-only connection with a transaction that sees one state."""
    database = PostgresDatabase(url, writing=False)
    try:
        _require_version(database)
        database.begin_reading()
    except BaseException:
        database.close()
        raise
    return database


def _migrate(database: PostgresDatabase) -> None:
    connection = database.connection
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))
        connection.execute("CREATE SCHEMA IF NOT EXISTS gearline")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version"
            " (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        have = _version(connection)
        for step in range(have + 1, CURRENT_VERSION + 1):
            connection.execute(POSTGRES[step].encode())
            if step == 2:
                backfill_labels(database)
            connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (step,))
        connection.execute(POSTGRES_ROLES.encode())
    database.version = _version(connection)


def _require_version(database: PostgresDatabase) -> None:
    if database.version == 0:
        raise InputError(
            f"there is no ledger in {database.name}; make one with `gearline ledger migrate URL`"
        )
    if database.version != CURRENT_VERSION:
        raise InputError(
            f"the ledger in {database.name} is of format {database.version}, this version works on"
            f" format {CURRENT_VERSION}; run `gearline ledger migrate URL` with the later release"
        )


def _require_syncing(database: PostgresDatabase) -> None:
    for setting in ("fsync", "full_page_writes"):
        row = database.connection.execute(f"SHOW {setting}".encode()).fetchone()
        if row is None or row[0] != "on":
            raise InputError(
                f"a ledger needs a server that syncs: {database.name} runs with {setting} ="
                f" {row[0] if row else '?'}; turn it on"
            )
