"""Gates before any score: who is refused, who is referred to a person, and why."""

from __future__ import annotations

from typing import Any

from data_contracts.case import Case
from data_contracts.decision import OUTCOMES
from models.policy import Policy

APPROVE, REFER, DECLINE = range(len(OUTCOMES))


def reason(code: str, **args: Any) -> dict[str, Any]:
    """A reason as a decision carries it; audience and text are in the catalogue."""
    return {"code": code, "args": args}


def gates(case: Case, policy: Policy) -> tuple[int, list[dict[str, Any]]]:
    """The most severe outcome of the gates, and their reasons.

    Sanctions, AML and PEP give the client one neutral text; the true reason is for compliance.
    """
    s = case.status
    outcome, reasons = APPROVE, []
    hidden = []
    if s.sanctioned:
        outcome = DECLINE
        hidden.append(reason("gate_sanctioned"))
    if s.aml_level == "high":
        outcome = max(outcome, REFER)
        hidden.append(reason("gate_aml"))
    if s.pep:
        outcome = max(outcome, REFER)
        hidden.append(reason("gate_pep"))
    if hidden:
        reasons += [reason("gate_neutral"), *hidden]
    if s.margin_state in ("overdue", "defaulted"):
        outcome = DECLINE
        reasons.append(reason("gate_defaulted"))
    if (
        s.suitability_level is not None
        and s.suitability_level < policy["minimum_suitability_level"]
    ):
        outcome = DECLINE
        reasons.append(
            reason(
                "gate_unsuitable",
                level=s.suitability_level,
                least=policy["minimum_suitability_level"],
            )
        )
    if s.kyc_expires_on is None or s.suitability_level is None:
        outcome = max(outcome, REFER)
        reasons.append(reason("gate_kyc_missing"))
    elif s.kyc_expires_on < policy.effective_on:
        outcome = max(outcome, REFER)
        reasons.append(reason("gate_kyc_expired", expired_on=s.kyc_expires_on.isoformat()))
    if s.margin_state == "called":
        outcome = max(outcome, REFER)
        reasons.append(reason("gate_call_open"))
    if s.automated_decision_refused:
        outcome = max(outcome, REFER)
        reasons.append(reason("gate_human_requested"))
    return outcome, reasons
