"""Reading the queue: lists, one case, its time line, counts. Every look sees what is committed."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any, Final

import orjson

from data_contracts.errors import InputError
from serving.ledger import LedgerReader, Location
from serving.review import rows
from serving.review.case import (
    CaseFilter,
    CasePage,
    ReviewAct,
    ReviewCase,
    Reviewer,
    instant,
)

LONGEST_PAGE: Final = 200
CURSOR: Final = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{15}Z~[1-9]~[0-9a-f-]{36}$"


def _cursor(case: ReviewCase) -> str:
    return f"{case.due_at}~{case.priority}~{case.case_id}"


def read_cursor(cursor: str) -> tuple[str, int, str]:
    """The place that a cursor stands for: due time, priority, case; anything else is refused."""
    if not re.fullmatch(CURSOR, cursor):
        raise InputError("the cursor is none of ours; start from the first page")
    due, priority, case_id = cursor.split("~")
    return due, int(priority), case_id


class ReviewStore(LedgerReader):
    """Look-ups in the queue, on a connection that cannot write; safe to share between threads."""

    def __init__(self, where: Location) -> None:
        super().__init__(where)
        rows.require_tables(self._database.version, self._database.name)

    def case(self, case_id: str, reader: Reviewer | None = None) -> ReviewCase | None:
        """One case; None where there is none that this reader may know of."""
        found = self._query("SELECT document FROM review_cases WHERE case_id = ?", (case_id,))
        if not found:
            return None
        case = rows.read_document(found[0][0])
        if reader is not None and not _visible(case, reader):
            return None
        return case

    def page(
        self,
        reader: Reviewer,
        now: dt.datetime,
        only: CaseFilter | None = None,
        *,
        limit: int = 50,
        cursor: str | None = None,
    ) -> CasePage:
        """Cases in the order in which they are due, those that this reader may know of.

        Pages are by key: a case that comes or goes moves no other.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InputError(f"a page has 1 to {LONGEST_PAGE} cases; got {limit}")
        conditions, values = _conditions(reader, now, only or CaseFilter())
        if cursor is not None:
            due, priority, case_id = read_cursor(cursor)
            conditions.append("(due_at, priority, case_id) > (?, ?, ?)")
            values += [due, priority, case_id]
        found = self._query(
            f"SELECT document FROM review_cases WHERE {' AND '.join(conditions)}"
            " ORDER BY due_at, priority, case_id LIMIT ?",
            (*values, limit + 1),
        )
        cases = tuple(rows.read_document(row[0]) for row in found)
        more = len(cases) > limit
        return CasePage(cases[:limit], _cursor(cases[limit - 1]) if more else None)

    def cases_of_client(self, client_id: str, reader: Reviewer) -> list[ReviewCase]:
        """Every case about a client, the last opened first."""
        found = self._query(
            "SELECT document FROM review_cases WHERE client_id = ? ORDER BY opened_at DESC, case_id"
            " LIMIT 100",
            (client_id,),
        )
        cases = [rows.read_document(row[0]) for row in found]
        return [c for c in cases if _visible(c, reader)]

    def cases_of_decision(self, decision_id: str) -> list[ReviewCase]:
        """Every case about a decision, in order of opening."""
        found = self._query(
            "SELECT document FROM review_cases WHERE decision_id = ? ORDER BY opened_at, case_id",
            (decision_id,),
        )
        return [rows.read_document(row[0]) for row in found]

    def timeline(self, case_id: str) -> list[ReviewAct]:
        """What was done to a case, in order."""
        found = self._query(
            "SELECT position, case_id, decision_id, act, actor, acted_at, document"
            " FROM review_acts WHERE case_id = ? ORDER BY position",
            (case_id,),
        )
        return [rows.read_act(row) for row in found]

    def acts(self, since: dt.datetime | None = None, until: dt.datetime | None = None
             ) -> list[ReviewAct]:  # fmt: skip
        """Everything done to any case in a time, in order of position."""
        low = "" if since is None else instant(since)
        high = "9999" if until is None else instant(until)
        found = self._query(
            "SELECT position, case_id, decision_id, act, actor, acted_at, document"
            " FROM review_acts WHERE acted_at >= ? AND acted_at < ? ORDER BY position",
            (low, high),
        )
        return [rows.read_act(row) for row in found]

    def cases_by_id(self, case_ids: list[str]) -> dict[str, ReviewCase]:
        """Some cases by number."""
        made: dict[str, ReviewCase] = {}
        for start in range(0, len(case_ids), 500):
            part = case_ids[start : start + 500]
            found = self._query(
                f"SELECT document FROM review_cases WHERE case_id IN ({_places(part)})",
                tuple(part),
            )
            made |= {c.case_id: c for c in (rows.read_document(row[0]) for row in found)}
        return made

    def has_view(self, case_id: str, reviewer: str) -> bool:
        """Whether somebody has recorded their own view of a case."""
        sql = "SELECT 1 FROM review_views WHERE case_id = ? AND reviewer = ?"
        return bool(self._query(sql, (case_id, reviewer)))

    def is_excluded(self, case_id: str, reviewer: str) -> bool:
        """Whether an appeal is kept from somebody because they decided before."""
        sql = "SELECT 1 FROM review_excluded WHERE case_id = ? AND reviewer = ?"
        return bool(self._query(sql, (case_id, reviewer)))

    def reviewer(self, subject: str) -> Reviewer | None:
        """What an administrator set of a person, or None."""
        found = self._query("SELECT document FROM reviewers WHERE reviewer = ?", (subject,))
        return Reviewer.from_json(orjson.loads(found[0][0])) if found else None

    def reviewers(self) -> list[Reviewer]:
        """Everybody of whom something was set, by name."""
        found = self._query("SELECT document FROM reviewers ORDER BY reviewer", ())
        return [Reviewer.from_json(orjson.loads(row[0])) for row in found]

    def blind_to(
        self, client_id: str, who: Reviewer, now: dt.datetime, *, held_only: bool = False
    ) -> ReviewCase | None:
        """An open blind case of the client that this person has yet to record their own view of.

        Only of cases that they may know of; with ``held_only`` only one that they hold now.
        """
        found = self._query(
            "SELECT document FROM review_cases WHERE client_id = ? AND state = 'open'",
            (client_id,),
        )
        for row in found:
            case = rows.read_document(row[0])
            if not case.blind or not _visible(case, who):
                continue
            if held_only and case.held_by(now) != who.subject:
                continue
            if not self.has_view(case.case_id, who.subject):
                return case
        return None

    def opened_after(self, reader: Reviewer, edge: dt.datetime | None) -> int:
        """How many cases that are not closed were opened after a moment; all without one."""
        low = "" if edge is None else instant(edge)
        [(found,)] = self._query(
            "SELECT count(*) FROM review_cases WHERE state <> 'closed' AND audience <= ?"
            " AND opened_at > ?",
            (reader.audience, low),
        )
        return int(found)

    def counts(self, reader: Reviewer, now: dt.datetime) -> dict[str, Any]:
        """How many open cases by rule, late ones, sleeping ones, held ones, and one's own."""
        at = instant(now)
        rows_found = self._query(
            "SELECT main_rule, count(*), sum(CASE WHEN due_at < ? THEN 1 ELSE 0 END),"
            " sum(CASE WHEN snoozed_until > ? THEN 1 ELSE 0 END),"
            " sum(CASE WHEN lease_until > ? THEN 1 ELSE 0 END),"
            " sum(CASE WHEN lease_until > ? AND holder = ? THEN 1 ELSE 0 END)"
            " FROM review_cases WHERE state = 'open' AND audience <= ? GROUP BY main_rule",
            (at, at, at, at, reader.subject, reader.audience),
        )
        by_rule = {rows.text(r[0]): int(r[1]) for r in rows_found}
        late, snoozed, held, mine = (sum(int(r[k] or 0) for r in rows_found) for k in range(2, 6))
        states = self._query(
            "SELECT state, count(*) FROM review_cases WHERE audience <= ? GROUP BY state",
            (reader.audience,),
        )
        by_state = {rows.text(s): int(n) for s, n in states}
        return {
            "open": by_state.get("open", 0),
            "proposed": by_state.get("proposed", 0),
            "closed": by_state.get("closed", 0),
            "late": late,
            "snoozed": snoozed,
            "held": held,
            "mine": mine,
            "by_rule": dict(sorted(by_rule.items())),
        }


