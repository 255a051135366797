"""The morning report as one document: the night against the published one, each figure sourced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from data_contracts.decision import OUTCOMES
from data_contracts.units import LOG_ODDS_ONE, IntArray, format_decimal
from models.gate import Verdict
from models.margin.cap import CAP_TERMS
from models.scorer.change import change_attributions
from serving.nightly.gate.night import Night
from serving.nightly.gate.study import Study, places
from serving.nightly.kpis.figures import kpis
from serving.nightly.publishing.history import Run
from serving.nightly.segments import TIER_NAMES, read_decisions, read_inputs

MOVERS: Final = 10
"""Clients listed on each side."""
FACTORS: Final = 3
"""Features named behind a client's change of score."""
Names = Mapping[str, tuple[str, str]]


def money(minor: int) -> str:
    """Minor units as a decimal string."""
    return format_decimal(int(minor), 2)


def _rows(root: Path, night: Night, rows: Sequence[int]) -> IntArray:
    """Quantised features of some rows of a night, in their order."""
    out = np.zeros((len(rows), len(night.bundle.names)), dtype=np.int64)
    start = 0
    for name in night.finished["segments"]:
        count = read_decisions(root / name, ["client_id"]).num_rows
        inside = [k for k, r in enumerate(rows) if start <= r < start + count]
        if inside:
            _, values = read_inputs((root / name).parent, [rows[k] - start for k in inside])
            out[inside] = values
        start += count
    return out


def _factors(phi: IntArray, names: Sequence[str], feature_names: Names) -> list[dict[str, Any]]:
    order = sorted(range(len(names)), key=lambda k: (-abs(int(phi[k])), names[k]))[:FACTORS]
    return [
        {
            "feature": names[k],
            "en": feature_names[names[k]][0],
            "zh": feature_names[names[k]][1],
            "log_odds": f"{int(phi[k]) / LOG_ODDS_ONE:+.3f}",
        }
        for k in order
        if phi[k]
    ]


def movers(root: Path, before: Night, now: Night, feature_names: Names) -> dict[str, Any]:
    """The clients whose limits moved most, up and down, with what moved them."""
    at0, at1 = places(before, now)
    cap0, cap1 = before.money["max_debt_amt"][at0], now.money["max_debt_amt"][at1]
    change = cap1 - cap0
    ids = np.asarray(now.client_ids.take(pa.array(at1)).to_pylist(), dtype=object)
    order = np.lexsort((ids, change))
    chosen = {
        "down": [k for k in order[:MOVERS].tolist() if change[k] < 0],
        "up": [k for k in order[::-1][:MOVERS].tolist() if change[k] > 0],
    }
    same_scorer = before.started["bundle"] == now.started["bundle"]
    every = [*chosen["down"], *chosen["up"]]
    phi = np.zeros((len(every), len(now.bundle.names)), dtype=np.int64)
    if same_scorer and every:
        old = _rows(root, before, at0[every].tolist())
        new = _rows(root, now, at1[every].tolist())
        _, phi = change_attributions(now.bundle.head, old, new)
    found: dict[str, Any] = {}
    for side, ks in chosen.items():
        found[side] = []
        for k in ks:
            i, j = at0[k], at1[k]
            found[side].append(
                {
                    "client_id": str(ids[k]),
                    "limit_before_amt": money(cap0[k]),
                    "limit_amt": money(cap1[k]),
                    "change_amt": money(change[k]),
                    "before_steps_change_amt": money(now.target[j] - before.target[i]),
                    "equity_change_amt": money(
                        now.money["equity_amt"][j] - before.money["equity_amt"][i]
                    ),
                    "bound_before": CAP_TERMS[before.binding[i]],
                    "bound": CAP_TERMS[now.binding[j]],
                    "tier_before": TIER_NAMES[before.tier[i] - 1],
                    "tier": TIER_NAMES[now.tier[j] - 1],
                    "rate_change_bps": int(now.rate[j] - before.rate[i]),
                    "score_change_log_odds": f"{(now.score[j] - before.score[i]) / LOG_ODDS_ONE:+.3f}",
                    "score_factors": _factors(phi[every.index(k)], now.bundle.names, feature_names),
                }
            )
    return found


