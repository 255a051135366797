"""Proposals: what waits for another person's eyes, and the approval of one by its hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from models.governance import Proposal
from serving.console.access import APPROVERS, AUTHORS, STAFF
from serving.console.frame import Frame, Page, Visit
from serving.service.problems import ProblemError
from serving.service.proposals import PROPOSAL_KIND, Proposals

if TYPE_CHECKING:
    from serving.service.app import Service

LISTED = 100


async def latest_proposals(service: Service) -> list[dict[str, Any]]:
    """The proposals that changed last, newest first, each in its present state."""
    seen: dict[str, dict[str, Any]] = {}
    for entry in await service.look_up(f"kind/{PROPOSAL_KIND}", 500):
        if entry.body["proposal_id"] not in seen:
            now = Proposal.from_json(entry.body).to_json()
            seen[entry.body["proposal_id"]] = {**now, "at": entry.recorded_at}
    return list(seen.values())[:LISTED]


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


class Desk:
    """Shows proposals and passes approvals on to the operations of the service."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    async def list_all(self, visit: Visit) -> Response:
        """Open ones first."""
        found = await latest_proposals(self._service)
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
        own = now["author"] == visit.subject
        return visit.page(
            "proposal.html.j2",
            p=now,
            history=history,
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
