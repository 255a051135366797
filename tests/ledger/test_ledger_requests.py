"""A caller's request takes effect once; entries are found by what their bodies name."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from data_contracts.errors import InputError
from serving.ledger import (
    KeyedRequest,
    Ledger,
    LedgerReader,
    Location,
    RequestConflictError,
    Submission,
    read_entries,
    verify,
)
from serving.ledger.envelope import Request, prepare
from serving.ledger.group import Rows

NOON = datetime(2024, 3, 1, 12, 0, tzinfo=UTC)


def note(number: int) -> dict[str, object]:
    return {"kind": "note", "body": {"number": number}}


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


# --- acts ---------------------------------------------------------------------------------------


def taking(name: str, seen: list[int]) -> Submission:
    """Puts a reviewer's row, once, and records a note; a second one is refused after writing."""

    def act(database: Any, position: int) -> list[Any]:
        seen.append(position)
        known = database.execute("SELECT count(*) FROM reviewers").fetchone()[0]
        database.execute("INSERT INTO reviewers (reviewer, document) VALUES (?, ?)", (name, b"{}"))
        if known:
            raise InputError("somebody was first")
        return [prepare(note(7))]

    return Submission([], keyed(f"take-{name}", b"body"), act)


def test_an_act_commits_with_its_entry_and_a_refused_one_is_undone_alone(path: Location) -> None:
    seen: list[int] = []
    with Ledger.open(path, clock=lambda: NOON) as ledger:
        group = [
            Submission([(prepare(note(0)), None)]),
            taking("ann", seen),
            taking("bob", seen),
            taking("bob", seen),
            Submission([(prepare(note(1)), None)]),
        ]
        ledger.commit_group(group)
        assert [s.positions for s in group] == [[0], [1], [], [], [2]]
        assert seen == [1, 2, 2]
        assert [str(s.error) for s in group if s.error] == ["somebody was first"] * 2
        rows = ledger._connection.execute("SELECT reviewer FROM reviewers").fetchall()
        assert [tuple(row) for row in rows] == [("ann",)]
        again = ledger.submit(taking("ann", seen))
        assert (again.positions, again.repeated, len(seen)) == ([1], True, 3)
    assert verify(path).ok


# --- what a group asks for and adds at once -----------------------------------------------------


def test_the_newest_entry_under_each_of_many_labels_is_found_in_one_look(path: Location) -> None:
    bodies = [{"client_id": f"c{k % 3}", "number": k} for k in range(7)]
    with Ledger.open(path) as ledger:
        ledger.append([{"kind": "note", "body": body} for body in bodies])
    labels = [f"client_id/c{k}" for k in range(4)]
    with LedgerReader(path) as reader:
        found = reader.newest(labels)
        assert found == {name: reader.latest(name)[0] for name in labels[:3]}
        assert reader.newest([]) == {}
        # more than one statement may hold
        many = [*labels, *(f"client_id/x{k}" for k in range(1200))]
        assert reader.newest(many).keys() == set(labels[:3])
    assert [found[name].position for name in labels[:3]] == [6, 4, 5]


def test_rows_of_a_group_are_there_with_its_entries_and_not_where_one_is_refused(
    path: Location,
) -> None:
    act = "INSERT INTO review_excluded (case_id, reviewer) VALUES (?, ?)"

    def beside(number: int) -> Rows:
        def make(position: int) -> tuple[list[Request], list[tuple[str, tuple[object, ...]]]]:
            return [prepare(note(100 + position))], [(act, (f"case-{number}", "zoe"))]

        return Rows(make)

    with Ledger.open(path, clock=lambda: NOON) as ledger:
        ledger.record([note(0)], keyed("k", b"body"))
        group = [
            Submission([(prepare(note(1)), None)], act=beside(1)),
            Submission([(prepare(note(2)), None)], keyed("k", b"another"), act=beside(2)),
            Submission([(prepare(note(3)), None)], act=beside(3)),
        ]
        ledger.commit_group(group)
        assert [s.positions for s in group] == [[1, 2], [], [3, 4]]
        assert isinstance(group[1].error, RequestConflictError)
        found = ledger._connection.execute("SELECT case_id FROM review_excluded ORDER BY case_id")
        assert [row[0] for row in found.fetchall()] == ["case-1", "case-3"]
    assert [e.body["number"] for e in read_entries(path)] == [0, 1, 102, 3, 104]
    assert verify(path).ok
