"""Overrides of a review case: proposed by its reviewer, checked on the data as they are, approved.

An override lowers a limit, or raises it up to the hard terms, never past one. It is a proposal like
any other: author and approver differ. With the last approval it is decided once more; if the data
have moved so that a hard term now lies below it, it is refused with that term, and nothing changes.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import numpy as np

from data_contracts.canonical import canonical_bytes
from data_contracts.case import Override, Request, case_from_json
from data_contracts.units import NULL, format_decimal, parse_decimal
from models.conditions import Fact
from models.governance import Proposal
from serving.ledger.database import Database
from serving.ledger.envelope import Request as Frozen
from serving.ledger.envelope import freeze
from serving.ledger.group import Act
from serving.review import ReviewCase, Reviewer, ReviewRefusedError, ReviewStateError, instant, rows
from serving.review.queue import held_case, require_view
from serving.service.answers import DECISION_KIND
from serving.service.edge import Call
from serving.service.problems import ProblemError
from serving.service.requests import Ask
from serving.service.world import Prepared

if TYPE_CHECKING:
    from serving.service.app import Service

HARD_TERMS: Final = ("statutory", "line", "concentration", "group", "firm")
APPLICANT_FACTS: Final = frozenset({"thin_file", "out_of_domain"})
"""Facts about an applicant's own data, which do not pass with time."""


def hard_limit(body: dict[str, Any]) -> tuple[int, str]:
    """The lowest hard term of a decision, minor units, and its name; of equals the earlier."""
    found = [
        (parse_decimal(w["limit_amt"], 2, "limit_amt"), w["term"])
        for w in body["cap_waterfall"]
        if w["term"] in HARD_TERMS and w["limit_amt"] is not None
    ]
    return min(found, key=lambda pair: pair[0])


def of_case(proposal: Proposal) -> bool:
    """Whether a proposal is the override of a review case."""
    return proposal.kind == "override" and "case_id" in proposal.content


def may_read(proposal: Proposal, reader: str) -> bool:
    """Whether a reader may know of a proposal: what is about a case for compliance is for them."""
    return proposal.content.get("audience") != "compliance" or reader == "compliance"


