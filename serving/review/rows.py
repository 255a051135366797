"""The queue's tables: the same SQL on both databases. Everything here runs in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from data_contracts.canonical import bytes_of_typed
from data_contracts.errors import InputError
from models.reasons.catalogue import AUDIENCES
from serving.ledger.database import Database
from serving.ledger.envelope import Request, freeze
from serving.review.case import ReviewAct, ReviewCase, Reviewer, ReviewStateError

OPENED_KIND: Final = "review_opened"
NIGHT_KIND: Final = "reviews_opened"
ACT_KIND: Final = "review"
REVIEWER_KIND: Final = "reviewer_set"
_COLUMNS: Final = (
    "case_id", "state", "kind", "level", "audience", "main_rule", "priority", "opened_at", "due_at",
    "currency", "exposure_minor", "client_id", "related_group_id", "decision_id", "holder",
    "lease_until", "snoozed_until", "closed_at", "document",
)  # fmt: skip
_INSERT: Final = (
    f"INSERT INTO review_cases ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_UPDATE: Final = (
    f"UPDATE review_cases SET {', '.join(f'{c} = ?' for c in _COLUMNS[1:])} WHERE case_id = ?"
)


_INSERT_ACT: Final = (
    "INSERT INTO review_acts (position, case_id, decision_id, act, actor, acted_at, document)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
Inserted = tuple[str, tuple[object, ...]]
"""A row with the statement that inserts it."""


def _row(case: ReviewCase) -> tuple[object, ...]:
    return (
        case.case_id, case.state, case.kind, case.level, AUDIENCES.index(case.audience),
        case.main_rule, case.priority, case.opened_at, case.due_at, case.currency,
        case.exposure_amt, case.client_id, case.related_group_id, case.decision_id, case.holder,
        case.lease_until, case.snoozed_until, case.closed_at,
        orjson.dumps(case.to_json(), option=orjson.OPT_SORT_KEYS),
    )  # fmt: skip


def read_document(document: Any) -> ReviewCase:
    """A case from its stored document."""
    return ReviewCase.from_json(orjson.loads(document))


def insert_cases(database: Database, cases: Sequence[ReviewCase]) -> None:
    """Put new cases into the queue."""
    database.executemany(_INSERT, [_row(case) for case in cases])


def update_case(database: Database, case: ReviewCase) -> None:
    """Write a case's new state."""
    row = _row(case)
    database.execute(_UPDATE, (*row[1:], row[0]))


def case_row(database: Database, case_id: str) -> ReviewCase:
    """A case as it stands in this transaction."""
    row = database.execute(
        "SELECT document FROM review_cases WHERE case_id = ?", (case_id,)
    ).fetchone()
    if row is None:
        raise ReviewStateError(f"there is no case {case_id}; list the queue to see what there is")
    return read_document(row[0])


def cases_of_clients(database: Database, clients: Sequence[str]) -> list[ReviewCase]:
    """Every case about some clients, in order of opening."""
    found: list[ReviewCase] = []
    names = sorted(set(clients))
    for start in range(0, len(names), 500):
        part = names[start : start + 500]
        places = ", ".join("?" * len(part))
        rows = database.execute(
            f"SELECT document FROM review_cases WHERE client_id IN ({places})"
            " ORDER BY opened_at, case_id",
            tuple(part),
        ).fetchall()
        found += [read_document(row[0]) for row in rows]
    return found


def cases_of_decision(database: Database, decision: str) -> list[ReviewCase]:
    """Every case about a decision, in order of opening."""
    rows = database.execute(
        "SELECT document FROM review_cases WHERE decision_id = ? ORDER BY opened_at, case_id",
        (decision,),
    ).fetchall()
    return [read_document(row[0]) for row in rows]


def exclude(database: Database, case_id: str, reviewers: Sequence[str]) -> None:
    """Keep a case from some people: those who decided what it appeals against."""
    database.executemany(
        "INSERT INTO review_excluded (case_id, reviewer) VALUES (?, ?)",
        [(case_id, name) for name in sorted(set(reviewers))],
    )


