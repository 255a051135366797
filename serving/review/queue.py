"""Working the queue: take, renew, release, note, snooze, escalate, own view, confirm, appeal.

Each function returns an act: work that the ledger does inside one of its write transactions, which
take turns on both databases. What an act reads, nobody else is changing; what it refuses leaves no
trace. Time is an argument.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from data_contracts.canonical import canonical_bytes
from data_contracts.decision import OUTCOMES
from models.reasons.catalogue import AUDIENCES
from models.review import ReviewPolicy, Trigger, is_blind
from serving.ledger.database import Database
from serving.ledger.envelope import Request, freeze
from serving.ledger.group import Act
from serving.review import rows
from serving.review.case import (
    TOP_LEVEL,
    QueueEmptyError,
    ReviewCase,
    Reviewer,
    ReviewRefusedError,
    ReviewStateError,
    case_id_of,
    instant,
)

LONGEST_TEXT: Final = 2000


def may_take(database: Database, case: ReviewCase, who: Reviewer) -> None:
    """Refuse who may not work on a case, with the rule."""
    if AUDIENCES.index(case.audience) > who.audience:
        # the same words as for a case that is not there: its existence is above this reader too
        raise ReviewStateError(
            f"there is no case {case.case_id}; list the queue to see what there is"
        )
    if who.conflicted(case):
        raise ReviewRefusedError(
            "nobody reviews a client they are related to; leave the case to somebody else"
        )
    if case.level > who.level:
        raise ReviewRefusedError(
            f"the case is at level {case.level}, yours is {who.level}; leave it to a senior"
        )
    if case.exposure_amt > who.authority.get(case.currency, 0):
        raise ReviewRefusedError(
            "the exposure of the case is above your authority; escalate it or leave it"
        )
    if rows.is_excluded(database, case.case_id, who.subject):
        raise ReviewRefusedError(
            "an appeal goes to another person than those who decided; leave it to somebody else"
        )


def held_case(database: Database, case_id: str, who: Reviewer, now: dt.datetime) -> ReviewCase:
    """A case that this person holds now, or a refusal that says what to do."""
    case = rows.case_row(database, case_id)
    may_take(database, case, who)
    if case.state != "open":
        raise ReviewStateError(f"the case is {case.state}; only an open case is worked on")
    if case.held_by(now) != who.subject:
        raise ReviewStateError("you do not hold this case, or your lease ran out; take it again")
    return case


def _taken(case: ReviewCase, who: Reviewer, now: dt.datetime, policy: ReviewPolicy) -> ReviewCase:
    return case.changed(
        holder=who.subject,
        taken_at=instant(now),
        lease_until=instant(now + policy.lease),
        snoozed_until=None,
    )


def _may_hold_more(
    database: Database, who: Reviewer, now: dt.datetime, policy: ReviewPolicy
) -> None:
    row = database.execute(
        "SELECT count(*) FROM review_cases WHERE holder = ? AND state = 'open' AND lease_until > ?",
        (who.subject, instant(now)),
    ).fetchone()
    if int(row[0]) >= policy.most_held:
        raise ReviewStateError(
            f"nobody holds more than {policy.most_held} cases; decide or release one first"
        )


def _next_row(database: Database, who: Reviewer, at: str) -> Any:
    money = sorted(who.authority.items())
    within = " OR ".join(["(currency = ? AND exposure_minor <= ?)"] * len(money)) or "1 = 0"
    conditions = [
        "state = 'open'",
        "(lease_until IS NULL OR lease_until <= ?)",
        "(snoozed_until IS NULL OR snoozed_until <= ?)",
        "level <= ?",
        "audience <= ?",
        f"({within})",
        "NOT EXISTS (SELECT 1 FROM review_excluded x"
        " WHERE x.case_id = review_cases.case_id AND x.reviewer = ?)",
    ]
    values: list[object] = [at, at, who.level, who.audience]
    values += [part for pair in money for part in pair]
    values.append(who.subject)
    for column, names in (
        ("client_id", who.related_clients),
        ("related_group_id", who.related_groups),
    ):
        if names:
            places = ", ".join("?" * len(names))
            conditions.append(f"({column} IS NULL OR {column} NOT IN ({places}))")
            values += sorted(names)
    return database.execute(
        f"SELECT document FROM review_cases WHERE {' AND '.join(conditions)}"
        " ORDER BY due_at, priority, case_id LIMIT 1",
        tuple(values),
    ).fetchone()


def take_next(who: Reviewer, now: dt.datetime, policy: ReviewPolicy) -> Act:
    """Take the case that is due first among those this person may take."""

    def act(database: Database, position: int) -> Sequence[Request]:
        _may_hold_more(database, who, now, policy)
        row = _next_row(database, who, instant(now))
        if row is None:
            raise QueueEmptyError("nothing waits that you may take; look again later")
        case = _taken(rows.read_document(row[0]), who, now, policy)
        rows.update_case(database, case)
        return [rows.recorded(database, position, case, "taken", who.subject, instant(now), {})]

    return act


def take(case_id: str, who: Reviewer, now: dt.datetime, policy: ReviewPolicy) -> Act:
    """Take one case, or renew the lease on a case that this person holds."""

    def act(database: Database, position: int) -> Sequence[Request]:
        case = rows.case_row(database, case_id)
        may_take(database, case, who)
        if case.state != "open":
            raise ReviewStateError(f"the case is {case.state}; only an open case is taken")
        holder = case.held_by(now)
        if holder == who.subject:
            changed = case.changed(lease_until=instant(now + policy.lease))
            done = "renewed"
        elif holder is not None:
            raise ReviewStateError("somebody else holds this case; take another")
        else:
            _may_hold_more(database, who, now, policy)
            changed, done = _taken(case, who, now, policy), "taken"
        rows.update_case(database, changed)
        return [rows.recorded(database, position, changed, done, who.subject, instant(now), {})]

    return act


def _of_holder(
    case_id: str,
    who: Reviewer,
    now: dt.datetime,
    name: str,
    detail: Mapping[str, Any],
    **changes: Any,
) -> Act:
    def act(database: Database, position: int) -> Sequence[Request]:
        case = held_case(database, case_id, who, now).changed(**changes)
        rows.update_case(database, case)
        made = rows.recorded(
            database, position, case, name, who.subject, instant(now), dict(detail)
        )
        return [made]

    return act


_FREE: Final = {"holder": None, "lease_until": None, "taken_at": None}


def release(case_id: str, who: Reviewer, now: dt.datetime) -> Act:
    """Give a case back to the queue."""
    return _of_holder(case_id, who, now, "released", {}, **_FREE)


def snooze(
    case_id: str, who: Reviewer, now: dt.datetime, until: dt.datetime, why: str,
    policy: ReviewPolicy,
) -> Act:  # fmt: skip
    """Let a case sleep until a moment. Its due time stays: sleeping does not make it less late."""
    if not now < until <= now + policy.longest_snooze:
        days = policy.longest_snooze.days
        raise ReviewStateError(f"a case sleeps until a later moment, at most {days} days from now")
    detail = {"until": instant(until), "text": why}
    return _of_holder(case_id, who, now, "snoozed", detail, snoozed_until=instant(until), **_FREE)


def escalate(
    case_id: str, who: Reviewer, now: dt.datetime, why: str,
    recommended_outcome: str | None = None,
) -> Act:  # fmt: skip
    """Hand a case to the next level up, with what this person would do where they say so."""

    def act(database: Database, position: int) -> Sequence[Request]:
        case = rows.case_row(database, case_id)
        if case.exposure_amt <= who.authority.get(case.currency, 0):
            case = held_case(database, case_id, who, now)
        elif AUDIENCES.index(case.audience) > who.audience or who.conflicted(case):
            may_take(database, case, who)
        elif case.state != "open" or case.held_by(now) not in (None, who.subject):
            raise ReviewStateError("the case is not open, or somebody else holds it")
        if case.level >= TOP_LEVEL:
            raise ReviewStateError("the case is at the highest level; decide it there")
        level = max(case.level, min(who.level, TOP_LEVEL - 1)) + 1
        changed = case.changed(level=level, escalated=case.escalated + 1, **_FREE)
        rows.update_case(database, changed)
        detail = {"text": why, "recommended_outcome": recommended_outcome, "to_level": level}
        at = instant(now)
        return [rows.recorded(database, position, changed, "escalated", who.subject, at, detail)]

    return act


def note(case_id: str, who: Reviewer, now: dt.datetime, words: str) -> Act:
    """Write on a case, held or not; what is written stays."""

    def act(database: Database, position: int) -> Sequence[Request]:
        case = rows.case_row(database, case_id)
        if AUDIENCES.index(case.audience) > who.audience or who.conflicted(case):
            may_take(database, case, who)
        changed = case.changed()
        rows.update_case(database, changed)
        detail = {"text": words}
        at = instant(now)
        return [rows.recorded(database, position, changed, "noted", who.subject, at, detail)]

    return act


def record_view(
    case_id: str, who: Reviewer, now: dt.datetime, outcome: str, max_debt_amt: str | None,
    words: str,
) -> Act:  # fmt: skip
    """Record this person's own view of a case, once, before the score is shown."""

    def act(database: Database, position: int) -> Sequence[Request]:
        case = held_case(database, case_id, who, now)
        if rows.has_view(database, case_id, who.subject):
            raise ReviewStateError("your own view of this case is on record; it stays as it was")
        rows.add_view(database, case_id, who.subject)
        changed = case.changed()
        rows.update_case(database, changed)
        detail = {"outcome": outcome, "max_debt_amt": max_debt_amt, "text": words}
        at = instant(now)
        return [rows.recorded(database, position, changed, "viewed", who.subject, at, detail)]

    return act


