"""One client: facts, the decision with its pictures, what changed, the ways out, and the letter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio.to_thread
import numpy as np
from starlette.responses import Response

from data_contracts.case import Case
from data_contracts.units import NULL, IntArray
from models.bundle import Bundle
from models.conditions import Fact, settle
from models.maintenance.counterfactuals import WaysOut, counterfactuals
from models.policy.pack import LEVELS
from models.reasons import render
from models.scorer.change import change_attributions
from serving.console import decided
from serving.console.access import STAFF
from serving.console.formats import Format
from serving.console.frame import Frame, Page, Visit
from serving.console.reviews import refuse_blind
from serving.console.texts import LANGUAGES, TAGS, Words
from serving.nightly.segments import INPUTS_FILE, read_decisions, read_inputs
from serving.service.answers import DECISION_KIND
from serving.service.problems import ProblemError
from serving.service.world import World


@dataclass(frozen=True)
class Known:
    """What the published night knows of a client, decided again by the production engine."""

    case: Case
    row: IntArray
    body: dict[str, Any]
    settled: dict[str, Any]
    published_amt: str


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    c = Clients(frame)
    one = "/console/clients/{client_id}"
    return [
        Page("GET", "/console/clients", STAFF, c.find),
        Page("GET", one, STAFF, c.show),
        Page("GET", f"{one}/changes", STAFF, c.changes),
        Page("GET", f"{one}/ways", STAFF, c.ways),
        Page("GET", f"{one}/rules", STAFF, c.rules),
        Page("GET", f"{one}/letter", STAFF, c.letter),
    ]


def known_client(world: World, client_id: str, facts: list[Fact]) -> Known:
    """The client's case of the night with its decision; 404 for a client whom it does not know."""
    found = world.cases.read(client_id)
    if found is None:
        raise ProblemError("not_found", "the published night knows no client with this number")
    row = world.features.read(client_id, world.features.good_until)
    body = decided.night_decision(world, found.case, row)
    return Known(found.case, row, body, settle(body, facts, found.max_debt_amt), found.max_debt_amt)


def decision_values(
    visit: Visit,
    case: Case,
    row: IntArray,
    body: dict[str, Any],
    settled: dict[str, Any],
    bundle: Bundle,
) -> dict[str, Any]:
    """Everything that the pictures and tables of a decision show."""
    world = visit.service.engine.world
    values = [None if v == NULL else v for v in row.tolist()]
    attributions = body["attributions"]["values"]
    return {
        "head": decided.head(visit, body, settled),
        "cap": decided.cap_rows(visit, body),
        "rate": decided.rate_rows(visit, body),
        "reasons": decided.reasons(visit, settled["reasons"]),
        "contributions": decided.contributions(visit, bundle, attributions, values),
        "principal": decided.PRINCIPAL,
        "score": visit.show.score(body["score"], sign=False),
        "base": visit.show.score(body["attributions"]["base"], sign=False),
        "lines": decided.lines(visit, body),
        "standing": decided.status_rows(visit, case),
        "holdings": decided.holdings(visit, world, case),
        "contracts": decided.contracts(visit, case),
        "cash": visit.show.minor(case.book.cash_amt),
        "group": case.group,
        "moved": moved(visit, case, body),
    }


