"""From integer columns to canonical decision bodies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from data_contracts.canonical import sha256_hex
from data_contracts.decision import DECISION_ENGINE_VERSION, OUTCOMES, Decision, decision_id
from data_contracts.units import NULL, format_decimal
from models.decide.columns import DecisionColumns
from models.decide.facts import (
    BOUND_CODES,
    LINE_NAMES,
    NOT_SAID,
    OVERWEIGHT,
    PRINCIPAL_REASONS,
    Facts,
    facts,
)
from models.decide.gates import GATES, reason
from models.margin.cap import CAP_TERMS
from models.margin.limits import NO_LIMIT
from models.margin.paths import UNDEFINED
from models.price.rate import RATE_COMPONENTS
from models.tiers import DEFAULT_TIER


def _amt(value: int) -> str:
    return format_decimal(value, 2)


def _percent(ratio: int) -> str:
    """A 1e-6 ratio as a percentage with one place, rounded down, for a reason's text."""
    return format_decimal(ratio // 1000, 1)


def _tier(tier: int) -> str:
    return "D" if tier == DEFAULT_TIER else str(tier)


def _or_null(value: int) -> int | None:
    return None if value == NULL else value


def _gate_reasons(d: DecisionColumns, i: int) -> list[dict[str, Any]]:
    s, policy = d.cases[i].status, d.policy
    found = []
    for code in GATES:
        if not d.gate.closed[code][i]:
            continue
        args: dict[str, Any] = {}
        if code == "gate_unsuitable":
            args = {"level": s.suitability_level, "least": policy["minimum_suitability_level"]}
        elif code == "gate_kyc_expired" and s.kyc_expires_on is not None:
            args = {"expired_on": s.kyc_expires_on.isoformat()}
        elif code == "gate_inexperienced":
            least = policy["suitability_experience_months"]
            args = {"months": s.experience_months, "least": least}
        elif code == "gate_assets_too_low" and s.mean_assets_amt is not None:
            least = policy["suitability_minimum_assets_amt"]
            args = {"assets": _amt(s.mean_assets_amt), "least": _amt(least)}
        found.append(reason(code, **args))
    return found


def _bound_reason(d: DecisionColumns, said: Facts, i: int) -> dict[str, Any]:
    code = BOUND_CODES[int(said.bound[i])]
    reference = said.references[int(said.reference[i])]
    args: dict[str, Any] = {}
    match code:
        case "bound_statutory":
            args = {"reference": reference}
        case "bound_line":
            args = {"gap": _percent(int(d.books.portfolio_gap[i]))}
        case "bound_concentration":
            args = {"weight": _percent(int(d.books.largest_weight[i]))}
        case "bound_house_ratio":
            args = {"ratio": _percent(int(said.house_ratio[i])), "reference": reference}
        case "bound_structural":
            args = {"margin": _percent(int(d.books.portfolio_margin[i]))}
        case "bound_paths":
            args = {
                "chance": _percent(int(d.books.paths.budget[i])),
                "margin": _percent(int(d.books.portfolio_margin[i])),
            }
        case "bound_behavioural":
            args = {
                "tier": _tier(int(d.tiers.tier[i])),
                "share": _percent(int(said.tier_share[i])),
            }
    return reason(code, **args)


def _factor_reasons(d: DecisionColumns, said: Facts, i: int) -> list[dict[str, Any]]:
    """At most four adverse families, largest first, each naming its largest feature."""
    found = []
    for k in range(PRINCIPAL_REASONS):
        if said.family[i, k] < 0:
            break
        feature = int(said.feature[i, k])
        value = int(d.features.values[i, feature])
        found.append(
            reason(
                f"factor_{said.families[int(said.family[i, k])]}",
                feature=d.bundle.names[feature],
                value=None if value == NULL else value,
                attribution=int(said.attribution[i, k]),
            )
        )
    return found


def _reasons(d: DecisionColumns, said: Facts, i: int) -> list[dict[str, Any]]:
    case = d.cases[i]
    reasons = _gate_reasons(d, i)
    if said.unfinanced[i]:
        reasons.append(reason("not_financed", symbol=case.request.symbol))
    cap = _amt(int(d.cap.cap[i]))
    if said.above[i] and case.request.requested_debt_amt is not None:
        requested = _amt(case.request.requested_debt_amt)
        reasons.append(reason("request_above_limit", requested=requested, limit=cap))
    if said.over[i]:
        reasons.append(reason("debt_above_limit", debt=_amt(int(d.debt_amt[i])), limit=cap))
    if d.unpriced[i]:
        reasons.append(reason("unpriced_holding"))
    if said.provisional[i]:
        reasons.append(reason("provisional"))
    if said.bound[i] != NOT_SAID:
        reasons.append(_bound_reason(d, said, i))
    if said.overweight[i]:
        points = _percent(int(d.books.concentration_margin[i]))
        weight = _percent(int(d.books.largest_share[i]))
        reasons.append(reason(OVERWEIGHT, points=points, weight=weight))
    return reasons + _factor_reasons(d, said, i)


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
    lines = d.books.lines.tolist()
    as_of, effective_on = market.session.isoformat(), policy.effective_on.isoformat()
    said = facts(d)
    base = bundle.head.base_attribution
    paths, why = d.books.paths, d.books.paths.why
    limits, removed = d.cap.limits.tolist(), d.cap.removed.tolist()
    components, attributions = d.rate.components.tolist(), d.attributions.tolist()
    for i, case in enumerate(d.cases):
        cap, debt = int(d.cap.cap[i]), int(d.debt_amt[i])
        requested = case.request.requested_debt_amt
        tier = int(d.tiers.tier[i])
        maintenance, leverage = int(d.books.maintenance[i]), int(d.cap.leverage_milli[i])
        yield {
            "decision_id": decision_id(case.request.key, case.client_id, as_of),
            "engine_version": DECISION_ENGINE_VERSION,
            "request": {
                "kind": case.request.kind,
                "key": case.request.key,
                "requested_debt_amt": None if requested is None else _amt(requested),
                "symbol": case.request.symbol,
            },
            "supersedes": case.override.supersedes if case.override else None,
            "client_id": case.client_id,
            "account_id": case.account_id,
            "currency": case.currency,
            "as_of": as_of,
            "effective_on": effective_on,
            "outcome": OUTCOMES[int(d.outcome[i])],
            "provisional": bool(d.books.invested[i] == 0),
            "tier": _tier(tier),
            "candidate_tier": str(int(d.tiers.candidate[i])),
            "candidate_sessions": int(d.tiers.candidate_sessions[i]),
            "score": int(d.score[i]),
            "structural": {
                "margin_ratio": _or_null(int(paths.margin[i])),
                "base_margin_ratio": _or_null(int(paths.base_margin[i])),
                "concentration_margin_ratio": int(d.books.concentration_margin[i]),
                "budget_ratio": _or_null(int(paths.budget[i])),
                "chance_ratio": _or_null(int(paths.chance[i])),
                "standard_error_ratio": _or_null(int(paths.error[i])),
                "stretch_ratio": d.books.stretch,
                "paths": paths.paths,
                "undefined": UNDEFINED[int(why[i])],
            },
            "capital": {
                "ratio": int(d.capital.ratio[i]),
                "sold_ratio": int(d.capital.sold_ratio[i]),
                "sold_pd": int(d.capital.sold_pd[i]),
                "tail_loss_ratio": int(d.capital.tail_loss[i]),
                "tail": d.capital.source,
                "tail_paths": d.capital.paths,
            },
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
            "lines": dict(zip(LINE_NAMES, lines[i], strict=True)),
            "maintenance_ratio": None if maintenance == NULL else maintenance,
            "distances": {
                name: None if maintenance == NULL else int(said.distance[i, k])
                for k, name in enumerate(LINE_NAMES)
            },
            "reasons": _reasons(d, said, i),
            "attributions": {"base": base, "values": attributions[i]},
            "counterfactuals": [],
            "hashes": {
                **hashes,
                "case": sha256_hex(d.columns.documents[i]),
                "features": sha256_hex(d.features.values[i].astype("<i8").tobytes()),
            },
        }


def decisions(d: DecisionColumns) -> list[Decision]:
    """Every row as a ``Decision``."""
    return [Decision(body) for body in bodies(d)]