def is_excluded(database: Database, case_id: str, reviewer: str) -> bool:
    """Whether a case is kept from somebody."""
    row = database.execute(
        "SELECT 1 FROM review_excluded WHERE case_id = ? AND reviewer = ?", (case_id, reviewer)
    ).fetchone()
    return row is not None


def has_view(database: Database, case_id: str, reviewer: str) -> bool:
    """Whether somebody has recorded their own view of a case."""
    row = database.execute(
        "SELECT 1 FROM review_views WHERE case_id = ? AND reviewer = ?", (case_id, reviewer)
    ).fetchone()
    return row is not None


def add_view(database: Database, case_id: str, reviewer: str) -> None:
    """Note that somebody has recorded their view."""
    database.execute(
        "INSERT INTO review_views (case_id, reviewer) VALUES (?, ?)", (case_id, reviewer)
    )


def reviewer_row(database: Database, subject: str) -> Reviewer | None:
    """What an administrator set of a person, or None."""
    row = database.execute(
        "SELECT document FROM reviewers WHERE reviewer = ?", (subject,)
    ).fetchone()
    return None if row is None else Reviewer.from_json(orjson.loads(row[0]))


def put_reviewer(database: Database, reviewer: Reviewer) -> None:
    """Set what is known of a person."""
    document = orjson.dumps(reviewer.to_json(), option=orjson.OPT_SORT_KEYS)
    database.execute(
        "INSERT INTO reviewers (reviewer, document) VALUES (?, ?)"
        " ON CONFLICT (reviewer) DO UPDATE SET document = excluded.document",
        (reviewer.subject, document),
    )


def recorded(
    database: Database,
    position: int,
    case: ReviewCase,
    act: str,
    actor: str,
    acted_at: str,
    detail: dict[str, Any],
    kind: str = ACT_KIND,
) -> Request:
    """The entry of an act, which holds the case as it is after it; and its row in the time line.

    Decision and client stand inside ``case``: an entry's own labels are the case's.
    """
    request, row = acted(position, case, act, actor, acted_at, detail, kind)
    database.execute(_INSERT_ACT, row)
    return request


def opened(position: int, case: ReviewCase, actor: str, at: str) -> tuple[Request, list[Inserted]]:
    """The entry of a case that is opened beside its decision, and the rows that go with it."""
    request, act = acted(position, case, "opened", actor, at, {}, OPENED_KIND)
    return request, [(_INSERT, _row(case)), (_INSERT_ACT, act)]


def acted(
    position: int,
    case: ReviewCase,
    act: str,
    actor: str,
    acted_at: str,
    detail: dict[str, Any],
    kind: str,
) -> tuple[Request, tuple[object, ...]]:
    """The entry of an act, and its row in the time line."""
    document = orjson.dumps(
        {"detail": detail, "revision": case.revision}, option=orjson.OPT_SORT_KEYS
    )
    row = (position, case.case_id, case.decision_id, act, actor, acted_at, document)
    body = {
        "case_id": case.case_id,
        "act": act,
        "actor": actor,
        "acted_at": acted_at,
        "detail": detail,
        "case": case.to_json(),
    }
    return freeze(kind, body, bytes_of_typed(body)), row


def read_act(row: Sequence[Any]) -> ReviewAct:
    """An act from its row."""
    position, case_id, decision, act, actor, acted_at, document = row
    return ReviewAct(
        int(position), text(case_id), text(decision), text(act), text(actor), text(acted_at),
        orjson.loads(document)["detail"],
    )  # fmt: skip


def text(value: Any) -> str:
    """Text of either database; a reading SQLite connection gives bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def require_tables(version: int, name: str) -> None:
    """Refuse a ledger from before there was a queue."""
    if version < 3:
        raise InputError(
            f"the ledger in {name} is of format {version}, without a review queue; run"
            " `gearline ledger migrate` first"
        )
