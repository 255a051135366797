"""Proposals: four eyes over policy, model, publication, override and erasure, as pure transitions.

Author and approver differ, for everyone. An approval is bound to the hash of the content that was
read; an edit voids every approval. The further a proposal loosens, the more people must agree.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from models.lifecycle import CHAMPION, PINNED, PLACED_KIND, RELEASED_KIND

PROPOSAL_KIND: Final = "proposal"
"""The entry of a proposal in one of its states."""
KINDS: Final = ("policy", "model", "publication", "override", "erasure")
DIRECTIONS: Final = ("tightens", "neutral", "loosens")
QUORUM: Final = {"tightens": 1, "neutral": 2, "loosens": 3}
"""People, other than the author, who must approve."""
STATES: Final = ("open", "approved", "rejected", "withdrawn")


class FourEyesError(InputError):
    """One person would be author and approver, or approve twice."""


class StateError(InputError):
    """The proposal is not in a state that allows this."""


@dataclass(frozen=True)
class Proposal:
    """A change that somebody asks for, and who has agreed to it.

    ``approvals`` are the subjects who approved this very content; ``revision`` counts every change
    of state, the first included.
    """

    proposal_id: str
    kind: str
    direction: str
    content: Mapping[str, Any]
    reason: str
    author: str
    state: str = "open"
    approvals: tuple[str, ...] = ()
    revision: int = 1
    closed_by: str | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("kind", self.kind, KINDS),
            ("direction", self.direction, DIRECTIONS),
            ("state", self.state, STATES),
        ):
            if value not in allowed:
                raise InputError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")

    @property
    def content_sha256(self) -> str:
        """What an approval is bound to: kind, direction, content and reason."""
        return sha256_hex(
            canonical_bytes(
                {
                    "kind": self.kind,
                    "direction": self.direction,
                    "content": dict(self.content),
                    "reason": self.reason,
                }
            )
        )

    @property
    def quorum(self) -> int:
        """How many must approve."""
        return QUORUM[self.direction]

    def _require_open(self, what: str) -> None:
        if self.state != "open":
            raise StateError(
                f"a proposal is {what} while it is open: this one is {self.state}; make a new one"
            )

    def edited(self, by: str, direction: str, content: Mapping[str, Any], reason: str) -> Proposal:
        """Another content: every approval is void."""
        self._require_open("edited")
        if by != self.author:
            raise FourEyesError("only its author edits a proposal; make one of your own")
        return replace(
            self,
            direction=direction,
            content=content,
            reason=reason,
            approvals=(),
            revision=self.revision + 1,
        )

    def approved(self, by: str, content_sha256: str) -> Proposal:
        """One more approval of the content that was read; the last one needed closes it."""
        self._require_open("approved")
        if by == self.author:
            raise FourEyesError("author and approver differ: somebody else must approve this")
        if by in self.approvals:
            raise FourEyesError("one person approves once; somebody else must approve too")
        if content_sha256 != self.content_sha256:
            raise StateError(
                f"an approval is bound to what was read: its hash is {content_sha256[:12]}, the"
                f" proposal's is {self.content_sha256[:12]}; read it again"
            )
        approvals = (*self.approvals, by)
        done = len(approvals) >= self.quorum
        return replace(
            self,
            approvals=approvals,
            state="approved" if done else "open",
            closed_by=by if done else None,
            revision=self.revision + 1,
        )

    def rejected(self, by: str) -> Proposal:
        """Closed without effect; by its author it is withdrawn."""
        self._require_open("rejected")
        state = "withdrawn" if by == self.author else "rejected"
        return replace(self, state=state, closed_by=by, revision=self.revision + 1)

    def to_json(self) -> dict[str, Any]:
        """The proposal as the ledger keeps it and the service shows it."""
        return {
            "proposal_id": self.proposal_id,
            "kind": self.kind,
            "direction": self.direction,
            "content": dict(self.content),
            "content_sha256": self.content_sha256,
            "reason": self.reason,
            "author": self.author,
            "state": self.state,
            "approvals": list(self.approvals),
            "quorum": self.quorum,
            "revision": self.revision,
            "closed_by": self.closed_by,
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Proposal:
        """The inverse of ``to_json``."""
        return Proposal(
            document["proposal_id"],
            document["kind"],
            document["direction"],
            document["content"],
            document["reason"],
            document["author"],
            document["state"],
            tuple(document["approvals"]),
            document["revision"],
            document["closed_by"],
        )


def effect(proposal: Proposal, now: dt.datetime) -> tuple[str, dict[str, Any]] | None:
    """The entry that an approved proposal leaves beside its own: its kind and body.

    A policy and a model come into force at the moment the proposal states (``effective_at``), and
    never before ``now``, when the last person approved.
    """
    if proposal.state != "approved":
        return None
    common = {"proposal_id": proposal.proposal_id, "content_sha256": proposal.content_sha256}
    content = proposal.content
    if proposal.kind == "model":
        body = {
            "bundle": content["bundle_sha256"],
            "review_on": content["review_on"],
            "effective_at": _effective(content, now),
            **{k: content[k] for k in PINNED if k in content},
            **common,
        }
        if "role" not in content:
            return RELEASED_KIND, body
        people = {"author": proposal.author, "approvals": list(proposal.approvals)}
        # a bundle that only stands beside the champion is not released to decide
        return (RELEASED_KIND if content["role"] == CHAMPION else PLACED_KIND), body | people
    if proposal.kind == "override":
        name = "override_lifted" if content["max_debt_amt"] is None else "override_in_force"
        return name, {
            "client_id": content["client_id"],
            "max_debt_amt": content["max_debt_amt"],
            "supersedes": content["decision_id"],
            # a limit of a review case says which way it goes and until when it holds
            **{k: content[k] for k in ("case_id", "expires_on") if k in content},
            **(
                {"loosens": True}
                if proposal.direction == "loosens" and content["max_debt_amt"] is not None
                else {}
            ),
            **common,
        }
    if proposal.kind == "erasure":
        return "erasure_approved", {
            "client_id": content["client_id"],
            "approvals": list(proposal.approvals),
            **common,
        }
    if proposal.kind == "publication":
        return "publication_approved", {
            "run_id": content["run_id"],
            "run_sha256": content.get("run_sha256"),
            "verdict_sha256": content.get("verdict_sha256"),
            "approvals": list(proposal.approvals),
            **common,
        }
    return "policy_approved", {
        "pack": content["pack"],
        "sha256": content["sha256"],
        "effective_at": _effective(content, now),
        **common,
    }


def _effective(content: Mapping[str, Any], now: dt.datetime) -> str:
    stated = content.get("effective_at")
    wanted = now if stated is None else max(now, dt.datetime.fromisoformat(str(stated)))
    return wanted.isoformat()
