"""Appending: gap-free, durable before it is acknowledged, idempotent, and refused otherwise."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import orjson
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.canonical import canonical_bytes
from data_contracts.errors import InputError
from serving.ledger import (
    KeyedRequest,
    Ledger,
    LedgerReader,
    LedgerUnavailableError,
    Location,
    RequestConflictError,
    Submission,
    exists,
    export,
    is_url,
    leaf_hash,
    prove,
    read_entries,
    root,
    verify,
    verify_inclusion,
)
from serving.ledger.envelope import next_entry_id, prepare, seal
from serving.ledger.migrations import CURRENT_VERSION, POSTGRES, SQLITE
from serving.ledger.tree import CompactRange
from tests.postgresql import new_database

NOON = datetime(2024, 3, 1, 12, 0, tzinfo=UTC)


def note(number: int) -> dict[str, object]:
    return {"kind": "note", "body": {"number": number}}


# --- opening ------------------------------------------------------------------------------------


def test_a_missing_ledger_is_opened_only_when_creation_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no file; check the path, or open it with create="):
        Ledger.open(tmp_path / "ledger.sqlite")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="a ledger is created in an existing folder"):
        Ledger.open(tmp_path / "none" / "ledger.sqlite", create=True)


def test_every_commit_is_synced_in_write_ahead_mode(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite", create=True) as ledger:
        assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


# --- entries ------------------------------------------------------------------------------------


def test_positions_have_no_gap_across_groups_and_reopening(path: Location) -> None:
    with Ledger.open(path) as ledger:
        assert ledger.append([note(0), note(1)]) == [0, 1]
        assert ledger.append([]) == []
    with Ledger.open(path, create=True) as ledger:
        assert ledger.append([note(2)]) == [2]
        assert [entry.body["number"] for entry in ledger.entries()] == [0, 1, 2]
        assert [entry.position for entry in ledger.entries(1, 2)] == [1]


def test_the_envelope_is_the_body_with_kind_id_and_time(path: Location) -> None:
    with Ledger.open(path, clock=lambda: NOON) as ledger:
        ledger.append([note(0)])
    [line] = export(path)
    entry = orjson.loads(line)
    assert entry.keys() == {"body", "entry_id", "kind", "recorded_at"}
    assert entry["recorded_at"] == "2024-03-01T12:00:00.000000Z"
    identity = UUID(entry["entry_id"])
    assert identity.version == 7
    assert identity.int >> 80 == int(NOON.timestamp() * 1000)


@given(st.lists(st.integers(-5_000_000, 5_000_000), min_size=2, max_size=20))
def test_entry_ids_sort_in_order_of_position_whatever_the_clock_does(steps: list[int]) -> None:
    previous = None
    for step in steps:
        identity = next_entry_id(NOON + timedelta(microseconds=step), previous)
        assert (identity.version, identity.variant) == (7, "specified in RFC 4122")
        assert previous is None or previous < identity
        previous = identity


def test_entry_ids_go_on_after_reopening_with_a_clock_that_went_back(path: Location) -> None:
    for moment in (NOON, NOON - timedelta(hours=1)):
        with Ledger.open(path, clock=lambda at=moment: at) as ledger:  # type: ignore[misc]
            ledger.append([note(0)])
    first, second = read_entries(path)
    assert first.entry_id < second.entry_id


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), DOCUMENTS), min_size=1, max_size=5))
@settings(deadline=None, max_examples=30)
def test_what_is_recorded_is_read_back_and_verifies(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[dict[str, object]]
) -> None:
    file = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    with Ledger.open(file, create=True) as ledger:
        ledger.append([{"kind": "any", "body": body} for body in bodies])
        head = ledger.head()
    assert [entry.body for entry in read_entries(file)] == bodies
    assert verify(file).ok
    assert root([leaf_hash(line[:-1]) for line in export(file)]) == head.root
    for line in export(file):
        assert canonical_bytes(orjson.loads(line)) + b"\n" == line


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "n", "body": {"pd": 0.5}}, r"document\.pd is 0\.5 \(float\)"),
        ({"kind": "n", "body": {"n": 2**53}}, r"document\.n is 9007199254740992; write it as a"),
        ({"kind": "n", "body": {"融": 1}}, "ASCII string keys only"),
        ({"kind": "n", "body": {"text": "\ud800"}}, "valid Unicode only"),
        ({"kind": "n", "body": [1]}, "the body of a ledger entry is a mapping: got list"),
        ({"kind": "", "body": {}}, "the kind of a ledger entry is a non-empty string: got ''"),
        ({"kind": "n"}, r"has exactly the keys body and kind: got \['kind'\]"),
        ({"kind": "n", "body": {}, "entry_id": "x"}, "the ledger adds entry_id and recorded_at"),
    ],
)
def test_an_entry_that_is_not_canonical_is_refused_with_its_whole_group(
    path: Location, entry: dict[str, object], message: str
) -> None:
    with Ledger.open(path) as ledger:
        with pytest.raises(InputError, match=message):
            ledger.append([note(0), entry])
        assert ledger.head().size == 0


def test_a_body_changed_by_its_owner_after_appending_stays_as_recorded(path: Location) -> None:
    body: dict[str, object] = {"items": [1]}
    with Ledger.open(path) as ledger:
        ledger.append([{"kind": "n", "body": body}])
        body["items"] = [2]
        [entry] = ledger.entries()
    assert entry.body == {"items": [1]}


def test_a_clock_without_zone_is_refused_and_nothing_is_recorded(path: Location) -> None:
    with Ledger.open(path, clock=lambda: datetime(2024, 3, 1)) as ledger:
        with pytest.raises(InputError, match="the ledger's clock gives times with a zone"):
            ledger.append([note(0)])
        assert ledger.head().size == 0


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


# --- requests -----------------------------------------------------------------------------------

DAY = timedelta(days=1)


def keyed(key: str, body: bytes, at: datetime = NOON) -> KeyedRequest:
    return KeyedRequest(key, hashlib.sha256(body).digest(), at + DAY)


def test_a_request_takes_effect_once_also_after_reopening(path: Location) -> None:
    with Ledger.open(path, clock=lambda: NOON) as ledger:
        first = ledger.record([note(0), note(1)], keyed("k", b"body"))
        assert (first.positions, first.repeated) == ([0, 1], False)
    with Ledger.open(path, clock=lambda: NOON + DAY / 2) as ledger:
        again = ledger.record([note(5)], keyed("k", b"body"))
        assert (again.positions, again.repeated) == ([0], True)
        assert again.entries == first.entries[:1]
        assert ledger.head().size == 2


def test_a_key_with_another_request_is_refused_and_nothing_is_recorded(path: Location) -> None:
    with Ledger.open(path, clock=lambda: NOON) as ledger:
        ledger.record([note(0)], keyed("k", b"body"))
        with pytest.raises(RequestConflictError, match="use a new key"):
            ledger.record([note(1)], keyed("k", b"another"))
        assert ledger.head().size == 1


def test_a_key_is_free_again_once_its_record_has_expired(path: Location) -> None:
    with Ledger.open(path, clock=lambda: NOON) as ledger:
        ledger.record([note(0)], keyed("k", b"body"))
    later = NOON + DAY
    with Ledger.open(path, clock=lambda: later) as ledger:
        assert ledger.record([note(1)], keyed("k", b"another", later)).positions == [1]
        assert ledger.record([note(2)], keyed("k", b"another", later)).positions == [1]
    assert verify(path).ok


def test_two_requests_of_one_key_in_one_group_are_one(path: Location) -> None:
    with Ledger.open(path, clock=lambda: NOON) as ledger:
        group = [
            Submission([(prepare(note(number)), None)], keyed("k", body))
            for number, body in enumerate((b"body", b"body", b"another"))
        ]
        ledger.commit_group(group)
        assert [s.positions for s in group] == [[0], [0], []]
        assert [s.repeated for s in group] == [False, True, False]
        assert isinstance(group[2].error, RequestConflictError)
        assert ledger.head().size == 1


def test_entries_are_found_by_what_their_bodies_name_newest_first(path: Location) -> None:
    with Ledger.open(path) as ledger, LedgerReader(path) as reader:
        for number in range(3):
            body = {"client_id": "c7", "decision_id": f"d{number}"}
            ledger.append([{"kind": "decision", "body": body}])
        assert [e.position for e in reader.latest("client_id/c7", 2)] == [2, 1]
        assert [e.position for e in reader.latest("client_id/c7", 2, before=2)] == [1, 0]
        assert [e.position for e in reader.latest("decision_id/d1")] == [1]
        assert reader.latest("decision_id/d9") == []
        assert reader.entry(1).body["decision_id"] == "d1"


# --- idempotency --------------------------------------------------------------------------------


def test_an_idempotency_key_returns_the_same_position_also_after_reopening(path: Location) -> None:
    with Ledger.open(path) as ledger:
        assert ledger.append([note(0), note(1)], idempotency_keys=["a", "b"]) == [0, 1]
        assert ledger.append([note(1)], idempotency_keys=["b"]) == [1]
    with Ledger.open(path) as ledger:
        assert ledger.append([note(2), note(0)], idempotency_keys=[None, "a"]) == [2, 0]
        assert ledger.head().size == 3
        assert (ledger.position_of("b"), ledger.position_of("c")) == (1, None)


def test_a_key_given_twice_in_one_group_is_recorded_once(path: Location) -> None:
    with Ledger.open(path) as ledger:
        assert ledger.append([note(0), note(0)], idempotency_keys=["a", "a"]) == [0, 0]


def test_an_idempotency_key_with_other_content_is_refused_and_nothing_is_recorded(
    path: Location,
) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([note(0)], idempotency_keys=["a"])
        with pytest.raises(InputError, match="'a' was recorded with another; use a new key"):
            ledger.append([note(5), note(1)], idempotency_keys=[None, "a"])
        with pytest.raises(InputError, match="'b' was given twice with another"):
            ledger.append([note(1), note(2)], idempotency_keys=["b", "b"])
        with pytest.raises(InputError, match="got 1 keys for 2 entries"):
            ledger.append([note(1), note(2)], idempotency_keys=["b"])
        assert ledger.head().size == 1


# --- many writers, and failure ------------------------------------------------------------------


def test_threads_share_one_ledger_and_each_gets_its_own_positions(path: Location) -> None:
    acknowledged: dict[int, int] = {}

    def work(worker: int) -> None:
        for step in range(20):
            number = worker * 100 + step
            [position] = ledger.append([note(number)], idempotency_keys=[f"n{number}"])
            acknowledged[position] = number

    with Ledger.open(path) as ledger:
        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(acknowledged) == list(range(160))
    assert all(acknowledged[entry.position] == entry.body["number"] for entry in read_entries(path))
    assert verify(path).ok


def test_two_open_ledgers_on_one_file_take_turns(path: Location) -> None:
    with Ledger.open(path) as one, Ledger.open(path) as other:
        positions = [ledger.append([note(0)])[0] for ledger in (one, other, one, other)]
    assert positions == [0, 1, 2, 3]
    assert verify(path).ok


def test_a_full_disk_records_nothing_acknowledges_nothing_and_is_recovered_from(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path, create=True).close()
    with Ledger.open(path) as ledger:
        ledger.append([note(0)])
        [pages] = ledger._connection.execute("PRAGMA page_count").fetchone()
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
        big = {"kind": "note", "body": {"text": "x" * 100_000}}
        with pytest.raises(LedgerUnavailableError, match=r"nothing was recorded: .* is full"):
            ledger.append([note(1), big], idempotency_keys=["a", "b"])
        ledger._connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
        assert ledger.append([note(1), big], idempotency_keys=["a", "b"]) == [1, 2]
    assert verify(path).ok


WRITER = """
import sys
from serving.ledger import Ledger

