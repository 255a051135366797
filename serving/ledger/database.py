"""Where a ledger is, what any database must do for it, and what can go wrong.

A ledger is named by a path (an SQLite file) or by a URL (``postgresql://...``). Both databases
answer to the same few calls with the same SQL, so that everything above is written once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from data_contracts.errors import InputError
from serving.ledger.tree import EMPTY_ROOT, CompactRange

Location: TypeAlias = str | os.PathLike[str]
_URL: Final = re.compile(r"^(postgresql|postgres)://", re.IGNORECASE)
_PASSWORD: Final = re.compile(r"(?<=://)([^:@/]*):[^@/]*@")
_PASSWORD_OPTION: Final = re.compile(r"(password=)[^&]*", re.IGNORECASE)

BUSY_SECONDS: Final = 30.0
"""How long a writer waits for the writer of another process."""


class LedgerUnavailableError(RuntimeError):
    """The entries were not recorded, through no fault of theirs; the caller may try again."""


class LedgerDamagedError(InputError):
    """The ledger contradicts itself; nothing more is written to it."""


class Rows(Protocol):
    """What a statement answers."""

    def fetchone(self) -> Any:
        """The next row as a tuple, or None."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """An open connection. Places in SQL are ``?``; bytes come back as ``bytes``."""

    name: str
    errors: tuple[type[Exception], ...]
    version: int

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Run one statement."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[object]]) -> None:
        """Run one statement for many rows."""

    def scan(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[Any]:
        """Run a query whose rows do not all fit in memory."""

    def begin_writing(self) -> None:
        """Open a transaction and become the one writer; others wait."""

    def begin_reading(self) -> None:
        """Open a transaction that sees one state of the ledger."""

    def revive(self) -> None:
        """Connect again where the connection is lost; raises what connecting raises."""

    def integrity(self) -> str | None:
        """What the database itself finds wrong with its storage, or None."""

    def is_damage(self, error: BaseException) -> bool:
        """Whether an error means that trying again would not help."""

    def close(self) -> None:
        """Close the connection."""


def is_url(location: Location) -> bool:
    """Whether a location is a database URL.

    >>> is_url("postgresql://db/ledger"), is_url("out/demo/ledger.sqlite")
    (True, False)
    """
    return isinstance(location, str) and _URL.match(location) is not None


def named(location: Location) -> str:
    """The location for messages, without a password.

    >>> named("postgresql://clerk:secret@db/ledger")
    'postgresql://clerk@db/ledger'
    """
    if not is_url(location):
        return os.fspath(location)
    return _PASSWORD_OPTION.sub(r"\1...", _PASSWORD.sub(r"\1@", str(location)))


def connect_for_writing(location: Location, *, create: bool) -> Database:
    """Open a writing connection, making or migrating the ledger if ``create`` says so."""
    if is_url(location):
        from serving.ledger.postgres import open_for_writing

        return open_for_writing(str(location), create=create)
    from serving.ledger import sqlite

    return sqlite.open_for_writing(Path(location), create=create)


def connect_for_reading(location: Location) -> Database:
    """Open a connection that cannot write and holds one consistent view of the ledger."""
    if is_url(location):
        from serving.ledger.postgres import open_for_reading

        return open_for_reading(str(location))
    from serving.ledger import sqlite

    return sqlite.open_for_reading(Path(location))


def require_ledger(location: Location) -> None:
    """Refuse a path that is no file; a URL is known only once it answers."""
    if not is_url(location) and not Path(location).is_file():
        raise InputError(f"a ledger is an existing file: {location} is none; check the path")


def exists(location: Location) -> bool:
    """Whether there is a ledger."""
    if not is_url(location):
        return Path(location).is_file()
    from serving.ledger.postgres import schema_version

    return schema_version(str(location)) > 0


def damaged(location: Location, detail: object) -> LedgerDamagedError:
    """Return the error that names the damage and the way to look into it."""
    return LedgerDamagedError(
        f"a ledger is used only while it is whole: {named(location)}: {detail};"
        " run 'gearline ledger verify'"
    )


def read_head(database: Database) -> tuple[CompactRange, bytes | None]:
    """Return the tree and the last entry, after checking that they belong together.

    Run it inside a transaction. Raises ``ValueError`` with the contradiction.
    """
    state = database.execute("SELECT size, peaks FROM tree").fetchone()
    if state is None:
        raise ValueError("the state of the tree is gone")
    size, peaks = state
    if not (isinstance(size, int) and isinstance(peaks, bytes)):
        raise ValueError("the state of the tree is no size and peaks")
    tree = CompactRange.from_bytes(size, peaks)
    last = database.execute(
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


Closing: TypeAlias = AbstractContextManager[Database]
