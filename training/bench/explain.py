"""``bench explain``: prediction and exact attributions, ours against the libraries people use.

Every rival runs on one thread, OpenMP included, and all are timed in turn within each round, so a
busy machine slows them alike; a ratio is the median over the rounds of the ratios within each.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from threadpoolctl import threadpool_limits

from data_contracts.errors import InputError
from data_contracts.units import NULL, FloatArray, IntArray
from models.scorer.compile import Compiled, compile_booster
from training.bench.blackbox import contest, real_set
from training.fit import as_floats, prove

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
Work = tuple[int, Callable[[], object]]

ROWS: Final = 200_000
ROUNDS: Final = 5
TREES: Final = 400
ONE_ROW_TIMES: Final = 100
EBM_ROUNDS: Final = 20
"""Boosting rounds of the EBM: they do not change the size of its terms, nor its speed."""


def _pairs(features: int) -> list[tuple[int, int]]:
    """Pairs of neighbours: 57 of 60 features, which is what a fitted scorer has."""
    return [(k, k + 1) for k in range(max(1, features - 3))]


def _made_up(rows: int, features: int, seed: int) -> tuple[IntArray, IntArray]:
    """Features with a tenth missing and a label that depends on all of them and on each pair."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-1_000_000, 1_000_000, size=(rows, features))
    pairs = _pairs(features)
    z = values.sum(axis=1) / 1e6 - 1.0
    for i, j in pairs:
        z += 4.0 * (values[:, i] / 1e6) * (values[:, j] / 1e6) / np.sqrt(len(pairs))
    label = (rng.random(rows) < 1.0 / (1.0 + np.exp(-z))).astype(np.int64)
    values[rng.random(values.shape) < 0.1] = NULL
    return values, label


def _fit(values: IntArray, label: IntArray, seed: int) -> tuple[lgb.Booster, Compiled]:
    """A glass-box booster of the size that scorers have, every pair in use, and its tables."""
    features = values.shape[1]
    parameters = {
        "objective": "binary",
        "verbosity": -1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "max_bin": 63,
        "learning_rate": 0.07,
        "lambda_l2": 10.0,
        "num_leaves": 8,
        "min_data_in_leaf": 60,
        "extra_trees": True,
        "feature_fraction": 0.8,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "seed": seed,
        "interaction_constraints": [list(p) for p in _pairs(features)],
    }
    data = lgb.Dataset(as_floats(values), label.astype(np.float64))
    booster = lgb.train(parameters, data, num_boost_round=TREES)
    compiled = compile_booster(booster.dump_model(), values[:2000], "bench")
    prove((booster,), compiled, values[:2000])
    return booster, compiled


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _one_row(work: Callable[[], object], times: int) -> float:
    """Microseconds of a call: the best of forty short runs, to miss what else the machine does."""
    work()
    return min(_seconds(lambda: [work() for _ in range(times)]) for _ in range(40)) / times * 1e6