with Ledger.open(sys.argv[1]) as ledger:
    number = ledger.head().size
    while True:
        group = [{"kind": "note", "body": {"number": number + step}} for step in range(3)]
        keys = [f"n{number + step}" for step in range(3)]
        print(*ledger.append(group, idempotency_keys=keys), flush=True)
        number = ledger.head().size
"""


def test_a_writer_killed_while_appending_loses_no_acknowledged_entry(path: Location) -> None:
    acknowledged: set[int] = set()
    for lines_before_the_kill in (1, 40, 150):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(lines_before_the_kill):
            acknowledged.update(map(int, writer.stdout.readline().split()))
        writer.send_signal(signal.SIGKILL)
        # What it had printed before it died counts as well; a torn line does not.
        rest = writer.stdout.read()
        for line in rest.splitlines(keepends=True):
            if line.endswith("\n"):
                acknowledged.update(map(int, line.split()))
        assert writer.wait() == -signal.SIGKILL
        writer.stdout.close()
        assert verify(path).ok
        recorded = {entry.position: entry.body["number"] for entry in read_entries(path)}
        assert acknowledged <= recorded.keys()
        assert all(position == number for position, number in recorded.items())
        assert len(recorded) % 3 == 0  # a group is recorded whole or not at all


# --- proofs -------------------------------------------------------------------------------------


def test_every_entry_has_a_proof_that_anyone_can_check(path: Location) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([note(number) for number in range(11)])
        head = ledger.head()
    for position in range(11):
        proof = prove(path, position)
        assert (proof["position"], proof["size"], proof["root"]) == (position, 11, head.root.hex())
        leaf = leaf_hash(str(proof["entry"]).encode())
        steps = proof["proof"]
        assert isinstance(steps, list)
        assert verify_inclusion(
            leaf, position, 11, [bytes.fromhex(step) for step in steps], head.root
        )


@pytest.mark.parametrize("position", [-1, 1])
def test_a_proof_of_an_entry_that_is_not_there_is_refused(path: Location, position: int) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([note(0)])
    with pytest.raises(InputError, match=f"is below its 1 entries, from 0: got {position}"):
        prove(path, position)
