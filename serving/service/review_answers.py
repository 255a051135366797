"""From cases and acts to what their reader is shown: nothing above the audience, nothing early."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from data_contracts.units import format_decimal
from models.reasons.catalogue import AUDIENCES
from models.review import RULES, trigger_text
from serving.review import ReviewAct, ReviewCase

_PLAIN: Final = (
    "case_id", "kind", "state", "client_id", "source", "run_id", "as_of", "currency", "priority",
    "level", "escalated", "opened_at", "due_at", "blind", "taken_at", "snoozed_until",
    "proposal_id", "appeal_of", "closed_at", "closed_by", "resolution", "final_outcome", "revision",
)  # fmt: skip
_TOLD_EARLY: Final = frozenset({"taken", "renewed", "released", "snoozed", "escalated", "opened"})


def case_answer(
    case: ReviewCase,
    now: dt.datetime,
    *,
    reader: str,
    language: str,
    names: Mapping[str, str],
    withheld: bool,
) -> dict[str, Any]:
    """A case as its reader sees it.

    ``withheld``: the case is read blind and this reader's own view is not on record yet. Score,
    tier, outcome, limits and the reasons for the case then are null or empty.
    """
    triggers = []
    for t in () if withheld else case.triggers:
        said = trigger_text(t, language, reader, names)
        if said is not None:
            triggers.append(
                {
                    "rule": t.rule,
                    "name": RULES[t.rule].name[language],
                    "text": said,
                    "value": None if t.value is None else str(t.value),
                    "bound": None if t.bound is None else str(t.bound),
                    "unit": t.unit,
                    "priority": t.priority,
                }
            )
    holder = case.held_by(now)
    return {
        **{name: getattr(case, name) for name in _PLAIN},
        "late": case.late(now),
        "holder": holder,
        "lease_until": None if holder is None else case.lease_until,
        "withheld": withheld,
        "decision_id": None if withheld else case.decision_id,
        "outcome": None if withheld else case.outcome,
        "tier": None if withheld else case.tier,
        "exposure_amt": None if withheld else format_decimal(case.exposure_amt, 2),
        "max_debt_amt": None if withheld else format_decimal(case.max_debt_amt, 2),
        "triggers": triggers,
    }


def act_answer(act: ReviewAct, withheld: bool, reader: str) -> dict[str, Any]:
    """An act of the time line; of a case read blind, what others wrote comes later."""
    detail = {k: v for k, v in act.detail.items() if v is not None}
    if withheld or AUDIENCES.index(reader) < AUDIENCES.index("staff"):
        detail = {}
    return {
        "act": act.act if not withheld or act.act in _TOLD_EARLY else "noted",
        "actor": act.actor,
        "acted_at": act.acted_at,
        "position": act.position,
        "detail": {k: str(v) for k, v in sorted(detail.items())},
    }
