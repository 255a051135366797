"""Proposals: what waits for another person's eyes, and the approval of one by its hash."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.to_thread
from starlette.responses import Response

from models.governance import PROPOSAL_KIND, Proposal
from models.review import OVERRIDE_REASONS
from serving.console.access import APPROVERS, AUTHORS, STAFF
from serving.console.frame import Frame, Page, Visit
from serving.console.reviews import person, store_of
from serving.service.problems import ProblemError
from serving.service.proposals import Proposals

LISTED = 100


def may_know(visit: Visit, proposal: dict[str, Any]) -> bool:
    """Whether a proposal is for the visitor's eyes: not of a case that is above their audience."""
    number = proposal["content"].get("case_id")
    if number is None:
        return True
    now = visit.service.settings.now()
    return store_of(visit).case(str(number), person(visit, now)) is not None


async def latest_proposals(visit: Visit) -> list[dict[str, Any]]:
    """The proposals that changed last, newest first, each in its present state."""
    seen: dict[str, dict[str, Any]] = {}
    for entry in await visit.service.look_up(f"kind/{PROPOSAL_KIND}", 500):
        if entry.body["proposal_id"] not in seen:
            now = Proposal.from_json(entry.body).to_json()
            seen[entry.body["proposal_id"]] = {**now, "at": entry.recorded_at}

    def known() -> list[dict[str, Any]]:
        return [p for p in seen.values() if may_know(visit, p)][:LISTED]

    return await anyio.to_thread.run_sync(known)


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    p = Desk(frame)
    one = "/console/proposals/{proposal_id}"
    return [
        Page("GET", "/console/proposals", STAFF, p.list_all),
        Page("GET", one, STAFF, p.show),
        Page("POST", f"{one}/approve", APPROVERS, p.approve),
        Page("POST", f"{one}/reject", APPROVERS | AUTHORS, p.reject),
    ]


def reason_text(visit: Visit, code: str) -> str:
    """A reason of an override in words; one of a later list as it is."""
    found = OVERRIDE_REASONS.get(code)
    if found is None:
        return code
    return found.zh if visit.language == "zh" else found.en


class Desk:
    """Shows proposals and passes approvals on to the operations of the service."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    async def list_all(self, visit: Visit) -> Response:
        """Open ones first."""
        found = await latest_proposals(visit)
        found.sort(key=lambda p: p["state"] != "open")
        return visit.page("proposals.html.j2", proposals=found)

    async def show(self, visit: Visit) -> Response:
        """One proposal with its history."""
        history = [
            e
            for e in await self._service.look_up(f"proposal_id/{visit.path('proposal_id')}", 100)
            if e.kind == PROPOSAL_KIND
        ]
        if not history:
            raise ProblemError("not_found", "there is no proposal with this number")
        now = Proposal.from_json(history[0].body).to_json()
        if not await anyio.to_thread.run_sync(partial(may_know, visit, now)):
            raise ProblemError("not_found", "there is no proposal with this number")
        own = now["author"] == visit.subject
        return visit.page(
            "proposal.html.j2",
            p=now,
            history=history,
            override_reason=partial(reason_text, visit),
            own=own,
            may_approve=visit.has(APPROVERS)
            and now["state"] == "open"
            and not own
            and visit.subject not in now["approvals"],
            may_reject=visit.has(APPROVERS | AUTHORS) and now["state"] == "open",
        )

    async def approve(self, visit: Visit) -> Response:
        """Bound to the hash that was on the page that was read."""
        number = visit.path("proposal_id")
        if visit.form.get("read") != "yes":
            raise ProblemError("body_invalid", "tick that you have read the content")
        call = visit.call(
            {"content_sha256": visit.form.get("content_sha256", "")}, path={"proposal_id": number}
        )
        await Proposals(self._service).approve(call)
        return visit.go(f"/console/proposals/{number}")

    async def reject(self, visit: Visit) -> Response:
        """Close it without effect; its author withdraws it."""
        number = visit.path("proposal_id")
        reason = visit.form.get("reason", "").strip()
        call = visit.call({"reason": reason or None}, path={"proposal_id": number})
        await Proposals(self._service).reject(call)
        return visit.go(f"/console/proposals/{number}")
