"""From integer columns to canonical decision bodies."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.case import case_to_json
from data_contracts.decision import DECISION_ENGINE_VERSION, OUTCOMES, Decision, decision_id
from data_contracts.units import NULL, RATIO_ONE, IntArray, format_decimal
from models.decide.columns import DecisionColumns
from models.decide.gates import DECLINE, gates, reason
from models.margin.cap import CAP_TERMS
from models.margin.limits import NO_LIMIT, house_margin_ratio
from models.policy import Policy
from models.price.rate import RATE_COMPONENTS
from models.tiers import DEFAULT_TIER

PRINCIPAL_REASONS: Final = 4
LINE_NAMES: Final = ("observe", "warn", "call", "force")
_CONSTANT: Final = "house_margin_ratio_constant_ratio"
_STATUTORY_PARAMETER: Final = {"reg_t": "initial_margin_ratio", "cn": "financing_margin_ratio"}


def _amt(value: int) -> str:
    return format_decimal(value, 2)


def _percent(ratio: int) -> str:
    """A 1e-6 ratio as a percentage with one place, rounded down, for a reason's text."""
    return format_decimal(ratio // 1000, 1)


@lru_cache(maxsize=16)
def _families(families: tuple[str, ...]) -> tuple[tuple[str, ...], IntArray]:
    names = tuple(sorted(set(families)))
    member = np.zeros((len(families), len(names)), dtype=np.int64)
    for k, family in enumerate(families):
        member[k, names.index(family)] = 1
    return names, member


def _factor_reasons(d: DecisionColumns) -> list[list[dict[str, Any]]]:
    """At most four adverse families a client, largest first, each naming its largest feature."""
    names, member = _families(d.bundle.families)
    by_family = d.attributions @ member
    order = np.argsort(-by_family, axis=1, kind="stable")[:, :PRINCIPAL_REASONS]
    leading = {
        f: np.flatnonzero(member[:, f])[
            np.argmax(d.attributions[:, np.flatnonzero(member[:, f])], axis=1)
        ]
        for f in range(len(names))
    }
    out: list[list[dict[str, Any]]] = []
    values = d.features.values
    for i in range(len(d)):
        found = []
        for f in order[i]:
            if by_family[i, f] <= 0:
                break
            feature = int(leading[int(f)][i])
            value = int(values[i, feature])
            found.append(
                reason(
                    f"factor_{names[f]}",
                    feature=d.bundle.names[feature],
                    value=None if value == NULL else value,
                    attribution=int(by_family[i, f]),
                )
            )
        out.append(found)
    return out


def _house_parameter(policy: Policy) -> str:
    """The parameter that sets the house margin ratio: the constant, or the floor if that is it."""
    floor = "house_margin_ratio_floor_ratio"
    return floor if house_margin_ratio(policy) == policy[floor] else _CONSTANT


def _bound_reason(d: DecisionColumns, i: int) -> dict[str, Any]:
    term = CAP_TERMS[int(d.cap.binding[i])]
    policy: Policy = d.policy
    match term:
        case "statutory":
            parameter = _STATUTORY_PARAMETER[policy.kind]
            if policy.kind == "reg_t" and d.books.equity[i] < policy["minimum_equity_amt"]:
                parameter = "minimum_equity_amt"
            return reason("bound_statutory", reference=policy.reference(parameter))
        case "line":
            return reason("bound_line", gap=_percent(int(d.books.portfolio_gap[i])))
        case "concentration":
            return reason("bound_concentration", weight=_percent(int(d.books.largest_weight[i])))
        case "structural" if d.books.house[i] <= d.books.structural[i]:
            return reason(
                "bound_house_ratio",
                ratio=_percent(house_margin_ratio(policy)),
                reference=policy.reference(_house_parameter(policy)),
            )
        case "structural":
            return reason("bound_structural", margin=_percent(int(d.books.portfolio_margin[i])))
        case "behavioural":
            tier = int(d.tiers.tier[i])
            share = 0 if tier == DEFAULT_TIER else policy.vector("tier_cap_ratio")[tier - 1]
            return reason(
                "bound_behavioural",
                tier="D" if tier == DEFAULT_TIER else str(tier),
                share=_percent(share),
            )
        case _:
            return reason(f"bound_{term}")


def _distances(maintenance: int, policy: Policy) -> dict[str, int | None]:
    """Fall of asset value, 1e-6, until each line is reached; null without debt."""
    if maintenance == NULL:
        return dict.fromkeys(LINE_NAMES)
    return {
        name: RATIO_ONE - -(-policy[f"{name}_line_ratio"] * RATIO_ONE // max(maintenance, 1))
        for name in LINE_NAMES
    }


def bodies(d: DecisionColumns) -> Iterator[dict[str, Any]]:
    """The canonical body of each decision, in row order."""
    policy, market, bundle = d.policy, d.market, d.bundle
    hashes = {
        "bundle": bundle.sha256,
        "policy": policy.sha256,
        "feature_set": bundle.feature_set_sha256,
        "market": market.sha256,
        "reference": bundle.reference_sha256,
    }
    lines = {name: policy[f"{name}_line_ratio"] for name in LINE_NAMES}
    as_of, effective_on = market.session.isoformat(), policy.effective_on.isoformat()
    factors = _factor_reasons(d)
    base = bundle.head.base_attribution
    limits, removed = d.cap.limits.tolist(), d.cap.removed.tolist()
    components, attributions = d.rate.components.tolist(), d.attributions.tolist()
    for i, case in enumerate(d.cases):
        cap, debt = int(d.cap.cap[i]), int(d.debt_amt[i])
        requested = case.request.requested_debt_amt
        reasons = gates(case, policy)[1]
        if requested is not None and requested > cap:
            reasons.append(
                reason("request_above_limit", requested=_amt(requested), limit=_amt(cap))
            )
        if debt > cap:
            reasons.append(reason("debt_above_limit", debt=_amt(debt), limit=_amt(cap)))
        if d.unpriced[i]:
            reasons.append(reason("unpriced_holding"))
        if d.books.invested[i] == 0:
            reasons.append(reason("provisional"))
        # a client who is declined is told the gate, not the limit of zero that follows from it
        if not (d.outcome[i] == DECLINE and CAP_TERMS[int(d.cap.binding[i])] == "firm"):
            reasons.append(_bound_reason(d, i))
        reasons += factors[i]
        tier = int(d.tiers.tier[i])
        maintenance, leverage = int(d.books.maintenance[i]), int(d.cap.leverage_milli[i])
        yield {
            "decision_id": decision_id(case.request.key, case.client_id, as_of),
            "engine_version": DECISION_ENGINE_VERSION,
            "request": {
                "kind": case.request.kind,
                "key": case.request.key,
                "requested_debt_amt": None if requested is None else _amt(requested),
            },
            "supersedes": case.override.supersedes if case.override else None,
            "client_id": case.client_id,
            "account_id": case.account_id,
            "currency": case.currency,
            "as_of": as_of,
            "effective_on": effective_on,
            "outcome": OUTCOMES[int(d.outcome[i])],
            "provisional": bool(d.books.invested[i] == 0),
            "tier": "D" if tier == DEFAULT_TIER else str(tier),
            "candidate_tier": str(int(d.tiers.candidate[i])),
            "candidate_sessions": int(d.tiers.candidate_sessions[i]),
            "score": int(d.score[i]),
            "pd": {"value": int(d.pd[i]), "low": int(d.pd_low[i]), "high": int(d.pd_high[i])},
            "lgd_ratio": int(d.lgd[i]),
            "ead_amt": _amt(int(d.ead_amt[i])),
            "expected_loss_amt": _amt(int(d.expected_loss_amt[i])),
            "debt_amt": _amt(debt),
            "equity_amt": _amt(int(d.books.equity[i])),
            "max_debt_amt": _amt(cap),
            "max_leverage_milli": None if leverage == NULL else leverage,
            "soft_cap_amt": _amt(int(d.cap.soft[i])),
            "cap_waterfall": [
                {
                    "term": term,
                    "limit_amt": None if limits[i][k] >= NO_LIMIT else _amt(limits[i][k]),
                    "removed_amt": _amt(removed[i][k]),
                }
                for k, term in enumerate(CAP_TERMS)
            ],
            "binding": CAP_TERMS[int(d.cap.binding[i])],
            "rate_bps": int(d.rate.rate_bps[i]),
            "rate_waterfall": [
                {"component": name, "bps": components[i][k]}
                for k, name in enumerate(RATE_COMPONENTS)
            ],
            "month_change_bps": int(d.rate.month_change_bps[i]),
            "quarter_changes": int(d.rate.quarter_changes[i]),
            "lines": lines,
            "maintenance_ratio": None if maintenance == NULL else maintenance,
            "distances": _distances(maintenance, policy),
            "reasons": reasons,
            "attributions": {"base": base, "values": attributions[i]},
            "counterfactuals": [],
            "hashes": {
                **hashes,
                "case": sha256_hex(canonical_bytes(case_to_json(case))),
                "features": sha256_hex(d.features.values[i].astype("<i8").tobytes()),
            },
        }


def decisions(d: DecisionColumns) -> list[Decision]:
    """Every row as a ``Decision``."""
    return [Decision(body) for body in bodies(d)]
