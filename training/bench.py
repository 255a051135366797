"""Benchmarks anyone can run: ours against what a user would use instead, interleaved in one run."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import lightgbm as lgb
import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import NULL, IntArray
from training.fit import as_floats, fit_default_60

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]

BENCHMARKS = ("explain", "features")
ROUNDS = 5


def _made_up(rows: int, features: int, seed: int) -> tuple[IntArray, IntArray]:
    """Features with a tenth missing and a label that depends on some, one pair among them."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-1_000_000, 1_000_000, size=(rows, features))
    z = values[:, 0] / 4e5 + values[:, 1] * values[:, 2] / 5e11 + np.abs(values[:, 3]) / 8e5 - 3.0
    label = (rng.random(rows) < 1.0 / (1.0 + np.exp(-z))).astype(np.int64)
    values[rng.random(values.shape) < 0.1] = NULL
    return values, label


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def explain(rows: int, features: int, seed: int, stages: Stages) -> dict[str, Any]:
    """Prediction and exact attributions of many rows: tables against pred_contrib and shap, one thread.

    Rivals run on fewer rows, because they are slower; each figure is the median of five interleaved
    rounds, in rows a second. A ratio above 1 means that ours is faster.
    """
    if rows < 1000 or features < 4:
        raise InputError(
            f"bench explain needs at least 1000 rows and 4 features, not {rows} and {features}"
        )
    import shap

    stages("fit", 0, 1)
    values, label = _made_up(30_000, features, seed)
    booster, compiled = fit_default_60(
        (values[:20_000], label[:20_000]),
        (values[20_000:], label[20_000:]),
        [0] * features,
        values[:2000],
        seed,
    )
    stages("fit", 1, 1)
    many = _made_up(rows, features, seed + 1)[0]
    few = many[: max(200, rows // 100)]
    floats = as_floats(few)
    best = booster.best_iteration
    plain = lgb.Booster(model_str=booster.model_to_string(num_iteration=best))
    explainer = shap.TreeExplainer(plain)
    rounds: dict[str, list[float]] = {"tables": [], "pred_contrib": [], "shap": [], "predict": []}
    with warnings.catch_warnings():
        # a remark on the form of shap's answer, which is not looked at here
        warnings.filterwarnings("ignore", "LightGBM binary classifier", UserWarning, "shap")
        for k in range(ROUNDS):
            rounds["tables"].append(
                rows / _seconds(lambda: compiled.tables.score_and_attributions(many))
            )
            rounds["pred_contrib"].append(
                len(few) / _seconds(lambda: plain.predict(floats, pred_contrib=True, num_threads=1))
            )
            rounds["shap"].append(
                len(few) / _seconds(lambda: explainer.shap_values(floats, check_additivity=False))
            )
            rounds["predict"].append(
                len(few) / _seconds(lambda: plain.predict(floats, num_threads=1))
            )
            stages("measure", k + 1, ROUNDS)
    speed = {name: float(np.median(v)) for name, v in rounds.items()}
    difference = np.abs(
        np.asarray(plain.predict(floats, pred_contrib=True, num_threads=1))
        - compiled.path_dependent(few)
    ).max()
    one = few[:1]
    one_row = {
        "tables": _seconds(lambda: [compiled.tables.score_and_attributions(one) for _ in range(50)])
        / 50
        * 1e6,
        "pred_contrib": _seconds(
            lambda: [plain.predict(floats[:1], pred_contrib=True, num_threads=1) for _ in range(50)]
        )
        / 50
        * 1e6,
    }
    return {
        "rows": rows,
        "features": features,
        "trees": best,
        "pairs": sum(len(e.features) == 2 for e in compiled.tables.effects),
        "rows_per_second": {n: round(v) for n, v in speed.items()},
        "ratio_to_pred_contrib": round(speed["tables"] / speed["pred_contrib"], 1),
        "ratio_to_shap": round(speed["tables"] / speed["shap"], 1),
        "max_abs_difference_to_pred_contrib": float(difference),
        "one_row_us": {n: round(v, 1) for n, v in one_row.items()},
    }


def run_bench(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``bench NAME``."""
    if arguments.name not in BENCHMARKS:
        raise InputError(
            f"there is no benchmark {arguments.name!r}; there are: {', '.join(BENCHMARKS)}"
        )
    if arguments.name == "features":
        from training.bench_features.run import bench_features, text_of

        document = bench_features(
            arguments.trades,
            arguments.clients,
            arguments.minutes,
            arguments.threads or 2,
            arguments.seed,
            stages,
        )
        return 0, document, text_of(document)
    document = explain(arguments.rows, arguments.features, arguments.seed, stages)
    lines = [
        f"{name:<14}{speed:>14,} rows/s" for name, speed in document["rows_per_second"].items()
    ]
    lines.append(
        f"tables over pred_contrib: {document['ratio_to_pred_contrib']}x; over shap: {document['ratio_to_shap']}x;"
        f" largest difference {document['max_abs_difference_to_pred_contrib']:.1e}"
    )
    return 0, document, "\n".join(lines)
