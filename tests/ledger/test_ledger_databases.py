"""What the databases themselves refuse, their roles, and ledgers of earlier versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from data_contracts.errors import InputError
from serving.ledger import (
    KeyedRequest,
    Ledger,
    LedgerReader,
    LedgerUnavailableError,
    Location,
    exists,
    is_url,
    leaf_hash,
    read_entries,
    verify,
)
from serving.ledger.envelope import next_entry_id, prepare, seal
from serving.ledger.migrations import CURRENT_VERSION, POSTGRES, SQLITE
from serving.ledger.tree import CompactRange
from tests.postgresql import new_database

NOON = datetime(2024, 3, 1, 12, 0, tzinfo=UTC)


def note(number: int) -> dict[str, object]:
    return {"kind": "note", "body": {"number": number}}


DAY = timedelta(days=1)


# --- the database's own refusals ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("UPDATE entries SET entry = leaf_hash", "an entry is never changed"),
        ("DELETE FROM entries", "an entry is never deleted"),
        ("INSERT INTO entries SELECT 7, root, root, root FROM entries", "positions have no gap"),
        ("UPDATE idempotency SET position = 1", "a key keeps its entry"),
        ("DELETE FROM idempotency", "a key is never deleted"),
        ("UPDATE labels SET position = 1", "a label keeps its entry"),
        ("DELETE FROM labels", "a label is never deleted"),
        ("UPDATE requests SET position = 1", "a request keeps its entry"),
        ("DELETE FROM requests", "a request is kept until it expires"),
    ],
)
def test_the_database_itself_refuses_to_change_what_is_recorded(
    path: Location, sql: str, message: str
) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([note(0), note(1)], idempotency_keys=["k", None])
        ledger.record([note(2)], KeyedRequest("r", b"0" * 32, datetime.now(UTC) + DAY))
        database = ledger._connection
        with pytest.raises(database.errors, match=f"the ledger is append-only: {message}"):
            database.execute(sql)
    assert verify(path).ok


@pytest.mark.parametrize("table", ["entries", "idempotency"])
def test_a_file_refuses_to_replace_a_row(tmp_path: Path, table: str) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite", create=True) as ledger:
        ledger.append([note(0)], idempotency_keys=["k"])
        with pytest.raises(sqlite3.IntegrityError, match="the ledger is append-only"):
            ledger._connection.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")


@pytest.mark.parametrize("table", ["entries", "idempotency", "labels", "requests"])
def test_a_server_refuses_to_empty_a_table(server: str, template: str, table: str) -> None:
    with Ledger.open(new_database(server, template)) as ledger:
        database = ledger._connection
        with pytest.raises(database.errors, match="the ledger is append-only: it is never emptied"):
            database.execute(f"TRUNCATE {table}")


LOGINS = """
CREATE ROLE {0}_clerk LOGIN; GRANT gearline_writer TO {0}_clerk;
CREATE ROLE {0}_auditor LOGIN; GRANT gearline_reader TO {0}_auditor
"""


def test_a_server_lets_the_writer_append_and_the_reader_read_and_neither_do_more(
    server: str, template: str
) -> None:
    url = new_database(server, template)
    name = url.partition("?")[0].rsplit("/", 1)[1]
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(LOGINS.format(name).encode())
    clerk, auditor = (url.replace("postgres:@", f"{name}_{who}@") for who in ("clerk", "auditor"))
    with Ledger.open(clerk) as ledger:
        assert ledger.append([note(0)], idempotency_keys=["k"]) == [0]
        for sql in (
            "DELETE FROM entries",
            "UPDATE entries SET entry = leaf_hash",
            "TRUNCATE entries",
            "DROP TABLE entries",
            "ALTER TABLE entries DISABLE TRIGGER ALL",
            "SET session_replication_role = replica",
            "DELETE FROM tree",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                ledger._connection.execute(sql)
    assert verify(auditor).ok
    assert [entry.position for entry in read_entries(auditor)] == [0]
    with Ledger.open(auditor) as ledger, pytest.raises(LedgerUnavailableError, match="denied"):
        ledger.append([note(1)])


def test_a_server_that_does_not_sync_is_refused(
    server: str, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serving.ledger import postgres

    asked = postgres._require_syncing

    class Unsynced:
        def __init__(self, database: object) -> None:
            self.name = "db"
            self.connection = self

        def execute(self, sql: bytes) -> Unsynced:
            return self

        def fetchone(self) -> tuple[str]:
            return ("off",)

    monkeypatch.setattr(postgres, "_require_syncing", lambda database: asked(Unsynced(database)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a ledger needs a server that syncs: db runs with fsync"):
        Ledger.open(new_database(server, template))


def test_a_database_without_a_ledger_is_named_and_no_password_is_shown(server: str) -> None:
    url = new_database(server)
    with pytest.raises(InputError, match="make one with `gearline ledger migrate URL`"):
        Ledger.open(url)
    assert not exists(url)
    wrong = "postgresql://clerk:secret@localhost:1/ledger"
    with pytest.raises(LedgerUnavailableError, match="clerk@localhost:1/ledger: connection") as bad:
        Ledger.open(wrong)
    assert "secret" not in str(bad.value)


# --- migrations ---------------------------------------------------------------------------------


def first_version(place: Location) -> None:
    """A ledger as the first release left it, with one entry."""
    now = datetime(2024, 3, 1, 12, tzinfo=UTC)
    body = {"client_id": "c7", "number": 0}
    entry = seal(prepare({"kind": "note", "body": body}), next_entry_id(now, None), now)
    tree = CompactRange()
    tree.append(leaf_hash(entry))
    row = (0, leaf_hash(entry), tree.root(), entry)
    state = (1, tree.to_bytes())
    if is_url(place):
        with psycopg.connect(str(place), autocommit=True) as server:
            server.execute("CREATE SCHEMA gearline")
            server.execute("SET search_path = gearline")
            server.execute(
                "CREATE TABLE schema_version"
                " (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            server.execute(POSTGRES[1].encode())
            server.execute("INSERT INTO schema_version (version) VALUES (1)")
            server.execute("INSERT INTO entries VALUES (%s, %s, %s, %s)", row)
            server.execute("UPDATE tree SET size = %s, peaks = %s", state)
    else:
        file = sqlite3.connect(place, isolation_level=None)
        file.executescript(f"PRAGMA journal_mode = WAL; {SQLITE[1]} PRAGMA user_version = 1;")
        file.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", row)
        file.execute("UPDATE tree SET size = ?, peaks = ?", state)
        file.close()


def test_a_ledger_of_the_first_version_is_brought_up_with_its_entries(
    place: Callable[[], Location],
) -> None:
    where = place()
    first_version(where)
    with Ledger.open(where, create=True) as ledger:
        assert ledger._connection.version == CURRENT_VERSION
        assert ledger.append([note(1)]) == [1]
    with LedgerReader(where) as reader:
        assert [e.position for e in reader.latest("client_id/c7")] == [0]
    assert verify(where).ok


def test_a_file_of_the_first_version_is_verified_as_it_is(tmp_path: Path) -> None:
    first_version(tmp_path / "ledger.sqlite")
    assert verify(tmp_path / "ledger.sqlite").ok