def _ebm(compiled: Compiled, values: IntArray, label: IntArray, seed: int) -> Any | None:
    """An EBM with the same terms and bins; None where interpret-core is not installed."""
    try:
        from interpret.glassbox import ExplainableBoostingClassifier
    except ImportError:
        return None
    pairs = [e.features for e in compiled.tables.effects if len(e.features) == 2]
    model = ExplainableBoostingClassifier(
        interactions=pairs,
        max_bins=64,
        max_interaction_bins=64,
        outer_bags=1,
        max_rounds=EBM_ROUNDS,
        n_jobs=1,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(as_floats(values), label)


def _medians(rounds: dict[str, list[float]], base: str) -> dict[str, float]:
    """The median ratio of ``base`` to each other, round by round."""
    own = np.array(rounds[base])
    return {name: float(np.median(own / np.array(speed))) for name, speed in rounds.items()}


def _works(
    compiled: Compiled, plain: lgb.Booster, ebm: Any | None, many: IntArray, few: FloatArray
) -> dict[str, Work]:
    """What is timed: rows, and the call. Ours and the copy fill arrays that are used again."""
    import shap

    explainer = shap.TreeExplainer(plain)
    out = np.zeros(len(many), dtype=np.int64), np.zeros(many.shape, dtype=np.int64)
    copied = np.zeros_like(many)
    tables = compiled.tables
    works: dict[str, Work] = {
        "tables": (len(many), lambda: tables.score_and_attributions(many, out=out)),
        "tables_two_threads": (
            len(many),
            lambda: tables.score_and_attributions(many, out=out, threads=2),
        ),
        "tables_new_arrays": (len(many), lambda: tables.score_and_attributions(many)),
        "copy": (len(many), lambda: np.copyto(copied, many)),
        "pred_contrib": (
            len(few),
            lambda: plain.predict(few, pred_contrib=True, num_threads=1),
        ),
        "shap": (len(few), lambda: explainer.shap_values(few, check_additivity=False)),
        "predict": (len(few), lambda: plain.predict(few, num_threads=1)),
    }
    if ebm is not None:
        works["ebm_eval_terms"] = (len(few), lambda: ebm.eval_terms(few))
    return works


def explain(
    rows: int, features: int, seed: int, data: Path | None, stages: Stages
) -> dict[str, Any]:
    """Prediction and exact attributions of many rows, one thread each.

    Rivals run on fewer rows, because they are slower. Every ratio is theirs over ours in seconds,
    but ``ratio_to_copy``, which is ours over a plain copy of the same bytes.
    """
    if rows < 1000 or features < 4:
        raise InputError(
            f"bench explain needs at least 1000 rows and 4 features, not {rows} and {features}"
        )
    stages("fit", 0, 3)
    values, label = _made_up(30_000, features, seed)
    booster, compiled = _fit(values, label, seed)
    stages("fit", 1, 3)
    ebm = _ebm(compiled, values[:5000], label[:5000], seed)
    stages("fit", 2, 3)
    if data is None:
        some = min(30_000, 5 * rows)
        named = ("made up", as_floats(values[:some]), label[:some])
    else:
        named = real_set(data)
    match = contest(*named, rows, seed)
    stages("fit", 3, 3)
    many = _made_up(rows, features, seed + 1)[0]
    few = as_floats(many[: max(200, rows // 200)])
    plain = lgb.Booster(model_str=booster.model_to_string())
    works = _works(compiled, plain, ebm, many, few)
    rounds: dict[str, list[float]] = {name: [] for name in works}
    boxes: list[tuple[float, float, float]] = []
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # a remark on the form of shap's answer, which is not looked at here
        warnings.filterwarnings("ignore", "LightGBM binary classifier", UserWarning, "shap")
        for _, work in works.values():
            work()
        for k in range(ROUNDS):
            for name, (n, work) in works.items():
                rounds[name].append(n / _seconds(work))
            boxes.append(match.ratio(_seconds))
            stages("measure", k + 1, ROUNDS)
        own = np.asarray(plain.predict(few, pred_contrib=True, num_threads=1))
        one, one_float = many[:1], few[:1]
        one_row = {
            "tables": _one_row(lambda: compiled.tables.score_and_attributions(one), ONE_ROW_TIMES),
            "pred_contrib": _one_row(
                lambda: plain.predict(one_float, pred_contrib=True, num_threads=1), 20
            ),
        }
    speed = {name: float(np.median(v)) for name, v in rounds.items()}
    speed["own_on_contest"], speed["blackbox_shap"] = (
        float(np.median([b[k] for b in boxes])) for k in (0, 1)
    )
    ratio = _medians(rounds, "tables")
    difference = np.abs(own - compiled.path_dependent(many[: len(few)])).max()
    return {
        "rows": rows,
        "features": features,
        "trees": plain.num_trees(),
        "pairs": sum(len(e.features) == 2 for e in compiled.tables.effects),
        "table_kib": compiled.tables.plan.bytes // 1024,
        "rows_per_second": {n: round(v) for n, v in speed.items()},
        "ratio_to_pred_contrib": round(ratio["pred_contrib"], 1),
        "ratio_to_shap": round(ratio["shap"], 1),
        "ratio_to_ebm_eval_terms": None if ebm is None else round(ratio["ebm_eval_terms"], 2),
        "ratio_to_blackbox": round(float(np.median([b[2] for b in boxes])), 1),
        "blackbox_data": match.data,
        "blackbox_auc": round(match.blackbox_auc, 5),
        "own_auc": round(match.own_auc, 5),
        "ratio_to_copy": round(1.0 / ratio["copy"], 2),
        "two_thread_ratio": round(1.0 / ratio["tables_two_threads"], 2),
        "max_abs_difference_to_pred_contrib": float(difference),
        "one_row_us": {n: round(v, 2) for n, v in one_row.items()},
        "notes": _notes(ebm is not None, data is not None),
    }


def _notes(with_ebm: bool, with_data: bool) -> list[str]:
    """What a reader must know to judge the figures."""
    notes = ["shap answers for LightGBM by its pred_contrib; both are held to one thread"]
    if not with_ebm:
        notes.append("interpret-core is not installed, so no EBM was timed")
    if not with_data:
        notes.append("the black box was fitted on made-up rows; give --data for a real set")
    return notes


def run(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``bench explain``."""
    data = getattr(arguments, "data", None)
    rows = ROWS if arguments.rows is None else arguments.rows
    d = explain(rows, arguments.features, arguments.seed, data, stages)
    lines = [f"{name:<20}{speed:>14,} rows/s" for name, speed in d["rows_per_second"].items()]
    lines.append(
        f"tables over pred_contrib: {d['ratio_to_pred_contrib']}x; over shap: {d['ratio_to_shap']}x;"
        f" over EBM eval_terms: {d['ratio_to_ebm_eval_terms'] or '-'}x;"
        f" largest difference {d['max_abs_difference_to_pred_contrib']:.1e}"
    )
    lines.append(
        f"shap on the black box ({d['blackbox_data']}): {d['ratio_to_blackbox']}x;"
        f" AUC {d['own_auc']:.4f} ours, {d['blackbox_auc']:.4f} its"
    )
    lines.append(
        f"{d['ratio_to_copy']}x a plain copy; two threads {d['two_thread_ratio']}x;"
        f" one row {d['one_row_us']['tables']} us"
    )
    return 0, d, "\n".join([*lines, *d["notes"]])
