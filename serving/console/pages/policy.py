"""Policy: what is in force, what a change would do to the book, and its approval by hash."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any

import anyio.to_thread
from starlette.responses import Response

from data_contracts.errors import InputError
from data_contracts.units import format_decimal
from models.policy.commands import differences
from models.policy.kept import direction, documents_of, keep, kept, latest
from models.policy.pack import PLACES, Pack
from serving.console import candidates
from serving.console.access import AUTHORS, STAFF
from serving.console.frame import Frame, Page, Visit
from serving.console.pages.client import policy_rows
from serving.console.pages.night import change_rows
from serving.console.pages.proposals import latest_proposals
from serving.console.pictures import lengths
from serving.service.problems import ProblemError
from serving.service.proposals import Proposals

LISTED = 10


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    p = Policies(frame)
    one = "/console/policy/candidates/{sha256}"
    return [
        Page("GET", "/console/policy", STAFF, p.show),
        Page("POST", "/console/policy", AUTHORS, p.draft),
        Page("GET", one, STAFF, p.candidate),
        Page("POST", one, AUTHORS, p.propose),
    ]


def _written(unit: str, values: tuple[int, ...]) -> str:
    places = PLACES.get(unit)
    return ", ".join(str(v) if places is None else format_decimal(v, places) for v in values)


class Policies:
    """Reads the pack in force and the candidates kept beside it."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    async def show(self, visit: Visit, wrong: str | None = None) -> Response:
        """The rules in force, the form for a change, and the candidates so far."""
        world = self._service.engine.world
        pack = world.pack
        house = [
            {
                "name": name,
                "text": pack.parameters[name].zh
                if visit.language == "zh"
                else pack.parameters[name].en,
                "written": _written(pack.parameters[name].unit, value.values),
            }
            for name, value in sorted(world.policy.in_force.items())
            if pack.parameters[name].level == "house"
        ]
        names = latest(self._service.settings.lake, LISTED)
        return visit.page(
            "policy.html.j2",
            status=422 if wrong else 200,
            pack=pack,
            title=pack.title_zh if visit.language == "zh" else pack.title_en,
            policy=world.policy,
            rows=policy_rows(visit),
            house=house,
            form=visit.form,
            wrong=wrong,
            first_day=world.policy.effective_on.isoformat(),
            candidates=names,
            may_draft=visit.has(AUTHORS),
        )

    async def draft(self, visit: Visit) -> Response:
        """Make a candidate of one changed rule, and show what it would do."""
        world = self._service.engine.world
        try:
            since = dt.date.fromisoformat(visit.form.get("since", ""))
        except ValueError:
            return await self.show(visit, visit.words("policy.since_wrong"))
        if since < world.policy.effective_on:
            return await self.show(visit, visit.words("policy.since_past"))
        try:
            document, house = candidates.changed_pack(
                world.policy.pack,
                visit.form.get("rule", ""),
                visit.form.get("values", ""),
                since,
                visit.form.get("reference", "").strip(),
                documents_of(self._service.settings.lake, world.pack),
            )
            sha256 = keep(self._service.settings.lake, document, house)
        except InputError as error:
            told = visit.words("policy.refused")
            return await self.show(visit, told if visit.language == "zh" else f"{told} {error}")
        return visit.go(f"/console/policy/candidates/{sha256}")

    def _found(self, visit: Visit) -> tuple[Pack, Pack, dt.date, list[dict[str, Any]]]:
        """Candidate and present pack, the first day on which they differ, and how."""
        candidate = kept(self._service.settings.lake, visit.path("sha256"))
        if candidate is None:
            raise ProblemError("not_found", "no candidate with this hash is kept here")
        world = self._service.engine.world
        present = world.pack
        days = {v.first_day for p in candidate.parameters.values() for v in p.history}
        for day in sorted(
            d for d in days | {world.policy.effective_on} if d >= world.policy.effective_on
        ):
            at = dt.datetime.combine(day, dt.time())
            if day > candidate.last_date:
                break
            rows = differences(present, at, candidate, at)
            if rows:
                return candidate, present, day, rows
        raise ProblemError("state_conflict", "the candidate does not differ from the pack in force")

    async def candidate(self, visit: Visit) -> Response:
        """The difference, rule by rule, and the effect on a sample of the book."""
        candidate, present, day, rows = self._found(visit)
        world = self._service.engine.world
        effect = await anyio.to_thread.run_sync(
            partial(candidates.effect, world, candidate, present, day)
        )
        proposals = [
            p
            for p in await latest_proposals(visit)
            if p["kind"] == "policy" and p["content"]["sha256"] == candidate.sha256
        ]
        parameters = {**present.parameters, **candidate.parameters}
        shown = [
            {
                "name": r["parameter"],
                "text": parameters[r["parameter"]].zh
                if visit.language == "zh"
                else parameters[r["parameter"]].en,
                "level": r["level"],
                "before": visit.show.param(r["unit"], r["before"]),
                "after": visit.show.param(r["unit"], r["after"]),
                "change": r["change"],
                "reference": r["reference"],
            }
            for r in rows
        ]
        return visit.page(
            "candidate.html.j2",
            candidate=candidate,
            present=present,
            day=day.isoformat(),
            rows=shown,
            direction=direction(rows),
            effect=effect,
            changes=change_rows(visit, effect.changes, lambda v: visit.show.share(v, 0, sign=True)),
            bars=lengths([effect.limit_before, effect.limit_after]),
            proposals=proposals,
            may_propose=visit.has(AUTHORS),
        )

    async def propose(self, visit: Visit) -> Response:
        """Ask for the approval of the candidate; its hash is what is approved."""
        candidate, _, _, rows = self._found(visit)
        call = visit.call(
            {
                "kind": "policy",
                "direction": direction(rows),
                "content": {"pack": candidate.name, "sha256": candidate.sha256},
                "reason": visit.form.get("reason", "").strip() or None,
            }
        )
        await Proposals(self._service).create(call)
        return visit.go(f"/console/policy/candidates/{candidate.sha256}")
