"""Appending: gap-free, durable before it is acknowledged, idempotent, and refused otherwise."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.canonical import canonical_bytes
from data_contracts.errors import InputError
from serving.ledger import (
    Ledger,
    LedgerUnavailableError,
    Location,
    export,
    leaf_hash,
    prove,
    read_entries,
    root,
    verify,
    verify_inclusion,
)
from serving.ledger.envelope import next_entry_id

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