def moved(visit: Visit, case: Case, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Tier, rate and soft limit against the last published decision; none for a first one."""
    before, show, t = case.previous, visit.show, visit.words
    if before is None:
        return []
    soft, rate = int(body["soft_cap_amt"].replace(".", "")), int(body["rate_bps"])
    by_amt, by_bps = soft - before.soft_cap_amt, rate - before.rate_bps
    return [
        {
            "name": t("field.soft_limit"),
            "before": show.minor(before.soft_cap_amt),
            "after": show.minor(soft),
            "change": show.change(before.soft_cap_amt, soft, show.minor(by_amt, sign=True)),
        },
        {
            "name": t("field.rate"),
            "before": show.rate(before.rate_bps),
            "after": show.rate(rate),
            "change": show.change(before.rate_bps, rate, show.bps(by_bps)),
        },
        {
            "name": t("field.tier"),
            "before": str(before.tier),
            "after": body["tier"],
            "change": tier_change(visit, before.tier, body["tier"]),
        },
    ]


def tier_change(visit: Visit, before: int, after: str) -> Any:
    """A tier's move in words: 1 is best, so a larger number is worse."""
    now = 8 if after == "D" else int(after)
    change = visit.show.change(before, now, "")
    if change.way in ("up", "down"):
        word = visit.words("change.worse" if now > before else "change.better")
        return type(change)(word, "same")
    return change


class Clients:
    """Reads the published night."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    async def find(self, visit: Visit) -> Response:
        """By number, or some numbers to begin with."""
        world = self._service.engine.world
        number = visit.query("number").strip()
        if number:
            if world.cases.read(number) is None:
                return visit.page(
                    "clients.html.j2", number=number, missing=True, some=world.cases.clients(20)
                )
            return visit.go(f"/console/clients/{number}")
        return visit.page("clients.html.j2", number="", missing=False, some=world.cases.clients(20))

    async def known(self, visit: Visit) -> Known:
        """The client of the address, unless the visitor has yet to read their case blind."""
        client_id = visit.path("client_id")
        await refuse_blind(visit, client_id)
        world = self._service.engine.world
        facts = world.facts_now(self._service.settings.now())
        return await anyio.to_thread.run_sync(partial(known_client, world, client_id, facts))

    async def show(self, visit: Visit) -> Response:
        """The whole client."""
        known = await self.known(visit)
        made = [
            e
            for e in await self._service.look_up(f"client_id/{known.case.client_id}", 20)
            if e.kind == DECISION_KIND
        ]
        return visit.page(
            "client.html.j2",
            client_id=known.case.client_id,
            made=made,
            on_page=True,
            **decision_values(
                visit,
                known.case,
                known.row,
                known.body,
                known.settled,
                self._service.engine.world.bundle,
            ),
        )

    async def changes(self, visit: Visit) -> Response:
        """Why the score moved since the night before: a fragment."""
        world = self._service.engine.world
        known = await self.known(visit)
        previous = world.started.get("previous_run")
        before = (
            await anyio.to_thread.run_sync(
                partial(self._row_of, str(previous), known.case.client_id)
            )
            if previous
            else None
        )
        if before is None:
            return visit.page("fragments/changes.html.j2", rows=[], total=None, since=None)
        total, parts = change_attributions(
            world.bundle.head, before[np.newaxis], known.row[np.newaxis]
        )
        values = parts[0].tolist()
        rows = decided.contributions(
            visit,
            world.bundle,
            values,
            [None if v == NULL else v for v in known.row.tolist()],
            [None if v == NULL else v for v in before.tolist()],
        )
        return visit.page(
            "fragments/changes.html.j2",
            rows=rows,
            total=visit.show.score(int(total[0])),
            since=previous,
        )

    def _row_of(self, run_id: str, client_id: str) -> IntArray | None:
        """A client's features in an earlier run of the same bundle."""
        world, root = self._service.engine.world, self._service.settings.lake
        [*found] = self._service.reader.latest(f"run_id/{run_id}", 10_000)
        started = next((e.body for e in found if e.kind == "run_started"), None)
        finished = next((e.body for e in found if e.kind == "run_finished"), None)
        if started is None or finished is None or started["bundle"] != world.bundle.sha256:
            return None
        for name in finished["segments"]:  # type: ignore[attr-defined]
            ids = read_decisions(root / name, ["client_id"])["client_id"].to_pylist()
            if client_id in ids and ((root / name).parent / INPUTS_FILE).is_file():
                row: IntArray = read_inputs((root / name).parent, [ids.index(client_id)])[1][0]
                return row
        return None

    async def ways(self, visit: Visit) -> Response:
        """What would have the request approved, each way decided by the engine: a fragment."""
        found = await self._ways(visit)
        return visit.page(
            "fragments/ways.html.j2",
            ways=way_rows(visit.words, visit.show, found),
            nothing=[visit.words.term("rule", n) for n in found.nothing],
        )

    async def _ways(self, visit: Visit) -> WaysOut:
        world = self._service.engine.world
        known = await self.known(visit)
        frame = decided.frame_of(world, known.case.client_id, known.row)
        return await anyio.to_thread.run_sync(
            partial(counterfactuals, known.case, frame, world.bundle, world.policy, world.market)
        )

    async def rules(self, visit: Visit) -> Response:
        """The text of the policy that was applied, the rule that bound first: a fragment."""
        known = await self.known(visit)
        return visit.page(
            "fragments/rules.html.j2",
            rows=policy_rows(visit),
            binding=visit.words(f"cap.{known.body['binding']}"),
        )

    async def letter(self, visit: Visit) -> Response:
        """What the client is written: reasons for clients only, in the language of the letter."""
        tongue = visit.query("in", visit.language)
        if tongue not in LANGUAGES:
            raise ProblemError("not_found", "a letter is in zh or en")
        known = await self.known(visit)
        words = Words(tongue)
        show = Format(words, self._service.engine.world.policy.currency)
        names = self._service.names[tongue]
        said = [render(r, tongue, "client", names) for r in known.settled["reasons"]]  # type: ignore[arg-type]
        found = await self._ways(visit)
        return visit.page(
            "letter.html.j2",
            client_id=known.case.client_id,
            l=words,
            letter_lang=TAGS[tongue],
            tongue=tongue,
            outcome=known.settled["outcome"],
            body=known.body,
            f=show,
            limit=show.money(known.settled["max_debt_amt"]),
            said=[s for s in dict.fromkeys(said) if s is not None],
            ways=way_rows(words, show, found),
        )


def way_rows(words: Words, show: Format, found: WaysOut) -> list[dict[str, str]]:
    """The ways out in words."""
    rows = []
    for way in found.as_dict()["ways"]:
        what = (
            words("way.sell", shares=show.number(way["quantity_shares"]), symbol=way["symbol"])
            if way["lever"] == "sell"
            else words(f"way.{way['lever']}", amount=show.money(way["amount_amt"]))
        )
        rows.append({"what": what, "limit": show.money(way["max_debt_amt"])})
    return rows


def policy_rows(visit: Visit) -> list[dict[str, Any]]:
    """The rules in force that decide applies, law first."""
    policy = visit.service.engine.world.policy
    place = 1 if visit.language == "zh" else 0
    rows = []
    for name, value in policy.in_force.items():
        p = policy.parameters[name]
        rows.append(
            {
                "name": name,
                "level": p.level,
                "text": (p.en, p.zh)[place],
                "value": visit.show.param(p.unit, value.values),
                "since": value.since.date().isoformat(),
                "reference": value.reference,
                "verified": value.verified,
                "applied": p.applied,
            }
        )
    rows.sort(key=lambda r: (LEVELS.index(str(r["level"])), r["name"]))
    return rows
