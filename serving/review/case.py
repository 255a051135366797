"""What the queue holds: cases, the people who work on them, and what they did."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from data_contracts.decision import decision_id
from data_contracts.errors import InputError
from data_contracts.units import format_decimal, parse_decimal
from models.reasons.catalogue import AUDIENCES
from models.review import Trigger

CASE_KINDS: Final = ("decision", "appeal")
STATES: Final = ("open", "proposed", "closed")
"""``open`` waits or is held under a lease, ``proposed`` waits for the approval of an override."""
RESOLUTIONS: Final = ("confirmed", "overridden", "superseded")
TOP_LEVEL: Final = 2
"""Levels of escalation: 0 a reviewer's, 1 a senior's, 2 the highest."""


class ReviewStateError(InputError):
    """The case is not in a state that allows this."""


class ReviewRefusedError(InputError):
    """This person may not do this: level, authority, audience, a related client, four eyes."""


class QueueEmptyError(InputError):
    """There is no case that this person may take."""


def instant(moment: dt.datetime) -> str:
    """A moment as stored: UTC with six decimals, so that text sorts as time.

    >>> instant(dt.datetime(2024, 3, 1, 10, tzinfo=dt.UTC))
    '2024-03-01T10:00:00.000000Z'
    """
    if moment.tzinfo is None:
        raise InputError(f"{moment.isoformat()} has no zone; give a moment in UTC")
    utc = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds") + "Z"


def moment(text: str) -> dt.datetime:
    """The inverse of ``instant``."""
    return dt.datetime.fromisoformat(text)


def case_id_of(kind: str, decision: str, client_id: str) -> str:
    """A case's number follows from what it is about: opening it again finds it there."""
    return decision_id(f"review/{kind}", client_id, decision)


@dataclass(frozen=True)
class Reviewer:
    """Somebody who works on cases, as the server knows them; nothing of it comes from a request.

    Attributes
    ----------
    subject : the name in the token
    reader : ``staff`` or ``compliance``: nothing above it is shown or handed out
    level : of escalation, 0 to ``TOP_LEVEL``
    authority : money decided on alone, minor units by currency; a missing currency is none
    related_clients, related_groups : whose cases this person never sees as work
    """

    subject: str
    reader: str = "staff"
    level: int = 0
    authority: Mapping[str, int] = field(default_factory=dict)
    related_clients: frozenset[str] = frozenset()
    related_groups: frozenset[str] = frozenset()

    @property
    def audience(self) -> int:
        """Position of the reader in ``AUDIENCES``."""
        return AUDIENCES.index(self.reader)

    def conflicted(self, case: ReviewCase) -> bool:
        """Whether the case is of a client, or a group, that this person is related to."""
        return (
            case.client_id in self.related_clients or case.related_group_id in self.related_groups
        )

    def to_json(self) -> dict[str, Any]:
        """What an administrator sets; ``reader`` follows from the token and is not kept."""
        return {
            "reviewer": self.subject,
            "level": self.level,
            "authority_amt": {c: format_decimal(v, 2) for c, v in sorted(self.authority.items())},
            "related_clients": sorted(self.related_clients),
            "related_groups": sorted(self.related_groups),
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Reviewer:
        """The inverse of ``to_json``, with the reader ``staff``."""
        return Reviewer(
            document["reviewer"],
            level=document["level"],
            authority={
                c: parse_decimal(v, 2, "authority_amt")
                for c, v in document["authority_amt"].items()
            },
            related_clients=frozenset(document["related_clients"]),
            related_groups=frozenset(document["related_groups"]),
        )


@dataclass(frozen=True)
class ReviewCase:
    """A case in the queue. Times are text as ``instant`` writes them.

    Attributes
    ----------
    kind : ``decision`` or ``appeal``
    source : ``night`` (a segment of ``run_id``) or ``service`` (an entry of its own)
    triggers : why it is here, the most urgent first; ``priority`` is that of the first
    exposure_amt : the larger of debt and limit, minor units; what authority is held against
    level : who may take it; ``escalated`` counts how often it went up
    audience : the lowest reader who may know of the case at all
    blind : its reader records their own view before the score is shown
    holder, lease_until : who works on it, and until when nobody else gets it
    proposal_id : of the override that waits for approval
    decided_by : everybody who confirmed, proposed or approved; an appeal goes to none of them
    resolution : how it was closed; ``outcome`` the outcome that then stands
    revision : counts changes
    """

    case_id: str
    kind: str
    decision_id: str
    client_id: str
    related_group_id: str | None
    source: str
    run_id: str
    bucket: int | None
    row: int | None
    currency: str
    outcome: str
    tier: str
    exposure_amt: int
    max_debt_amt: int
    triggers: tuple[Trigger, ...]
    priority: int
    audience: str
    blind: bool
    opened_at: str
    due_at: str
    as_of: str
    state: str = "open"
    level: int = 0
    escalated: int = 0
    holder: str | None = None
    taken_at: str | None = None
    lease_until: str | None = None
    snoozed_until: str | None = None
    proposal_id: str | None = None
    decided_by: tuple[str, ...] = ()
    appeal_of: str | None = None
    closed_at: str | None = None
    closed_by: str | None = None
    resolution: str | None = None
    final_outcome: str | None = None
    revision: int = 1

    @property
    def main_rule(self) -> str:
        """The most urgent reason for the case."""
        return self.triggers[0].rule

    def held_by(self, now: dt.datetime) -> str | None:
        """Who holds the case at a moment; a lease that has run out holds nothing."""
        if self.holder is None or self.lease_until is None or self.lease_until <= instant(now):
            return None
        return self.holder

    def late(self, now: dt.datetime) -> bool:
        """Whether it is past due, or was when it was closed."""
        return (self.closed_at or instant(now)) > self.due_at

    def changed(self, **changes: Any) -> ReviewCase:
        """The case after a change, one revision on."""
        return replace(self, revision=self.revision + 1, **changes)

    def to_json(self) -> dict[str, Any]:
        """The case as the ledger and the queue keep it: money as decimal strings."""
        return {
            **vars(self),
            "exposure_amt": format_decimal(self.exposure_amt, 2),
            "max_debt_amt": format_decimal(self.max_debt_amt, 2),
            "triggers": [t.to_json() for t in self.triggers],
            "decided_by": list(self.decided_by),
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> ReviewCase:
        """The inverse of ``to_json``."""
        return ReviewCase(
            **{
                **document,
                "exposure_amt": parse_decimal(document["exposure_amt"], 2, "exposure_amt"),
                "max_debt_amt": parse_decimal(document["max_debt_amt"], 2, "max_debt_amt"),
                "triggers": tuple(Trigger(**t) for t in document["triggers"]),
                "decided_by": tuple(document["decided_by"]),
            }
        )


@dataclass(frozen=True)
class ReviewAct:
    """What somebody did to a case, as its entry says; ``position`` is the entry's."""

    position: int
    case_id: str
    decision_id: str
    act: str
    actor: str
    acted_at: str
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class CasePage:
    """Some cases, and where the next page starts; None on the last."""

    cases: tuple[ReviewCase, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class CaseFilter:
    """Which cases a list shows; None leaves a column open.

    ``held_by`` and ``late`` are as of the moment the list is asked for. ``snoozed`` false leaves
    out what sleeps.
    """

    state: str | None = "open"
    rule: str | None = None
    kind: str | None = None
    level: int | None = None
    client_id: str | None = None
    held_by: str | None = None
    late: bool | None = None
    snoozed: bool | None = None
