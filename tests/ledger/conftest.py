"""Every test of a ledger runs on both databases: an SQLite file and a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from serving.ledger import Ledger, Location, is_url, leaf_hash
from serving.ledger.database import connect_for_writing
from serving.ledger.envelope import labels_of
from serving.ledger.tree import CompactRange
from serving.ledger.verify import _canonical_entry
from tests.ledger.ten_entries import filled, ticking_clock
from tests.postgresql import new_database

Statement = tuple[str, tuple[object, ...]]


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """The name of a database with an empty ledger, to be copied."""
    url = new_database(server)
    Ledger.open(url, create=True).close()
    return url.partition("?")[0].rsplit("/", 1)[1]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Location]:
    """Where a new ledger may be made."""

    def make() -> Location:
        if request.param == "sqlite":
            return tmp_path / "ledger.sqlite"
        return new_database(request.getfixturevalue("server"))

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty, closed ledger: a file's path or a database's URL."""
    if request.param == "postgresql":
        return new_database(request.getfixturevalue("server"), request.getfixturevalue("template"))
    file = tmp_path / "ledger.sqlite"
    Ledger.open(file, create=True).close()
    return file


class Attacker:
    """Has write access to the database, knows its format, and lacks the signing key."""

    def __init__(self, path: Location) -> None:
        self.path = path

    def run(self, *statements: Statement) -> None:
        """Run SQL after taking every trigger out of the way."""
        with closing(connect_for_writing(self.path, create=False)) as database:
            if is_url(self.path):
                database.execute("SET session_replication_role = replica")
            else:
                triggers = "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
                for (name,) in database.execute(triggers).fetchall():
                    database.execute(f"DROP TRIGGER {name}")
            for sql, arguments in statements:
                database.execute(sql, arguments)

    def rows(self) -> list[tuple[int, bytes, bytes, bytes]]:
        """Position, leaf hash, root and entry of the whole log."""
        with closing(connect_for_writing(self.path, create=False)) as database:
            return database.execute(
                "SELECT position, leaf_hash, root, entry FROM entries ORDER BY position"
            ).fetchall()

    def rewrite(self, entries: Sequence[bytes]) -> None:
        """Make ``entries`` the whole log, with every hash, label and the tree recomputed."""
        tree = CompactRange()
        statements: list[Statement] = [
            (f"DELETE FROM {table}", ()) for table in ("entries", "labels", "idempotency")
        ]
        for position, entry in enumerate(entries):
            leaf = leaf_hash(entry)
            tree.append(leaf)
            row = (position, leaf, tree.root(), entry)
            statements.append(
                ("INSERT INTO entries (position, leaf_hash, root, entry) VALUES (?, ?, ?, ?)", row)
            )
            try:
                labels = labels_of(*_canonical_entry(position, entry))
            except Exception:  # an entry that is none has no labels
                labels = []
            statements += [("INSERT INTO labels VALUES (?, ?)", (k, position)) for k in labels]
        statements.append(("UPDATE tree SET size = ?, peaks = ?", (tree.size, tree.to_bytes())))
        self.run(*statements)


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    """A closed ledger of ten entries in a file."""
    return Path(filled(tmp_path / "ledger.sqlite"))


@pytest.fixture
def ledger_path(path: Location) -> Location:
    """A closed ledger of ten entries on either database."""
    return filled(path)


@pytest.fixture
def since(ledger_path: Location, tmp_path: Path) -> Path:
    """A checkpoint file kept away from the ledger."""
    vault = tmp_path / "vault"
    vault.mkdir()
    with Ledger.open(ledger_path, clock=ticking_clock()) as ledger:
        ledger.checkpoint(tmp_path / "signing.key", vault / "checkpoints.jsonl")
    return vault / "checkpoints.jsonl"


@pytest.fixture
def attacker(ledger_path: Location) -> Attacker:
    return Attacker(ledger_path)
