"""The operations on proposals: each leaves an entry, and with the last approval its effect."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
from starlette.responses import Response

from data_contracts.canonical import canonical_bytes
from data_contracts.errors import InputError
from data_contracts.units import format_decimal
from models.governance import (
    DIRECTIONS,
    KINDS,
    PROPOSAL_KIND,
    FourEyesError,
    Proposal,
    StateError,
    effect,
)
from models.policy import PACK_NAMES
from serving.ledger.envelope import Request as Frozen
from serving.ledger.envelope import freeze
from serving.service.admissible import require_admissible
from serving.service.edge import Call, Operation, answer
from serving.service.overrides import may_read, of_case
from serving.service.problems import ProblemError
from serving.service.requests import Reader, idempotency_key

if TYPE_CHECKING:
    from serving.service.app import Service

AUTHORS: Final = frozenset({"reviewer", "risk", "validator", "admin"})
APPROVERS: Final = frozenset({"approver"})
READERS: Final = frozenset({"reviewer", "approver", "risk", "validator", "auditor", "admin"})
LONGEST_REASON: Final = 1000
_ETAG: Final = re.compile(r'"[1-9][0-9]{0,8}"')
_HASH: Final = re.compile(r"[0-9a-f]{64}")


def _hash(r: Reader, name: str) -> str | None:
    value = r.text(name)
    if value is not None and not _HASH.fullmatch(value):
        r.wrong(name, "it must be a SHA-256 in 64 lower-case hexadecimal digits")
        return None
    return value


def _content(r: Reader, kind: str | None) -> dict[str, Any]:
    c = r.inner("content")
    content: dict[str, Any] = {}
    if kind == "model":
        day = c.date("review_on", True)
        content = {"bundle_sha256": _hash(c, "bundle_sha256"), "review_on": day and day.isoformat()}
        content |= _effective(c)
    elif kind == "override":
        amount = c.amount("max_debt_amt", False)
        if "max_debt_amt" not in c.document:
            c.wrong("max_debt_amt", "it is missing; null takes the override back")
        content = {
            "client_id": c.identity("client_id"),
            "decision_id": c.identity("decision_id"),
            "max_debt_amt": None if amount is None else format_decimal(amount, 2),
        }
    elif kind == "erasure":
        content = {"client_id": c.identity("client_id")}
    elif kind == "publication":
        content = {
            "run_id": c.identity("run_id"),
            "run_sha256": _hash(c, "run_sha256"),
            "verdict_sha256": _hash(c, "verdict_sha256"),
        }
    elif kind == "policy":
        content = {"pack": c.text("pack", True, PACK_NAMES), "sha256": _hash(c, "sha256")}
        content |= _effective(c)
    c.close()
    return content


def _effective(c: Reader) -> dict[str, str]:
    """From when it is to be in force; left out, from the last approval on."""
    moment = c.instant("effective_at")
    return {} if moment is None else {"effective_at": moment.isoformat()}


def _read(call: Call, known: Proposal | None) -> tuple[str, str, dict[str, Any], str]:
    """Kind, direction, content and reason of a body, checked."""
    r = Reader(call.json())
    kind = r.text("kind", True, KINDS)
    direction = r.text("direction", True, DIRECTIONS)
    reason = r.text("reason")
    if reason is not None and not 1 <= len(reason) <= LONGEST_REASON:
        r.wrong("reason", f"it must have 1 to {LONGEST_REASON} characters")
    content = _content(r, kind)
    if kind == "override" and direction is not None:
        # law, not opinion: an override only tightens, taking it back only loosens
        right = "loosens" if content["max_debt_amt"] is None else "tightens"
        if direction != right:
            r.wrong("direction", f"this override {right}; an override never raises a limit")
    if kind == "erasure" and direction not in (None, "neutral"):
        r.wrong("direction", "an erasure before retention ends is neutral: two people must agree")
    r.close()
    r.finish()
    if known is not None and kind != known.kind:
        raise ProblemError(
            "state_conflict", f"a proposal keeps its kind: this one is of kind {known.kind}"
        )
    assert kind is not None
    assert direction is not None
    assert reason is not None
    return kind, direction, content, reason


def operations(service: Service) -> list[Operation]:
    """The routes under ``/v1/proposals``."""
    p = Proposals(service)
    one = "/v1/proposals/{proposal_id}"
    return [
        Operation("GET", "/v1/proposals", "listProposals", READERS, p.list_all),
        Operation("POST", "/v1/proposals", "createProposal", AUTHORS, p.create),
        Operation("GET", one, "getProposal", READERS, p.get),
        Operation("PUT", one, "editProposal", AUTHORS, p.edit),
        Operation("POST", f"{one}/approvals", "approveProposal", APPROVERS, p.approve),
        Operation("POST", f"{one}/rejections", "rejectProposal", APPROVERS | AUTHORS, p.reject),
    ]


class Proposals:
    """Reads the state from the ledger, applies a transition, records the new state."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list_all(self, call: Call) -> Response:
        """The proposals that changed last, newest first, each in its present state."""
        seen: dict[str, dict[str, Any]] = {}
        for entry in await self._service.look_up(f"kind/{PROPOSAL_KIND}", 500):
            if may_read(Proposal.from_json(entry.body), call.reader):
                seen.setdefault(entry.body["proposal_id"], self._shown(entry.body))
        return answer({"proposals": list(seen.values())[:100]})

    async def get(self, call: Call) -> Response:
        """One proposal in its present state."""
        proposal = await self._find(call)
        return self._answer(proposal.to_json(), 200)

    async def create(self, call: Call) -> Response:
        """A new proposal of the caller's."""
        idempotency_key(call.request.headers.get("idempotency-key"))
        kind, direction, content, reason = _read(call, None)
        await self._admissible(kind, direction, content)
        number = uuid.uuid4().hex
        proposal = Proposal(number, kind, direction, content, reason, call.caller.subject)
        return await self._record(call, "createProposal", proposal, "created", 201)

    async def edit(self, call: Call) -> Response:
        """Another content under the same number."""
        idempotency_key(call.request.headers.get("idempotency-key"))
        self._require_stated(call)
        known = await self._find(call)
        if of_case(known):
            raise ProblemError(
                "state_conflict",
                "the override of a case is not edited: withdraw it, and propose anew from the case",
            )
        _, direction, content, reason = _read(call, known)
        self._require_match(call, known)
        await self._admissible(known.kind, direction, content)
        changed = _apply(lambda: known.edited(call.caller.subject, direction, content, reason))
        return await self._record(call, f"edit/{known.proposal_id}", changed, "edited", 200)

    async def approve(self, call: Call) -> Response:
        """One approval, of the content whose hash is sent."""
        idempotency_key(call.request.headers.get("idempotency-key"))
        known = await self._find(call)
        r = Reader(call.json())
        content = _hash(r, "content_sha256")
        r.close()
        r.finish()
        assert content is not None
        operation = f"approve/{known.proposal_id}"
        repeat = await self._repeat(call, operation)
        if repeat is not None:
            return repeat
        changed = _apply(lambda: known.approved(call.caller.subject, content))
        if changed.state == "approved":
            # what it names may have changed, or run out, since it was proposed
            await self._admissible(known.kind, known.direction, known.content)
        if of_case(known):
            await self._service.overrides.approver(call, known)
        return await self._record(call, operation, changed, "approved", 201)

    async def reject(self, call: Call) -> Response:
        """Close it without effect."""
        idempotency_key(call.request.headers.get("idempotency-key"))
        known = await self._find(call)
        r = Reader(call.json())
        why = r.text("reason")
        if why is not None and not 1 <= len(why) <= LONGEST_REASON:
            r.wrong("reason", f"it must have 1 to {LONGEST_REASON} characters")
        r.close()
        r.finish()
        operation = f"reject/{known.proposal_id}"
        repeat = await self._repeat(call, operation)
        if repeat is not None:
            return repeat
        changed = _apply(lambda: known.rejected(call.caller.subject))
        return await self._record(call, operation, changed, "rejected", 201, because=why)

    async def _admissible(self, kind: str, direction: str, content: Mapping[str, Any]) -> None:
        settings = self._service.settings
        world = self._service.engine.world
        check = partial(require_admissible, settings.lake, world, settings.now())
        await anyio.to_thread.run_sync(check, kind, direction, content)

    # --- shared ---------------------------------------------------------------------------------

    async def _find(self, call: Call) -> Proposal:
        label = f"proposal_id/{call.path('proposal_id')}"
        for entry in await self._service.look_up(label, 5):
            if entry.kind == PROPOSAL_KIND:
                found = Proposal.from_json(entry.body)
                if may_read(found, call.reader):
                    return found
        raise ProblemError("not_found", "there is no proposal with this number")

    def _require_stated(self, call: Call) -> str:
        stated = call.request.headers.get("if-match")
        if stated is None:
            raise ProblemError(
                "if_match_missing", "send If-Match with the ETag of the proposal as you read it"
            )
        return stated

    def _require_match(self, call: Call, known: Proposal) -> None:
        stated = self._require_stated(call)
        if not _ETAG.fullmatch(stated):
            raise ProblemError("header_missing", 'If-Match holds an ETag like "1", quotes included')
        if stated != _etag(known.revision):
            raise ProblemError(
                "version_conflict",
                f"the proposal is at {_etag(known.revision)}, not {stated[:40]}; read it again",
            )

    async def _repeat(self, call: Call, operation: str) -> Response | None:
        """The first answer, where this very request was recorded before."""
        keyed = self._keyed(call, operation)
        body = await self._service.engine.repeated(keyed)
        return None if body is None else self._answer(self._shown(body), 201)

    def _keyed(self, call: Call, operation: str) -> Any:
        key = idempotency_key(call.request.headers.get("idempotency-key"))
        return self._service.engine.keyed(call.caller.subject, operation, key, call.body)

    async def _record(
        self,
        call: Call,
        operation: str,
        proposal: Proposal,
        act: str,
        status: int,
        because: str | None = None,
    ) -> Response:
        body = {**proposal.to_json(), "act": act, "actor": call.caller.subject, "because": because}
        # the revision's key: of two who change the same state, one is told that it has changed
        place = f"proposal/{proposal.proposal_id}/{proposal.revision}"
        entries: list[tuple[Frozen, str | None]] = [
            (freeze(PROPOSAL_KIND, body, canonical_bytes(body)), place)
        ]
        ending = None
        more: list[tuple[Frozen, str | None]] = []
        if of_case(proposal):
            overrides = self._service.overrides
            more, ending = await overrides.ended(proposal, call.caller.subject, because)
        left = effect(proposal, self._service.settings.now())
        if left is not None:
            entries.append((freeze(left[0], left[1], canonical_bytes(left[1])), None))
        entries += more
        try:
            stored, _ = await self._service.engine.record(
                entries, call.caller.subject, self._keyed(call, operation), ending
            )
        except InputError as error:
            if place not in str(error):
                raise
            raise ProblemError(
                "version_conflict", "somebody changed the proposal meanwhile; read it again"
            ) from None
        if left is not None:
            await self._service.refresh()
        return self._answer(self._shown(stored), status)

    @staticmethod
    def _shown(body: dict[str, Any]) -> dict[str, Any]:
        return Proposal.from_json(body).to_json()

    @staticmethod
    def _answer(document: dict[str, Any], status: int) -> Response:
        headers = {"etag": _etag(document["revision"])}
        if status == 201:
            headers["location"] = f"/v1/proposals/{document['proposal_id']}"
        return answer(document, status, headers)


def _etag(revision: int) -> str:
    return f'"{revision}"'


def _apply(transition: Any) -> Proposal:
    try:
        changed: Proposal = transition()
    except FourEyesError as error:
        raise ProblemError("four_eyes", str(error)) from None
    except StateError as error:
        raise ProblemError("state_conflict", str(error)) from None
    return changed
