"""A night's decisions on a book as a competent user writes them; the rivals of `bench reprice`.

    python bench/reprice_usual LAKE SESSION MODEL --features pandas|duckdb --explain shap|contrib
        --out FILE [--background N]

Features of every client in pandas or in DuckDB (vectorised: no Python runs a client), LightGBM for
the probability, shap against a background sample or LightGBM's own pred_contrib for the reasons,
NumPy for limits and rates, one JSON document and its hash a client, Parquet out. Forty features of
those the model knows are made; the others stay empty, in the rival's favour, as it is that
previous decisions, related groups and corrected rows are not looked at. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from lake_tables import market
from with_duckdb import with_duckdb
from with_pandas import with_pandas

SCENARIO_SESSIONS = 5


def decide(out: Any, value: Any, pd_year: Any, contributions: Any, returns: Any) -> Any:
    """Limits, rates, reasons, one document and its hash a client."""
    moves = np.nan_to_num(returns.to_numpy()[-500:])
    moves = np.lib.stride_tricks.sliding_window_view(1 + moves, SCENARIO_SESSIONS, axis=0)
    moves = moves.prod(axis=-1) - 1
    worst = max(1, len(moves) // 100)
    loss = np.empty(len(out))
    for at in range(0, len(out), 4096):  # so that the scenarios of a block fit the cache
        result = value[at : at + 4096] @ moves.T
        loss[at : at + 4096] = -np.partition(result, worst - 1, axis=1)[:, :worst].mean(axis=1)
    total = value.sum(axis=1)
    equity = np.nan_to_num(out["equity"].to_numpy())
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = np.clip(np.where(total > 0, 2.0 * loss / total, 0.5), 0.05, 1.0)
    structural = np.maximum(equity, 0) * (1 - margin) / margin
    statutory = np.maximum(equity, 0)
    tier = np.searchsorted([0.001, 0.005, 0.02, 0.06, 0.15, 0.4], pd_year) + 1
    behavioural = structural * np.array([1, 0.95, 0.9, 0.8, 0.6, 0.4, 0.2])[tier - 1]
    cap = np.floor(np.minimum(np.minimum(structural, behavioural), statutory))
    rate = np.rint(300 + 100 + 45 * pd_year * 100 + 20 * tier).astype(int)
    order = np.argsort(-contributions, axis=1)[:, :4]
    documents, digests = [], []
    names = out.index.tolist()
    for k, (client, limit, bps, grade, chance, first) in enumerate(
        zip(names, cap.tolist(), rate.tolist(), tier.tolist(), pd_year.tolist(), order, strict=True)
    ):
        body = {
            "client_id": client,
            "max_debt": limit,
            "rate_bps": bps,
            "tier": grade,
            "pd": chance,
            "reasons": [[int(i), float(contributions[k, i])] for i in first],
            "attributions": contributions[k].tolist(),
        }
        text = json.dumps(body, sort_keys=True).encode()
        documents.append(text)
        digests.append(hashlib.sha256(text).digest())
    return cap, rate, tier, documents, digests


def main() -> None:
    """Time one night of one rival."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake", type=Path)
    parser.add_argument("session")
    parser.add_argument("model", type=Path)
    parser.add_argument("--features", choices=("pandas", "duckdb"), default="pandas")
    parser.add_argument("--explain", choices=("shap", "contrib"), default="contrib")
    parser.add_argument("--background", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    # what is only imported is not timed
    import duckdb  # noqa: F401
    import lightgbm as lgb
    import pandas as pd
    import pyarrow.dataset  # noqa: F401
    import shap

    spent: dict[str, float] = {}
    started = time.perf_counter()

    def lap(stage: str) -> None:
        spent[stage] = time.perf_counter() - started - sum(spent.values())

    cut = np.datetime64(arguments.session) + np.timedelta64(22, "h")
    close, returns, _ = market(arguments.lake, arguments.session, cut)
    make = with_pandas if arguments.features == "pandas" else with_duckdb
    out, value = make(arguments.lake, arguments.session, cut, close, returns)
    lap("features")
    booster = lgb.Booster(model_file=str(arguments.model))
    wide = np.full((len(out), booster.num_feature()), np.nan)
    made = out.to_numpy(dtype=np.float64)[:, : wide.shape[1]]
    wide[:, : made.shape[1]] = np.where(np.isfinite(made), made * 1e6, np.nan)
    pd_year = np.asarray(booster.predict(wide))
    lap("predict")
    if arguments.explain == "shap":
        rng = np.random.default_rng(1)
        some = np.sort(rng.choice(len(wide), min(arguments.background, len(wide)), replace=False))
        masker = shap.maskers.Independent(wide[some], max_samples=arguments.background)
        explainer = shap.TreeExplainer(booster, data=masker, feature_perturbation="interventional")
        contributions = np.asarray(explainer.shap_values(wide, check_additivity=False))
    else:
        contributions = np.asarray(booster.predict(wide, pred_contrib=True))[:, :-1]
    lap("explain")
    cap, rate, tier, documents, digests = decide(out, value, pd_year, contributions, returns)
    lap("decide")
    frame = pd.DataFrame(
        {
            "client_id": out.index, "max_debt": cap, "rate_bps": rate, "tier": tier, "pd": pd_year,
            "attributions": list(contributions), "document": documents, "sha256": digests,
        }
    )  # fmt: skip
    frame.to_parquet(arguments.out)
    lap("write")
    document = {
        "seconds": time.perf_counter() - started,
        "seconds_by_stage": spent,
        "clients": len(out),
        "features": made.shape[1],
        "assets": float(np.nansum(out["assets"])),
        "owed": float(np.nansum(out["owed"])),
        "securities": float(value.sum()),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