def require_view(database: Database, case: ReviewCase, who: Reviewer) -> None:
    """Refuse a decision on a blind case before its reader's own view."""
    if case.blind and not rows.has_view(database, case.case_id, who.subject):
        raise ReviewStateError(
            "this case is read blind: record your own view first; then the score is shown"
        )


def confirm(case_id: str, who: Reviewer, now: dt.datetime, outcome: str, words: str) -> Act:
    """Agree with the decision as it stands; of a referred one, say which outcome it has.

    What was refused by law stays refused: a person may confirm a decline, never turn it round here.
    """

    def act(database: Database, position: int) -> Sequence[Request]:
        case = held_case(database, case_id, who, now)
        require_view(database, case, who)
        settled = case.outcome
        if settled != "refer" and outcome != settled:
            raise ReviewStateError(
                f"to confirm is to agree: the decision is {settled}; override or escalate instead"
            )
        if outcome not in ("approve", "decline"):
            raise ReviewStateError("a confirmed case ends with approve or decline; choose one")
        changed = case.changed(
            state="closed", resolution="confirmed", final_outcome=outcome,
            closed_at=instant(now), closed_by=who.subject,
            decided_by=(*case.decided_by, who.subject), holder=None, lease_until=None,
        )  # fmt: skip
        rows.update_case(database, changed)
        detail = {"before": settled, "after": outcome, "text": words}
        at = instant(now)
        return [rows.recorded(database, position, changed, "confirmed", who.subject, at, detail)]

    return act


