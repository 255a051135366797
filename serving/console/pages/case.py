"""A case: facts and changes, why it was decided so, and the form that decides it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio.to_thread
import numpy as np
from starlette.responses import Response

from data_contracts.case import Case, case_from_json
from data_contracts.errors import InputError
from data_contracts.units import NULL, IntArray, format_decimal, parse_decimal
from models.bundle import Bundle
from models.review import OVERRIDE_REASONS
from serving.console import decided
from serving.console.frame import Frame, Page, Visit
from serving.console.pages.client import decision_values, known_client
from serving.console.pages.queue import LOOKERS, clock, is_hidden, next_case, spoken
from serving.console.reviews import keyed, person, store_of
from serving.nightly.segments import read_inputs
from serving.review import WORKERS, ReviewCase, ReviewRefusedError, ReviewStateError
from serving.review.decided import decision_entry
from serving.service.overrides import hard_limit
from serving.service.problems import ProblemError, of_review
from serving.service.review_answers import act_answer

LONGEST_TEXT: Final = 2000
ACTIONS: Final = ("confirm", "override", "escalate")


@dataclass(frozen=True)
class Material:
    """What a case is about: the inputs and the decision as it stands."""

    case: Case
    row: IntArray
    body: dict[str, Any]
    settled: dict[str, Any]
    bundle: Bundle
    on_page: bool


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    c = Cases(frame)
    one = "/console/cases/{case_id}"
    return [
        Page("GET", one, LOOKERS, c.show),
        Page("POST", f"{one}/take", WORKERS, c.take),
        Page("POST", f"{one}/release", WORKERS, c.release),
        Page("POST", f"{one}/view", WORKERS, c.view),
        Page("POST", f"{one}/decide", WORKERS, c.decide),
        Page("POST", f"{one}/note", LOOKERS, c.note),
        Page("POST", f"{one}/snooze", WORKERS, c.snooze),
    ]


class Cases:
    """Reads a case and passes acts on to the desk, which refuses what may not be."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    def _case(self, visit: Visit, now: dt.datetime) -> ReviewCase:
        who = person(visit, now)
        found = store_of(visit).case(visit.path("case_id"), who)
        if found is None:
            raise ProblemError("not_found", "there is no case with this number")
        return found

    def _material(self, case: ReviewCase) -> Material:
        world = self._service.engine.world
        if case.source == "night" and case.run_id == world.run_id:
            facts = world.facts_now(self._service.settings.now())
            known = known_client(world, case.client_id, facts)
            return Material(known.case, known.row, known.body, known.settled, world.bundle, True)
        lake, store = self._service.settings.lake, self._service.reviews.store
        entry = decision_entry(lake, store, case)
        if case.source == "service":
            row = np.array([NULL if v is None else v for v in entry["features"]], dtype=np.int64)
            applicant = entry["applicant"] and world.application is not None
            bundle = world.application if applicant else world.bundle
            assert bundle is not None
            stated = case_from_json(entry["case"])
            return Material(stated, row, entry["decision"], entry["settled"], bundle, False)
        folder = lake / "runs" / case.run_id / f"bucket={case.bucket or 0:03d}"
        cases, rows = read_inputs(folder, [case.row or 0])
        return Material(cases[0], rows[0], entry["decision"], entry["settled"], world.bundle, False)

    def _values(self, visit: Visit, now: dt.datetime) -> dict[str, Any]:
        store = store_of(visit)
        case = self._case(visit, now)
        who = person(visit, now)
        holder = case.held_by(now)
        hidden = is_hidden(visit, case)
        material = self._material(case)
        shown: dict[str, Any]
        if hidden:
            shown = {
                "standing": decided.status_rows(visit, material.case),
                "holdings": decided.holdings(visit, self._service.engine.world, material.case),
                "contracts": decided.contracts(visit, material.case),
                "cash": visit.show.minor(material.case.book.cash_amt),
                "group": material.case.group,
            }
        else:
            shown = decision_values(
                visit, material.case, material.row, material.body, material.settled, material.bundle
            )
        hard, hard_term = hard_limit(material.body)
        policy = self._service.reviews.policy(now)
        return {
            "case": case,
            "why": [] if hidden else spoken(visit, case),
            "clock": clock(visit, case, now),
            "holder": holder,
            "mine": holder == visit.subject,
            "may_work": visit.has(WORKERS),
            "hidden": hidden,
            "on_page": material.on_page,
            "acts": [act_answer(a, hidden, visit.reader) for a in store.timeline(case.case_id)],
            "others": [
                c for c in store.cases_of_client(case.client_id, who) if c.case_id != case.case_id
            ],
            "override_reasons": [
                {"code": r.code, "text": r.zh if visit.language == "zh" else r.en, "side": r.side}
                for r in OVERRIDE_REASONS.values()
            ],
            "hard": visit.show.minor(hard),
            "hard_term": visit.words(f"cap.{hard_term}"),
            "within": case.exposure_amt <= who.authority.get(case.currency, 0)
            and case.level <= who.level,
            "latest_expiry": (now + policy.longest_override).date().isoformat(),
            "first_expiry": (now + dt.timedelta(days=1)).date().isoformat(),
            "latest_snooze": (now + policy.longest_snooze).date().isoformat(),
            "default_expiry": (now + min(policy.longest_override, dt.timedelta(days=90)))
            .date()
            .isoformat(),
            "proposal_id": case.proposal_id,
            **shown,
        }

    async def show(self, visit: Visit, wrong: str | None = None) -> Response:
        """The case as far as the visitor may see it."""
        now = self._service.settings.now()
        values = await anyio.to_thread.run_sync(partial(self._values, visit, now))
        return visit.page(
            "case.html.j2", status=422 if wrong else 200, wrong=wrong, form=visit.form, **values
        )

    # --- acts -----------------------------------------------------------------------------------

    async def _act(self, visit: Visit, name: str, *arguments: Any) -> None:
        """An act of the desk under the form's key; what is refused becomes a problem."""
        now = self._service.settings.now()
        desk = self._service.reviews
        key = keyed(visit, f"{name}/{visit.path('case_id')}")

        def act() -> None:
            self._case(visit, now)  # what the visitor may not know of is not there
            getattr(desk, name)(
                visit.path("case_id"), person(visit, now), now, *arguments, keyed=key
            )

        try:
            await anyio.to_thread.run_sync(act)
        except (ReviewRefusedError, ReviewStateError) as error:
            raise of_review(error) from None

    def _text(self, visit: Visit) -> str:
        text = visit.form.get("text", "").strip()
        if not 1 <= len(text) <= LONGEST_TEXT:
            raise InputError(visit.words("case.text_wrong"))
        return text

    def _here(self, visit: Visit) -> str:
        return f"/console/cases/{visit.path('case_id')}"

    async def take(self, visit: Visit) -> Response:
        """Take the case, or keep it a while longer."""
        await self._act(visit, "take")
        return visit.go(self._here(visit))

    async def release(self, visit: Visit) -> Response:
        """Give it back."""
        await self._act(visit, "release")
        return visit.go("/console/queue")

    async def note(self, visit: Visit) -> Response:
        """Write on it."""
        await self._act(visit, "note", self._text(visit))
        return visit.go(self._here(visit))

    async def snooze(self, visit: Visit) -> Response:
        """Let it sleep until a day's morning."""
        try:
            day = dt.date.fromisoformat(visit.form.get("until", ""))
        except ValueError:
            return await self.show(visit, visit.words("case.date_wrong"))
        until = dt.datetime.combine(day, dt.time(1), dt.UTC)
        await self._act(visit, "snooze", until, self._text(visit))
        return visit.go("/console/queue")

    async def view(self, visit: Visit) -> Response:
        """The visitor's own view, before the score is shown."""
        outcome = visit.form.get("outcome", "")
        if outcome not in ("approve", "refer", "decline"):
            return await self.show(visit, visit.words("case.outcome_wrong"))
        try:
            amount = _amount(visit)
            text = self._text(visit)
        except InputError as error:
            return await self.show(visit, str(error))
        await self._act(visit, "view", outcome, amount, text)
        return visit.go(self._here(visit))

    async def decide(self, visit: Visit) -> Response:
        """Confirm, propose an override, or hand it up."""
        action = visit.form.get("action", "")
        if action not in ACTIONS:
            return await self.show(visit, visit.words("case.action_wrong"))
        try:
            text = self._text(visit)
            if action == "confirm":
                outcome = visit.form.get("outcome", "")
                if outcome not in ("approve", "decline"):
                    raise InputError(visit.words("case.outcome_wrong"))
                await self._act(visit, "confirm", outcome, text)
            elif action == "escalate":
                recommended = visit.form.get("recommended", "")
                await self._act(
                    visit,
                    "escalate",
                    text,
                    recommended if recommended in ("approve", "decline") else None,
                )
            else:
                await self._override(visit, text)
        except InputError as error:
            return await self.show(visit, str(error))
        if visit.form.get("and_next") == "yes":
            # a second effect of the same form needs a key of its own
            visit.form["key"] = visit.form.get("key", "") + "-next"
            return visit.go(await next_case(visit))
        return visit.go(self._here(visit))

    async def _override(self, visit: Visit, text: str) -> None:
        """A proposal that another person must approve; it is checked again when they do."""
        form = visit.form
        if form.get("reason_code") not in OVERRIDE_REASONS:
            raise InputError(visit.words("case.reason_wrong"))
        amount = _amount(visit)
        if amount is None:
            raise InputError(visit.words("case.limit_wrong"))
        try:
            expires = dt.date.fromisoformat(form.get("expires_on", ""))
        except ValueError:
            raise InputError(visit.words("case.date_wrong")) from None
        document = {
            "max_debt_amt": amount,
            "reason_code": form["reason_code"],
            "expires_on": expires.isoformat(),
            "text": text,
        }
        call = visit.call(document, path={"case_id": visit.path("case_id")})
        await self._service.reviews_api.override(call)


def _amount(visit: Visit) -> str | None:
    written = visit.form.get("max_debt_amt", "").strip().replace(",", "")
    if not written:
        return None
    try:
        amount = parse_decimal(written, 2, "max_debt_amt")
    except InputError:
        raise InputError(visit.words("simulator.money_wrong")) from None
    if amount < 0:
        raise InputError(visit.words("simulator.money_wrong"))
    return format_decimal(amount, 2)
