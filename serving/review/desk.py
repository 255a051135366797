"""A desk: one person's way to the queue. Checks who they are against what is known of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from models.review import OVERRIDE_REASONS, ReviewPolicy, load_review_rules
from serving.ledger import KeyedRequest, Ledger, Submission
from serving.ledger.group import Act
from serving.review import queue
from serving.review.case import TOP_LEVEL, ReviewCase, Reviewer, ReviewStateError, instant
from serving.review.night import OpenReport, open_run
from serving.review.store import ReviewStore

WORKERS: Final = frozenset({"reviewer", "risk"})
"""Roles that take cases."""
_LEVEL_OF: Final = {"reviewer": 0, "risk": TOP_LEVEL, "approver": TOP_LEVEL}
_COMPLIANCE: Final = frozenset({"risk", "auditor"})


@dataclass(frozen=True)
class Done:
    """An act that is on record: its name, the case after it, and where its entry is."""

    act: str
    case: ReviewCase
    detail: dict[str, Any]
    position: int
    repeated: bool


class ReviewDesk:
    """Everything that changes the queue, as blocking calls; each leaves an entry.

    ``keyed`` makes a call take effect once: the same request again gives the first answer.
    Every call raises ``ReviewStateError``, ``ReviewRefusedError`` or ``QueueEmptyError`` (all
    ``InputError``) where it is refused, and ``LedgerUnavailableError`` where nothing is recorded.
    """

    def __init__(self, ledger: Ledger, store: ReviewStore) -> None:
        self.ledger, self.store = ledger, store

    @staticmethod
    def policy(now: dt.datetime) -> ReviewPolicy:
        """The review rules in force at a moment."""
        return load_review_rules(now.date())

    def person(self, subject: str, roles: Iterable[str], now: dt.datetime) -> Reviewer:
        """Somebody with their roles' standing, or with what an administrator set of them."""
        held = frozenset(roles)
        reader = "compliance" if held & _COMPLIANCE else "staff"
        known = self.store.reviewer(subject)
        if known is not None:
            return replace(known, reader=reader)
        policy = self.policy(now)
        currencies = {c for money in policy.authority.values() for c in money}
        level = max((_LEVEL_OF.get(r, 0) for r in held), default=0)
        authority = {c: policy.authority_of(held, c) for c in sorted(currencies)}
        return Reviewer(subject, reader, level, authority)

    # --- acts -----------------------------------------------------------------------------------

    def next(self, who: Reviewer, now: dt.datetime, keyed: KeyedRequest | None = None) -> Done:
        """Take the case that is due first; two people never get the same one."""
        return self._do(queue.take_next(who, now, self.policy(now)), keyed)

    def take(
        self, case_id: str, who: Reviewer, now: dt.datetime, keyed: KeyedRequest | None = None
    ) -> Done:
        """Take one case, or renew the lease on it."""
        return self._do(queue.take(case_id, who, now, self.policy(now)), keyed)

    def release(
        self, case_id: str, who: Reviewer, now: dt.datetime, keyed: KeyedRequest | None = None
    ) -> Done:
        """Give a case back."""
        return self._do(queue.release(case_id, who, now), keyed)

    def note(
        self,
        case_id: str,
        who: Reviewer,
        now: dt.datetime,
        text: str,
        keyed: KeyedRequest | None = None,
    ) -> Done:
        """Write on a case."""
        return self._do(queue.note(case_id, who, now, text), keyed)

    def snooze(
        self,
        case_id: str,
        who: Reviewer,
        now: dt.datetime,
        until: dt.datetime,
        text: str,
        keyed: KeyedRequest | None = None,
    ) -> Done:
        """Let a case sleep."""
        return self._do(queue.snooze(case_id, who, now, until, text, self.policy(now)), keyed)

    def escalate(
        self,
        case_id: str,
        who: Reviewer,
        now: dt.datetime,
        text: str,
        recommended_outcome: str | None = None,
        keyed: KeyedRequest | None = None,
    ) -> Done:
        """Hand a case up, with or without a recommendation."""
        return self._do(queue.escalate(case_id, who, now, text, recommended_outcome), keyed)

    def view(
        self,
        case_id: str,
        who: Reviewer,
        now: dt.datetime,
        outcome: str,
        max_debt_amt: str | None,
        text: str,
        keyed: KeyedRequest | None = None,
    ) -> Done:
        """Record one's own view of a case before its score is shown."""
        return self._do(queue.record_view(case_id, who, now, outcome, max_debt_amt, text), keyed)

    def confirm(
        self,
        case_id: str,
        who: Reviewer,
        now: dt.datetime,
        outcome: str,
        text: str,
        keyed: KeyedRequest | None = None,
    ) -> Done:
        """Agree with the decision and close the case."""
        return self._do(queue.confirm(case_id, who, now, outcome, text), keyed)

    def appeal(
        self,
        decision_id: str,
        by: str,
        now: dt.datetime,
        text: str,
        fresh: ReviewCase | None = None,
        keyed: KeyedRequest | None = None,
    ) -> Done:
        """Open an appeal; ``fresh`` is the decision's case where none was opened before."""
        act = queue.appeal(decision_id, by, now, text, self.policy(now), fresh)
        return self._do(act, keyed)

    def set_reviewer(
        self, person: Reviewer, by: str, now: dt.datetime, keyed: KeyedRequest | None = None
    ) -> Reviewer:
        """Set somebody's level, authority and related clients."""
        done = self.ledger.submit(Submission([], keyed, queue.set_reviewer(person, by, now)))
        return Reviewer.from_json(orjson.loads(done.entries[0])["body"]["after"])

    def open_run(self, root: Any, run_id: str, now: dt.datetime, progress: Any = None
                 ) -> OpenReport:  # fmt: skip
        """Open the cases of a recorded night."""
        return open_run(
            root, self.ledger, run_id, now=now, policy=self.policy(now), progress=progress
        )

    def _do(self, act: Act, keyed: KeyedRequest | None) -> Done:
        done = self.ledger.submit(Submission([], keyed, act))
        return done_of(done.entries[0], done.positions[0], done.repeated)


def done_of(entry: bytes, position: int, repeated: bool) -> Done:
    """An act from its entry: a repeat reads the same bytes and gives the same answer."""
    body = orjson.loads(entry)["body"]
    case = ReviewCase.from_json(body["case"])
    return Done(body["act"], case, body["detail"], position, repeated)


def check_override_reason(code: str, direction: str) -> None:
    """Refuse a reason that is not on the list, or not for this direction."""
    reason = OVERRIDE_REASONS.get(code)
    if reason is None:
        raise ReviewStateError(
            f"there is no reason {code!r}; the reasons are {', '.join(OVERRIDE_REASONS)}"
        )
    if reason.side not in ("both", direction):
        raise ReviewStateError(
            f"the reason {code} is for an override that {reason.side}; this one {direction}"
        )


__all__ = ["WORKERS", "Done", "ReviewDesk", "check_override_reason", "done_of", "instant"]
