"""What a demo or back-test came to: tiers with predicted and realised default, caps, rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.lake import decimal_to_int
from data_contracts.units import MINOR_PER_UNIT, NULL, PROB_ONE, IntArray
from features.asof import BookHistory
from models.margin.cap import CAP_TERMS
from models.price.rate import RATE_COMPONENTS
from training.by_month import by_month
from training.evaluate import auc, somers_d
from training.labels import HORIZON_SESSIONS, Outcomes, cohort_of, default_within
from training.train import Trained

TIER_ORDER = ("1", "2", "3", "4", "5", "6", "7", "D")


@dataclass(frozen=True)
class Judged:
    """Pooled decisions of all nights with what became of each client."""

    decisions: pa.Table
    label: IntArray
    label_60: IntArray
    cluster: IntArray
    may_judge: np.ndarray


def pool(segments: Sequence[Path]) -> pa.Table:
    """The decisions of many segments as one table, in the order given."""
    return pa.concat_tables(
        [pq.read_table(p, partitioning=None) for p in segments]
    ).combine_chunks()


def judge(
    decisions: pa.Table, histories: Sequence[BookHistory], outcomes: Outcomes, trained: Trained
) -> Judged:
    """Attach labels to decisions by client and session."""
    known: dict[tuple[Any, str], tuple[int, int, int]] = {}
    for day in sorted(set(decisions["as_of"].to_pylist())):
        for history in histories:
            book = history.as_of(day)
            cohort = cohort_of(outcomes, book)
            long = default_within(outcomes, cohort, trained.split.horizon).label
            short = default_within(outcomes, cohort, HORIZON_SESSIONS).label
            cluster = outcomes.cluster[cohort.client]
            for k, client in enumerate(book.client_ids):
                known[day, client] = (int(long[k]), int(short[k]), int(cluster[k]))
    rows = np.array(
        [
            known[day, client]
            for day, client in zip(
                decisions["as_of"].to_pylist(), decisions["client_id"].to_pylist(), strict=True
            )
        ],
        dtype=np.int64,
    ).reshape(-1, 3)
    return Judged(decisions, rows[:, 0], rows[:, 1], rows[:, 2], trained.may_judge(rows[:, 2]))


def _mean(values: Any) -> float | None:
    return None if len(values) == 0 else float(np.mean(values))


def _by_month(
    judged: Judged, chosen: np.ndarray, score: IntArray, trained: Trained, seed: int
) -> list[dict[str, Any]]:
    """Predicted and realised default within 60 sessions by month; none without a common factor."""
    if trained.month_spread is None or not chosen.any():
        return []
    prob = trained.bundle.calibration.default_60_of_score(score[chosen]) / PROB_ONE
    days = np.array(judged.decisions["as_of"].to_pylist(), dtype="datetime64[D]")[chosen]
    months = days.astype("datetime64[M]")
    return by_month(prob, judged.label_60[chosen], months, trained.month_spread, seed)


def summarise(judged: Judged, trained: Trained, seed: int) -> dict[str, Any]:
    """The figures of a run. Undefined figures are None, never 0.

    ``predicted_pd`` is over one year; ``predicted_over_horizon`` is over the sessions that
    ``realised_rate`` counts defaults in. ``mean_cap`` is the mean cap as leverage, assets over equity at the most debt, which compares
    clients of any size; ``mean_cap_amt`` is the mean in money.
    """
    d = judged.decisions
    tier = np.array(d["tier"].to_pylist(), dtype=object)
    client = np.array(d["client_id"].to_pylist(), dtype=object)
    pd = np.asarray(d["pd_e9"]) / PROB_ONE
    cap = decimal_to_int(d["max_debt_amt"]) / MINOR_PER_UNIT
    leverage = np.asarray(d["max_leverage_milli"].fill_null(NULL)).astype(np.int64)
    rate = np.asarray(d["rate_bps"])
    components = np.array(d["rate_components_bps"].to_pylist()).reshape(-1, len(RATE_COMPONENTS))
    risk = (
        components[:, RATE_COMPONENTS.index("expected_loss")]
        + components[:, RATE_COMPONENTS.index("capital")]
    )
    mine = judged.may_judge
    labelled = mine & (judged.label >= 0) & (tier != "D")
    score = np.asarray(d["score"])
    over_horizon = pd
    if trained.split.horizon == HORIZON_SESSIONS:
        over_horizon = trained.bundle.calibration.default_60_of_score(score) / PROB_ONE
    tiers = []
    for name in TIER_ORDER:
        here = mine & (tier == name)
        if not here.any():
            continue
        judged_here = labelled & here
        with_equity = here & (leverage != NULL)
        tiers.append(
            {
                "tier": name,
                "clients": len(set(client[here])),
                "decisions": int(here.sum()),
                "labelled": int(judged_here.sum()),
                "defaults": int(judged.label[judged_here].sum()),
                "predicted_pd": _mean(pd[judged_here]) if judged_here.any() else _mean(pd[here]),
                "predicted_over_horizon": _mean(over_horizon[judged_here]),
                "realised_rate": _mean(judged.label[judged_here]),
                "mean_cap": _mean(leverage[with_equity] / 1000),
                "mean_cap_amt": _mean(cap[here]),
                "mean_rate_bps": _mean(rate[here]),
                "mean_expected_loss_capital_bps": _mean(risk[here]),
            }
        )
    grade = np.array([TIER_ORDER.index(t) + 1 for t in tier], dtype=np.int64)
    d_stat = somers_d(grade[labelled], judged.label[labelled], judged.cluster[labelled], seed)
    sixty = mine & (judged.label_60 >= 0)
    binding = np.array(d["binding"].to_pylist(), dtype=object)
    outcome = np.array(d["outcome"].to_pylist(), dtype=object)
    discrimination = auc(score[sixty], judged.label_60[sixty])
    in_time = trained.split.kind == "out-of-time"
    return {
        "auc_default_60_out_of_time": discrimination if in_time else None,
        "auc_default_60_by_client": None if in_time else discrimination,
        "somers_d": d_stat.value,
        "somers_d_low": d_stat.low,
        "somers_d_high": d_stat.high,
        "horizon_sessions": trained.split.horizon,
        "split": trained.split.kind,
        "tiers": tiers,
        "by_month": _by_month(judged, sixty, score, trained, seed),
        "binding_constraints": {t: int((binding == t).sum()) for t in CAP_TERMS},
        "outcomes": {o: int((outcome == o).sum()) for o in ("approve", "refer", "decline")},
        "referred": int((outcome == "refer").sum()),
        "training": trained.report,
    }