def migration(before: Night, now: Night) -> list[list[int]]:
    """Clients by tier on the published night (rows) and tonight (columns), 1 to 7, then D."""
    at0, at1 = places(before, now)
    counts = np.zeros((len(TIER_NAMES), len(TIER_NAMES)), dtype=np.int64)
    np.add.at(counts, (before.tier[at0] - 1, now.tier[at1] - 1), 1)
    found: list[list[int]] = counts.tolist()
    return found


def bound(night: Night) -> dict[str, int]:
    """Clients by the term that set the limit."""
    counts = np.bincount(night.binding, minlength=len(CAP_TERMS))
    return {name: int(counts[k]) for k, name in enumerate(CAP_TERMS)}


def cases_opened(root: Path, before: Night | None, now: Night) -> dict[str, Any]:
    """Clients sent to a person or declined tonight, and those new to it, by first reason."""
    stopped = now.outcome > OUTCOMES.index("approve")
    fresh = stopped.copy()
    if before is not None:
        at0, at1 = places(before, now)
        was = np.zeros(len(now), dtype=bool)
        was[at1] = before.outcome[at0] > OUTCOMES.index("approve")
        fresh &= ~was
    codes: Counter[str] = Counter()
    start = 0
    for name in now.finished["segments"]:
        table = read_decisions(root / name, ["reasons"])
        inside = np.flatnonzero(fresh[start : start + table.num_rows])
        for reasons in table["reasons"].take(pa.array(inside)).to_pylist():
            codes[
                next((c for c in reasons if c.startswith("gate_")), (reasons or ["none"])[0])
            ] += 1
        start += table.num_rows
    return {
        "referred": int((now.outcome == OUTCOMES.index("refer")).sum()),
        "declined": int((now.outcome == OUTCOMES.index("decline")).sum()),
        "opened": int(fresh.sum()),
        "by_reason": dict(sorted(codes.items(), key=lambda c: (-c[1], c[0]))),
    }


def build_report(
    root: Path, run: Run, found: Study, verdict: Verdict, overrides: int
) -> dict[str, Any]:
    """Everything the page shows; null where a figure could not be had, with the reason."""
    now, before = found.now, found.before
    feature_names = {f["name"]: (f["en"], f["zh"]) for f in now.bundle.features["features"]}
    common = 0 if before is None else len(places(before, now)[0])
    gone = 0 if before is None else len(before) - common
    return {
        "run_id": run.run_id,
        "as_of": now.as_of.isoformat(),
        "effective_on": now.policy.effective_on.isoformat(),
        "currency": now.policy.currency,
        "against": None if before is None else before.run_id,
        "against_as_of": None if before is None else before.as_of.isoformat(),
        "clients": len(now),
        "clients_new": len(now) - common if before is not None else None,
        "clients_left": gone if before is not None else None,
        "gate": verdict.to_json(),
        "limits_amt": money(sum(now.money["max_debt_amt"].tolist())),
        "limits_before_amt": None
        if before is None
        else money(sum(before.money["max_debt_amt"].tolist())),
        "tiers": list(TIER_NAMES),
        "migration": None if before is None else migration(before, now),
        "movers": None if before is None else movers(root, before, now, feature_names),
        "bound": bound(now),
        "bound_before": None if before is None else bound(before),
        "changed": None
        if before is None
        else {
            name: before.started[key] != now.started[key]
            for name, key in (("bundle", "bundle"), ("policy", "policy_sha256"))
        },
        "kpis": kpis(root, before, now, overrides),
        "cases": cases_opened(root, before, now),
        "sources": {
            "run_sha256": run.sha256,
            "against_sha256": None if before is None else before.finished["decisions_sha256"],
            "bundle_sha256": str(now.started["bundle"]),
            "policy_sha256": str(now.started["policy_sha256"]),
            "market_sha256": str(now.started["market"]),
            "bounds_sha256": verdict.bounds_sha256,
        },
    }
