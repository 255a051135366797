"""Reading the review queue over HTTP; nobody reads above their role, or too early."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from starlette.responses import Response

from data_contracts.errors import InputError
from models.review import OVERRIDE_REASONS, RULES
from serving.ledger import LedgerUnavailableError, RequestConflictError
from serving.review import (
    CASE_KINDS,
    LONGEST_PAGE,
    STATES,
    TOP_LEVEL,
    WORKERS,
    CaseFilter,
    QueueEmptyError,
    ReviewCase,
    ReviewDesk,
    Reviewer,
    ReviewRefusedError,
    ReviewStateError,
    ReviewStore,
)
from serving.review.decided import decision_entry
from serving.review.kpi import review_kpis
from serving.service.answers import decision_answer
from serving.service.edge import Call, answer
from serving.service.engine import as_problem
from serving.service.problems import ProblemError
from serving.service.review_answers import act_answer, case_answer

if TYPE_CHECKING:
    from serving.service.app import Service


class ReviewReading:
    """What the operations of the queue share, and those that change nothing."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _desk(self) -> ReviewDesk:
        return self._service.reviews

    @property
    def _store(self) -> ReviewStore:
        return self._service.reviews.store

    def _now(self) -> dt.datetime:
        return self._service.settings.now()

    async def _who(self, call: Call) -> Reviewer:
        caller = call.caller
        found: Reviewer = await self._run(
            partial(self._desk.person, caller.subject, caller.roles, self._now())
        )
        return found

    @staticmethod
    async def _run(work: Callable[[], Any]) -> Any:
        """Blocking work on a thread of its own, refusals as problems."""
        try:
            return await anyio.to_thread.run_sync(work)
        except (
            QueueEmptyError, ReviewRefusedError, ReviewStateError, RequestConflictError,
            LedgerUnavailableError,
        ) as error:  # fmt: skip
            raise as_problem(error) from None

    async def withheld(self, call: Call, case: ReviewCase) -> bool:
        """Whether the caller, who works on cases, has yet to record their own view of this one."""
        if not case.blind or case.state != "open" or not call.caller.roles & WORKERS:
            return False
        seen = await self._run(partial(self._store.has_view, case.case_id, call.caller.subject))
        return not seen

    async def refuse_blind(self, call: Call, client: str) -> None:
        """Refuse a way round a blind first read to who works on cases."""
        if not call.caller.roles & WORKERS:
            return
        # who supervises reads on, except about a case in hand
        held_only = "risk" in call.caller.roles
        who, now = await self._who(call), self._now()
        look = partial(self._store.blind_to, client, who, now, held_only=held_only)
        case = await self._run(look)
        if case is not None:
            raise ProblemError(
                "blind_read",
                f"case {case.case_id} of this client is read blind: record your own view first",
            )

    async def _shown(self, call: Call, case: ReviewCase, at: dt.datetime | None = None
                     ) -> dict[str, Any]:  # fmt: skip
        return case_answer(
            case,
            at or self._now(),
            reader=call.reader,
            language=call.language,
            names=self._service.names[call.language],
            withheld=await self.withheld(call, case),
        )

    # --- reading --------------------------------------------------------------------------------

    async def list_all(self, call: Call) -> Response:
        """A page of cases in the order in which they are due."""
        asked = dict(call.request.query_params)
        choices = {
            "state": (*STATES, "any"), "rule": tuple(RULES), "kind": CASE_KINDS,
            "late": ("true", "false"), "snoozed": ("true", "false"),
            "held": ("mine",), "level": tuple(str(k) for k in range(TOP_LEVEL + 1)),
        }  # fmt: skip
        for name, allowed in choices.items():
            if name in asked and asked[name] not in allowed:
                raise ProblemError("query_invalid", f"{name} must be one of {', '.join(allowed)}")
        unknown = sorted(asked.keys() - choices.keys() - {"client_id", "limit", "cursor"})
        if unknown:
            raise ProblemError("query_invalid", f"there is no parameter {unknown[0][:40]!r}")
        limit = asked.get("limit", "50")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= LONGEST_PAGE):
            raise ProblemError("query_invalid", f"limit is from 1 to {LONGEST_PAGE}")
        client = asked.get("client_id")
        if client is not None and (not client or len(client) > 64 or "\x00" in client):
            raise ProblemError("query_invalid", "client_id has 1 to 64 characters")
        state = asked.get("state", "open")
        only = CaseFilter(
            state=None if state == "any" else state,
            rule=asked.get("rule"),
            kind=asked.get("kind"),
            level=int(asked["level"]) if "level" in asked else None,
            client_id=client,
            held_by=call.caller.subject if asked.get("held") == "mine" else None,
            late={"true": True, "false": False}.get(asked.get("late", "")),
            snoozed={"true": True, "false": False}.get(asked.get("snoozed", "")),
        )
        who, now = await self._who(call), self._now()
        read = partial(
            self._store.page, who, now, only, limit=int(limit), cursor=asked.get("cursor")
        )
        try:
            page = await self._run(read)
        except InputError as error:
            raise ProblemError("query_invalid", str(error)) from None
        cases = []
        for case in page.cases:
            shown = await self._shown(call, case, now)
            # what a filter by rule would tell of a case that is read blind stays untold
            if not (shown["withheld"] and only.rule is not None):
                cases.append(shown)
        counts = await self._run(partial(self._store.counts, who, now))
        document = {"cases": cases, "next_cursor": page.next_cursor, "counts": counts}
        return answer(document, 200, {"content-language": call.language})

    async def _find(self, call: Call, who: Reviewer) -> ReviewCase:
        found: ReviewCase | None = await self._run(
            partial(self._store.case, call.path("case_id"), who)
        )
        if found is None:
            raise ProblemError("not_found", "there is no case with this number")
        return found

    async def get(self, call: Call) -> Response:
        """One case with its time line and its decision, as far as its reader may see them."""
        who = await self._who(call)
        case = await self._find(call, who)
        shown = await self._shown(call, case)
        acts = await self._run(partial(self._store.timeline, case.case_id))
        decision = None
        if not shown["withheld"]:
            lake = self._service.settings.lake
            try:
                entry = await self._run(partial(decision_entry, lake, self._store, case))
            except InputError as error:
                raise ProblemError("state_conflict", str(error)) from None
            names = self._service.names[call.language]
            decision = {**decision_answer(entry, call.reader, call.language, names), "entry": None}
        shown["acts"] = [act_answer(a, shown["withheld"], call.reader) for a in acts]
        shown["decision"] = decision
        return answer(shown, 200, {"content-language": call.language})

    async def rules(self, call: Call) -> Response:
        """The rules in force, and the closed list of reasons for an override."""
        policy = self._desk.policy(self._now())
        tongue = call.language
        rows = [
            {
                "rule": name,
                "name": RULES[name].name[tongue],
                "unit": rule.unit,
                "bounds": {
                    c: str(v)
                    for c, v in (
                        rule.bound.items()
                        if isinstance(rule.bound, dict)
                        else ([] if rule.bound is None else [("any", rule.bound)])
                    )
                },
                "priority": rule.priority,
                "sla_hours": rule.sla_hours,
                "reference": rule.reference,
            }
            for name, rule in policy.rules.items()
        ]
        reasons = [
            {"code": r.code, "side": r.side, "text": r.zh if tongue == "zh" else r.en}
            for r in OVERRIDE_REASONS.values()
        ]
        document = {"sha256": policy.sha256, "rules": rows, "override_reasons": reasons}
        return answer(document, 200, {"content-language": tongue})

    async def kpis(self, call: Call) -> Response:
        """How the queue and its people do."""
        asked = call.request.query_params.get("days", "30")
        if not (asked.isascii() and asked.isdigit() and 1 <= int(asked[:9]) <= 3660):
            raise ProblemError("query_invalid", "days is from 1 to 3660")
        now = self._now()
        who = await self._who(call)
        since = now - dt.timedelta(days=int(asked))
        policy = self._desk.policy(now)
        return answer(await self._run(partial(review_kpis, self._store, who, since, now, policy)))

    async def reviewers(self, call: Call) -> Response:
        """Everybody of whom something was set."""
        found = await self._run(self._store.reviewers)
        return answer({"reviewers": [person.to_json() for person in found]})
