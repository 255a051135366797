"""Gates before any score: who is refused, who is referred to a person, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from data_contracts.decision import OUTCOMES
from data_contracts.units import NULL, BoolArray, IntArray
from models.decide.cases import MARGIN_STATES, REQUEST_KINDS, CaseColumns
from models.margin.book import EPOCH_ORDINAL
from models.policy import Policy

APPROVE, REFER, DECLINE = range(len(OUTCOMES))
GATES: Final = {
    "gate_neutral": APPROVE,
    "gate_sanctioned": DECLINE,
    "gate_aml": REFER,
    "gate_pep": REFER,
    "gate_defaulted": DECLINE,
    "gate_unsuitable": DECLINE,
    "gate_kyc_missing": REFER,
    "gate_kyc_expired": REFER,
    "gate_call_open": REFER,
    "gate_human_requested": REFER,
    "gate_inexperienced": DECLINE,
    "gate_assets_too_low": DECLINE,
    "gate_suitability_unknown": REFER,
}
"""Outcome of each gate, in the order in which reasons are given; outcomes combine with max."""


@dataclass(frozen=True)
class GateColumns:
    """Outcome of the gates, int64, shape (N,), and which of them closed, bool by code."""

    outcome: IntArray
    closed: dict[str, BoolArray]


def reason(code: str, **args: Any) -> dict[str, Any]:
    """A reason as a decision carries it; audience and text are in the catalogue."""
    return {"code": code, "args": args}


def gates(c: CaseColumns, policy: Policy) -> GateColumns:
    """The gates that close for each client, and the most severe outcome of them.

    Sanctions, AML and PEP give the client one neutral text; the true reason is for compliance.
    Experience and assets are asked of who applies, on the days on which a pack has such a rule.
    """
    today = policy.effective_on.toordinal() - EPOCH_ORDINAL
    late = [MARGIN_STATES.index(s) for s in ("overdue", "defaulted")]
    unknown = (c.kyc_expires == NULL) | (c.suitability == NULL)
    applies = c.kind == REQUEST_KINDS.index("application")

    def below(values: IntArray, name: str) -> tuple[BoolArray, BoolArray]:
        """Rows below a suitability rule, and rows of which it is not known."""
        if name not in policy:
            none = np.zeros(len(c), dtype=bool)
            return none, none
        known = values != NULL
        return applies & known & (values < policy[name]), applies & ~known

    new, new_unknown = below(c.experience, "suitability_experience_months")
    poor, poor_unknown = below(c.mean_assets, "suitability_minimum_assets_amt")
    closed = {
        "gate_neutral": c.sanctioned | c.aml_high | c.pep,
        "gate_sanctioned": c.sanctioned,
        "gate_aml": c.aml_high,
        "gate_pep": c.pep,
        "gate_defaulted": np.isin(c.margin_state, late),
        "gate_unsuitable": (c.suitability != NULL)
        & (c.suitability < policy["minimum_suitability_level"]),
        "gate_kyc_missing": unknown,
        "gate_kyc_expired": ~unknown & (c.kyc_expires < today),
        "gate_call_open": c.margin_state == MARGIN_STATES.index("called"),
        "gate_human_requested": c.refused,
        "gate_inexperienced": new,
        "gate_assets_too_low": poor,
        "gate_suitability_unknown": new_unknown | poor_unknown,
    }
    outcome = np.full(len(c), APPROVE, dtype=np.int64)
    for code, severity in GATES.items():
        outcome = np.where(closed[code], np.maximum(outcome, severity), outcome)
    return GateColumns(outcome, closed)