def _places(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _visible(case: ReviewCase, reader: Reviewer) -> bool:
    return not reader.conflicted(case) and (
        case.audience != "compliance" or reader.reader == "compliance"
    )


def _conditions(
    reader: Reviewer, now: dt.datetime, only: CaseFilter
) -> tuple[list[str], list[object]]:
    at = instant(now)
    conditions, values = ["audience <= ?"], [reader.audience]  # type: list[str], list[object]
    for column, wanted in (
        ("state", only.state), ("main_rule", only.rule), ("kind", only.kind),
        ("level", only.level), ("client_id", only.client_id),
    ):  # fmt: skip
        if wanted is not None:
            conditions.append(f"{column} = ?")
            values.append(wanted)
    if only.held_by is not None:
        conditions.append("holder = ? AND lease_until > ?")
        values += [only.held_by, at]
    if only.late is not None:
        conditions.append("due_at < ?" if only.late else "due_at >= ?")
        values.append(at)
    if only.snoozed is not None:
        asleep = "snoozed_until > ?"
        conditions.append(
            asleep if only.snoozed else "(snoozed_until IS NULL OR snoozed_until <= ?)"
        )
        values.append(at)
    for column, names in (
        ("client_id", reader.related_clients),
        ("related_group_id", reader.related_groups),
    ):
        if names:
            places = ", ".join("?" * len(names))
            conditions.append(f"({column} IS NULL OR {column} NOT IN ({places}))")
            values += sorted(names)
    return conditions, values