def appeal(
    decision: str, by: str, now: dt.datetime, words: str, policy: ReviewPolicy,
    fresh: ReviewCase | None,
) -> Act:  # fmt: skip
    """Open the appeal against a decision; whoever decided on it before does not get it.

    ``fresh`` is the case as it would be opened from the decision alone; where the decision is in
    the queue already, the case there is what is appealed against.
    """

    def act(database: Database, position: int) -> Sequence[Request]:
        before = rows.cases_of_decision(database, decision)
        if any(c.kind == "appeal" for c in before):
            raise ReviewStateError("the decision was appealed against already; one appeal stands")
        base = before[0] if before else fresh
        if base is None:
            raise ReviewStateError(f"there is no decision {decision} to appeal against")
        deciders = sorted({name for c in before for name in c.decided_by})
        made = opened_case(base, "appeal", now, policy, base.case_id if before else None)
        rows.insert_cases(database, [made])
        rows.exclude(database, made.case_id, deciders)
        detail = {"text": words, "excluded": len(deciders)}
        kind = rows.OPENED_KIND
        at = instant(now)
        return [rows.recorded(database, position, made, "appealed", by, at, detail, kind)]

    return act


def opened_case(
    base: ReviewCase, kind: str, now: dt.datetime, policy: ReviewPolicy, appeal_of: str | None
) -> ReviewCase:
    """A new case about the decision of another one, in the state it starts in."""
    rule = policy.rules["appeal"]
    trigger = Trigger("appeal", rule.unit, None, None, rule.priority, rule.sla_hours, rule.audience)
    case_id = case_id_of(kind, base.decision_id, base.client_id)
    document = {
        name: getattr(base, name)
        for name in (
            "decision_id", "client_id", "related_group_id", "source", "run_id", "bucket", "row",
            "currency", "outcome", "tier", "exposure_amt", "max_debt_amt", "audience", "as_of",
        )
    }  # fmt: skip
    return ReviewCase(
        case_id=case_id,
        kind=kind,
        triggers=(trigger, *base.triggers),
        priority=trigger.priority,
        blind=is_blind(case_id, policy),
        opened_at=instant(now),
        due_at=instant(now + dt.timedelta(hours=trigger.sla_hours)),
        level=0,
        appeal_of=appeal_of,
        **document,
    )


def set_reviewer(person: Reviewer, by: str, now: dt.datetime) -> Act:
    """Set a person's level, authority and related clients; never one's own."""
    if person.subject == by:
        raise ReviewRefusedError("nobody sets their own authority; ask another administrator")

    def act(database: Database, position: int) -> Sequence[Request]:
        before = rows.reviewer_row(database, person.subject)
        rows.put_reviewer(database, person)
        body: dict[str, object] = {
            "actor": by,
            "acted_at": instant(now),
            "before": None if before is None else before.to_json(),
            "after": person.to_json(),
        }
        return [freeze(rows.REVIEWER_KIND, body, canonical_bytes(body))]

    return act


VIEW_OUTCOMES: Final = OUTCOMES
