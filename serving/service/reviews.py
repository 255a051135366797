"""The operations of the review queue: each change leaves an entry."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from data_contracts.decision import OUTCOMES
from data_contracts.units import format_decimal
from models.governance import Proposal
from models.review import OVERRIDE_REASONS
from serving.review import (
    TOP_LEVEL,
    WORKERS,
    Done,
    ReviewCase,
    Reviewer,
    ReviewStateError,
    entry_case,
)
from serving.review.desk import check_override_reason
from serving.review.night import night_case
from serving.service.answers import DECISION_KIND
from serving.service.edge import Call, Operation, answer
from serving.service.openapi_parts import SUBJECT
from serving.service.problems import ProblemError
from serving.service.requests import Reader, idempotency_key
from serving.service.review_reading import ReviewReading

if TYPE_CHECKING:
    from serving.service.app import Service

READERS: Final = frozenset({"reviewer", "approver", "risk", "validator", "auditor", "admin"})
APPELLANTS: Final = frozenset({"service", "reviewer", "risk"})
WATCHERS: Final = frozenset({"approver", "risk", "validator", "auditor", "admin"})
LONGEST_TEXT: Final = 2000
MOST_RELATED: Final = 200


def operations(service: Service) -> list[Operation]:
    """The routes under ``/v1/reviews`` and beside it."""
    r = service.reviews_api
    one, op = "/v1/reviews/{case_id}", Operation
    return [
        op("GET", "/v1/reviews", "listReviews", READERS, r.list_all),
        op("POST", "/v1/reviews/next", "takeNextReview", WORKERS, r.take_next),
        op("GET", one, "getReview", READERS, r.get),
        op("POST", f"{one}/leases", "takeReview", WORKERS, r.take),
        op("POST", f"{one}/releases", "releaseReview", WORKERS, r.release),
        op("POST", f"{one}/notes", "noteReview", WORKERS, r.note),
        op("POST", f"{one}/snoozes", "snoozeReview", WORKERS, r.snooze),
        op("POST", f"{one}/escalations", "escalateReview", WORKERS, r.escalate),
        op("POST", f"{one}/views", "viewReview", WORKERS, r.view),
        op("POST", f"{one}/confirmations", "confirmReview", WORKERS, r.confirm),
        op("POST", f"{one}/overrides", "overrideReview", WORKERS, r.override),
        op("POST", "/v1/appeals", "createAppeal", APPELLANTS, r.appeal),
        op("GET", "/v1/review-rules", "getReviewRules", READERS, r.rules),
        op("GET", "/v1/review-kpis", "getReviewKpis", WATCHERS, r.kpis),
        op("GET", "/v1/reviewers", "listReviewers", WATCHERS, r.reviewers),
        op("PUT", "/v1/reviewers/{reviewer}", "setReviewer", frozenset({"admin"}), r.set_reviewer),
    ]


def _words(r: Reader, name: str = "text") -> str:
    value = r.text(name)
    if value is not None and not 1 <= len(value) <= LONGEST_TEXT:
        r.wrong(name, f"it must have 1 to {LONGEST_TEXT} characters")
    return value or ""


def _closed(r: Reader) -> None:
    r.close()
    r.finish()


class Reviews(ReviewReading):
    """Reads requests, asks the desk, shows what the reader may see."""

    def _keyed(self, call: Call, operation: str) -> Any:
        key = idempotency_key(call.request.headers.get("idempotency-key"))
        return self._service.engine.keyed(call.caller.subject, operation, key, call.body)

    # --- acts -----------------------------------------------------------------------------------

    async def _acted(self, call: Call, work: Callable[[], Done], status: int = 201) -> Response:
        done: Done = await self._run(work)
        # as of the act, so that a repeat has the same bytes
        at = dt.datetime.fromisoformat(done.case.taken_at or done.case.opened_at)
        shown = await self._shown(call, done.case, at)
        headers = {
            "location": f"/v1/reviews/{done.case.case_id}",
            "content-language": call.language,
        }
        return answer({**shown, "act": done.act, "position": done.position}, status, headers)

    async def take_next(self, call: Call) -> Response:
        """Take the case that is due first."""
        keyed, who = self._keyed(call, "next"), await self._who(call)
        _closed(Reader(call.json()))
        return await self._acted(call, partial(self._desk.next, who, self._now(), keyed))

    async def take(self, call: Call) -> Response:
        """Take one case, or renew the lease on it."""
        return await self._plain(call, "take", self._desk.take)

    async def release(self, call: Call) -> Response:
        """Give a case back."""
        return await self._plain(call, "release", self._desk.release)

    async def _plain(self, call: Call, name: str, work: Callable[..., Done]) -> Response:
        case_id = call.path("case_id")
        keyed, who = self._keyed(call, f"{name}/{case_id}"), await self._who(call)
        _closed(Reader(call.json()))
        return await self._acted(call, partial(work, case_id, who, self._now(), keyed))

    async def note(self, call: Call) -> Response:
        """Write on a case."""
        case_id = call.path("case_id")
        keyed, who = self._keyed(call, f"note/{case_id}"), await self._who(call)
        r = Reader(call.json())
        text = _words(r)
        _closed(r)
        return await self._acted(
            call, partial(self._desk.note, case_id, who, self._now(), text, keyed)
        )

    async def snooze(self, call: Call) -> Response:
        """Let a case sleep for some hours."""
        case_id = call.path("case_id")
        keyed, who = self._keyed(call, f"snooze/{case_id}"), await self._who(call)
        r = Reader(call.json())
        hours = r.whole("hours", 1, 24 * 366, required=True)
        text = _words(r)
        _closed(r)
        now = self._now()
        until = now + dt.timedelta(hours=hours or 0)
        return await self._acted(
            call, partial(self._desk.snooze, case_id, who, now, until, text, keyed)
        )

    async def escalate(self, call: Call) -> Response:
        """Hand a case up."""
        case_id = call.path("case_id")
        keyed, who = self._keyed(call, f"escalate/{case_id}"), await self._who(call)
        r = Reader(call.json())
        text = _words(r)
        outcome = r.text("recommended_outcome", False, OUTCOMES)
        _closed(r)
        return await self._acted(
            call, partial(self._desk.escalate, case_id, who, self._now(), text, outcome, keyed)
        )

    async def view(self, call: Call) -> Response:
        """Record one's own view before the score is shown."""
        case_id = call.path("case_id")
        keyed, who = self._keyed(call, f"view/{case_id}"), await self._who(call)
        r = Reader(call.json())
        outcome = r.text("outcome", True, OUTCOMES)
        amount = r.amount("max_debt_amt", False)
        text = _words(r)
        _closed(r)
        written = None if amount is None else format_decimal(amount, 2)
        return await self._acted(
            call,
            partial(
                self._desk.view, case_id, who, self._now(), outcome or "", written, text, keyed
            ),
        )

    async def confirm(self, call: Call) -> Response:
        """Agree with the decision and close the case."""
        case_id = call.path("case_id")
        keyed, who = self._keyed(call, f"confirm/{case_id}"), await self._who(call)
        r = Reader(call.json())
        outcome = r.text("outcome", True, ("approve", "decline"))
        text = _words(r)
        _closed(r)
        return await self._acted(
            call, partial(self._desk.confirm, case_id, who, self._now(), outcome or "", text, keyed)
        )

    async def override(self, call: Call) -> Response:
        """Propose another limit; somebody else approves it under ``/v1/proposals``."""
        case_id = call.path("case_id")
        keyed, who = self._keyed(call, f"override/{case_id}"), await self._who(call)
        r = Reader(call.json())
        amount = r.amount("max_debt_amt", True)
        code = r.text("reason_code", True, tuple(OVERRIDE_REASONS))
        expires = r.date("expires_on", True)
        text = _words(r, "text")
        if len(text) > 1000:
            r.wrong("text", "it must have 1 to 1000 characters")
        _closed(r)
        assert amount is not None
        assert code is not None
        assert expires is not None
        repeat = await self._service.engine.repeated(keyed)
        if repeat is None:
            case = await self._find(call, who)
            now = self._now()
            last = now.date() + self._desk.policy(now).longest_override
            if not now.date() <= expires <= last:
                raise ProblemError(
                    "state_conflict",
                    f"an override expires between today and {last}",
                    pointer="/expires_on",
                )
            if await self.withheld(call, case):
                raise ProblemError("blind_read", "record your own view of this case first")
            if amount == case.max_debt_amt:
                raise ProblemError(
                    "state_conflict", "this is the limit as it stands; confirm it instead"
                )
            side = "loosens" if amount > case.max_debt_amt else "tightens"
            try:
                check_override_reason(code, side)
            except ReviewStateError as error:
                raise ProblemError("state_conflict", str(error), pointer="/reason_code") from None
            if case.state != "open" or case.held_by(now) != who.subject:
                raise ProblemError(
                    "state_conflict", "you do not hold this case, or it is not open; take it first"
                )
            repeat, _ = await self._service.overrides.propose(
                call, who, case, amount, code, text, expires
            )
        document = Proposal.from_json(repeat).to_json()
        headers = {
            "location": f"/v1/proposals/{document['proposal_id']}",
            "etag": f'"{document["revision"]}"',
        }
        return answer(document, 201, headers)

    async def appeal(self, call: Call) -> Response:
        """Open an appeal against a decision."""
        keyed = self._keyed(call, "appeal")
        r = Reader(call.json())
        decision = r.identity("decision_id")
        text = _words(r)
        _closed(r)
        assert decision is not None
        now = self._now()
        fresh = None
        for stored in await self._service.look_up(f"decision_id/{decision}", 5):
            if stored.kind == DECISION_KIND:
                fresh = await self._run(partial(self._base_of, dict(stored.body), now))
        known = await self._run(partial(self._store.cases_of_decision, decision))
        if fresh is None and not known:
            lake, run_id = self._service.settings.lake, self._service.engine.world.run_id
            policy = self._desk.policy(now)
            look = partial(night_case, lake, self._store, run_id, decision, now, policy)
            fresh = await self._run(look)
        work = partial(self._desk.appeal, decision, call.caller.subject, now, text, fresh, keyed)
        done: Done = await self._run(work)
        document = {
            "case_id": done.case.case_id,
            "decision_id": decision,
            "opened_at": done.case.opened_at,
            "due_at": done.case.due_at,
        }
        return answer(document, 201, {"location": f"/v1/reviews/{done.case.case_id}"})

    def _base_of(self, body: dict[str, Any], now: dt.datetime) -> ReviewCase | None:
        """What an appeal against a decision of the service is about, named by a rule or not."""
        bundle = self._service.engine.world.bundle
        return entry_case(body, bundle, now, self._desk.policy(now), always=True)

    async def set_reviewer(self, call: Call) -> Response:
        """Set somebody's level, authority and related clients."""
        subject = call.path("reviewer")
        if not re.fullmatch(SUBJECT["pattern"], subject):
            raise ProblemError("query_invalid", "the path names no subject of a token")
        keyed = self._keyed(call, f"reviewer/{subject}")
        r = Reader(call.json())
        level = r.whole("level", 0, TOP_LEVEL, required=True)
        money = r.inner("authority_amt")
        currency = self._service.engine.world.policy.currency
        amount = money.amount(currency, True)
        money.close()
        related: dict[str, frozenset[str]] = {}
        for name in ("related_clients", "related_groups"):
            values = r.take(name, True)
            good = (
                isinstance(values, list)
                and len(values) <= MOST_RELATED
                and all(isinstance(v, str) and 1 <= len(v) <= 64 for v in values)
            )
            if values is not None and not good:
                r.wrong(name, f"it must be a list of at most {MOST_RELATED} numbers")
            related[name] = frozenset(values) if good else frozenset()
        _closed(r)
        person = Reviewer(
            subject,
            level=level or 0,
            authority={currency: amount or 0},
            related_clients=related["related_clients"],
            related_groups=related["related_groups"],
        )
        work = partial(self._desk.set_reviewer, person, call.caller.subject, self._now(), keyed)
        found: Reviewer = await self._run(work)
        return answer(found.to_json())