class Overrides:
    """The way of an override from a case to a decision that supersedes."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def try_it(self, case: ReviewCase, amount: int, proposal_id: str, caller: str
                     ) -> dict[str, Any]:  # fmt: skip
        """The entry of the decision that the override would make now; refused past a hard term."""
        service = self._service
        found: list[dict[str, Any]] = []
        for stored in await service.look_up(f"decision_id/{case.decision_id}", 5):
            if stored.kind == DECISION_KIND:
                found.append(dict(stored.body))
        requested, before = None, None
        loosens = amount > case.max_debt_amt
        override = Override(amount, proposal_id, case.decision_id, loosens)
        if found:
            asked = found[0]["decision"]["request"]["requested_debt_amt"]
            requested = None if asked is None else parse_decimal(asked, 2, "requested_debt_amt")
            if found[0]["applicant"]:
                before = self._again(found[0], f"override/{proposal_id}")
        ask = Ask(case.client_id, case.currency, requested)
        entry = await service.engine.try_override(ask, override, caller, before)
        least, term = hard_limit(entry["decision"])
        if amount > least:
            raise ProblemError(
                "past_hard",
                f"an override never passes a hard limit: {format_decimal(amount, 2)} is above the"
                f" {format_decimal(least, 2)} of the term {term!r} on the data as they are now;"
                " propose less",
            )
        if loosens and entry["settled"]["stale"]:
            raise ProblemError(
                "state_conflict",
                "nothing is loosened while the service answers with the published limit:"
                f" {', '.join(f['condition'] for f in entry['facts'])}; wait until that is over",
            )
        return entry

    def _again(self, entry: dict[str, Any], key: str) -> Prepared:
        """An applicant's own inputs on today's market, with what is wrong around it today."""
        world, now = self._service.engine.world, self._service.settings.now()
        case = case_from_json(entry["case"])
        request = Request("application", key, case.request.requested_debt_amt)
        case = replace(
            case, as_of=world.market.session, known_at=now, request=request, override=None
        )
        row = np.array([NULL if v is None else v for v in entry["features"]], dtype=np.int64)
        own = [Fact.from_json(f) for f in entry["facts"] if f["condition"] in APPLICANT_FACTS]
        stale = world.stale_now(now)
        facts = [*world.facts_now(now, applicant=True), *([] if stale is None else [stale]), *own]
        return Prepared(case, row, tuple(facts), None, None, True)

    async def propose(
        self,
        call: Call,
        who: Reviewer,
        case: ReviewCase,
        amount: int,
        reason_code: str,
        words: str,
        expires_on: dt.date,
    ) -> tuple[dict[str, Any], bool]:
        """Record the proposal and put the case on hold until it is decided."""
        direction = "loosens" if amount > case.max_debt_amt else "tightens"
        number = uuid.uuid4().hex
        await self.try_it(case, amount, number, call.caller.subject)
        content = {
            "client_id": case.client_id,
            "decision_id": case.decision_id,
            "max_debt_amt": format_decimal(amount, 2),
            "case_id": case.case_id,
            "reason_code": reason_code,
            "expires_on": expires_on.isoformat(),
            "audience": case.audience,
        }
        proposal = Proposal(number, "override", direction, content, words, call.caller.subject)
        now = self._service.settings.now()

        def act(database: Database, position: int) -> Sequence[Frozen]:
            held = held_case(database, case.case_id, who, now)
            require_view(database, held, who)
            if amount > who.authority.get(held.currency, 0):
                raise ReviewRefusedError(
                    "the limit is above your authority; escalate the case instead"
                )
            changed = held.changed(
                state="proposed", proposal_id=number, holder=None, lease_until=None,
                decided_by=(*held.decided_by, who.subject),
            )  # fmt: skip
            rows.update_case(database, changed)
            detail = {
                "proposal_id": number, "side": direction, "reason_code": reason_code,
                "text": words, "before": format_decimal(held.max_debt_amt, 2),
                "after": content["max_debt_amt"], "expires_on": content["expires_on"],
            }  # fmt: skip
            at = instant(now)
            made = rows.recorded(
                database, position, changed, "override_proposed", who.subject, at, detail
            )
            return [made]

        body = {**proposal.to_json(), "act": "created", "actor": who.subject, "because": None}
        place = f"proposal/{number}/1"
        entries: list[tuple[Frozen, str | None]] = [
            (freeze("proposal", body, canonical_bytes(body)), place)
        ]
        key = call.request.headers["idempotency-key"]
        keyed = self._service.engine.keyed(
            call.caller.subject, f"override/{case.case_id}", key, call.body
        )
        return await self._service.engine.record(entries, call.caller.subject, keyed, act)

    async def approver(self, call: Call, proposal: Proposal) -> None:
        """Refuse an approver who may not decide on the case: a related client, too much money."""
        store, now = self._service.reviews.store, self._service.settings.now()
        who = await anyio.to_thread.run_sync(
            self._service.reviews.person, call.caller.subject, call.caller.roles, now
        )
        number = str(proposal.content["case_id"])
        case = await anyio.to_thread.run_sync(store.case, number)
        if case is None:
            raise ProblemError("not_found", "the case of this override is not in the queue")
        if case.audience == "compliance" and who.reader != "compliance":
            raise ProblemError("review_refused", "this override is not for your eyes")
        if who.conflicted(case):
            raise ProblemError("review_refused", "nobody approves for a client they are related to")
        amount = parse_decimal(str(proposal.content["max_debt_amt"]), 2, "max_debt_amt")
        if max(amount, case.exposure_amt) > who.authority.get(case.currency, 0):
            raise ProblemError("review_refused", "the amount is above your authority")
        if await anyio.to_thread.run_sync(store.is_excluded, number, who.subject):
            raise ProblemError("review_refused", "an appeal is approved by another person")

    async def ended(
        self, proposal: Proposal, by: str, why: str | None
    ) -> tuple[list[tuple[Frozen, str | None]], Act | None]:
        """What goes on record beside a proposal's last act: the new decision, and the case's end.

        Raises
        ------
        ProblemError
            ``past_hard``, where the data have moved so that the override now passes a hard term.
        """
        if proposal.state == "open":
            return [], None
        service, now = self._service, self._service.settings.now()
        number = str(proposal.content["case_id"])
        if proposal.state != "approved":
            return [], self._reopening(proposal, by, why, now)
        case = await anyio.to_thread.run_sync(service.reviews.store.case, number)
        if case is None:
            raise ProblemError("not_found", "the case of this override is not in the queue")
        amount = parse_decimal(str(proposal.content["max_debt_amt"]), 2, "max_debt_amt")
        if str(proposal.content["expires_on"]) < now.date().isoformat():
            raise ProblemError("state_conflict", "the override has expired; reject it")
        entry = await self.try_it(case, amount, proposal.proposal_id, proposal.author)
        frozen = freeze(DECISION_KIND, entry, canonical_bytes(entry))

        def act(database: Database, position: int) -> Sequence[Frozen]:
            if service.engine.world.run_id != entry["night"]:
                raise ReviewStateError("a new night was published just now; approve once more")
            before = rows.case_row(database, number)
            if before.state != "proposed" or before.proposal_id != proposal.proposal_id:
                raise ReviewStateError("the case no longer waits for this override; read it again")
            changed = before.changed(
                state="closed", resolution="overridden", closed_at=instant(now), closed_by=by,
                final_outcome=entry["settled"]["outcome"],
                decided_by=tuple(dict.fromkeys((*before.decided_by, *proposal.approvals))),
            )  # fmt: skip
            rows.update_case(database, changed)
            detail = {
                "proposal_id": proposal.proposal_id, "side": proposal.direction,
                "reason_code": proposal.content["reason_code"], "text": proposal.reason,
                "author": proposal.author, "new_decision_id": entry["decision_id"],
                "before": format_decimal(before.max_debt_amt, 2),
                "after": entry["settled"]["max_debt_amt"],
                "expires_on": proposal.content["expires_on"],
            }  # fmt: skip
            at = instant(now)
            return [rows.recorded(database, position, changed, "overridden", by, at, detail)]

        return [(frozen, None)], act

    @staticmethod
    def _reopening(proposal: Proposal, by: str, why: str | None, now: dt.datetime) -> Act:
        number = str(proposal.content["case_id"])

        def act(database: Database, position: int) -> Sequence[Frozen]:
            before = rows.case_row(database, number)
            if before.state != "proposed" or before.proposal_id != proposal.proposal_id:
                raise ReviewStateError("the case no longer waits for this override; read it again")
            changed = before.changed(state="open", proposal_id=None, taken_at=None)
            rows.update_case(database, changed)
            detail = {"proposal_id": proposal.proposal_id, "text": why, "end": proposal.state}
            at = instant(now)
            return [rows.recorded(database, position, changed, "override_ended", by, at, detail)]

        return act
