"""Fit the ``default_60`` head: a LightGBM under pairwise constraints, compiled and proved.

Deterministic by construction: one thread, fixed seeds, row-wise histograms, rows in a fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import lightgbm as lgb
import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, NULL, FloatArray, IntArray
from models.scorer.compile import Compiled, compile_booster
from models.scorer.reference import LEAST_CELL
from training.explain import refuse_advanced

PAIRS_PER_FEATURE: Final = 2
MOST_ROUNDS: Final = 400
STOP_AFTER: Final = 30
LEAST_POSITIVES: Final = 30
PROOF_TOLERANCE: Final = 1e-9
"""Rounding of sums of some hundred float64 leaves is near 1e-14; 1e-9 leaves room, hides nothing."""
SHAP_TOLERANCE: Final = 1e-5
"""The shap library reads features as float32 in its interventional algorithm."""

_COMMON: Final[dict[str, Any]] = {
    "objective": "binary",
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "monotone_constraints_method": "basic",
    # 63 are too coarse here: few clients are near their call line, and quantiles give them few bins
    "max_bin": 255,
    "lambda_l2": 10.0,
    "learning_rate": 0.07,
}


def as_floats(values: IntArray) -> FloatArray:
    """Quantised features as LightGBM reads them: exact integers in float64, NaN for missing."""
    return np.where(values == NULL, np.nan, values.astype(np.float64))


def _dataset(values: IntArray, labels: IntArray, weights: FloatArray | None) -> lgb.Dataset:
    return lgb.Dataset(
        as_floats(values), labels.astype(np.float64), weight=weights, free_raw_data=False
    )


def ranked_pairs(booster: lgb.Booster, count: int) -> list[tuple[int, int]]:
    """Pairs by the gain of splits directly below a split on another feature."""
    gain: dict[tuple[int, int], float] = {}

    def visit(node: dict[str, Any]) -> None:
        for side in ("left_child", "right_child"):
            child = node[side]
            if "split_feature" not in child:
                continue
            i, j = sorted((int(node["split_feature"]), int(child["split_feature"])))
            if i != j:
                gain[i, j] = gain.get((i, j), 0.0) + float(child["split_gain"])
            visit(child)

    for tree in booster.dump_model()["tree_info"]:
        if "split_feature" in tree["tree_structure"]:
            visit(tree["tree_structure"])
    return sorted(gain, key=lambda p: (-gain[p], p))[:count]


def fit_default_60(
    train: tuple[IntArray, IntArray],
    stop: tuple[IntArray, IntArray],
    directions: Sequence[int],
    reference: IntArray,
    seed: int,
) -> tuple[lgb.Booster, Compiled]:
    """Fit and compile the head; reference cells with fewer than five rows are merged.

    Parameters
    ----------
    train, stop : values (N, K) and labels (N,), of disjoint clients; ``stop`` ends the boosting
    directions : +1, -1 or 0 a feature
    reference : rows that attributions are measured against
    seed : of the row and feature sampling

    Raises
    ------
    InputError
        If there are too few defaults to learn from, or the tables do not equal the booster.
    """
    positives = int(train[1].sum())
    if positives < LEAST_POSITIVES:
        raise InputError(
            f"only {positives} defaults among {len(train[1])} training rows; at least {LEAST_POSITIVES}"
            " are needed: simulate more clients or a longer period"
        )
    k = train[0].shape[1]
    smallest = max(20, min(60, len(train[1]) // 400))
    parameters = {
        **_COMMON,
        "seed": seed,
        "monotone_constraints": list(directions),
        "min_data_in_leaf": smallest,
    }
    scout = lgb.train({**parameters, "num_leaves": 4}, _dataset(*train, None), num_boost_round=60)
    pairs = ranked_pairs(scout, PAIRS_PER_FEATURE * k)
    booster = lgb.train(
        {
            **parameters,
            "num_leaves": 8,
            "extra_trees": True,
            "feature_fraction": 0.8,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "interaction_constraints": [[i] for i in range(k)] + [list(p) for p in pairs],
            "metric": "binary_logloss",
        },
        _dataset(*train, None),
        num_boost_round=MOST_ROUNDS,
        valid_sets=[_dataset(*stop, None)],
        callbacks=[lgb.early_stopping(STOP_AFTER, verbose=False)],
    )
    dump = booster.dump_model(num_iteration=booster.best_iteration)
    compiled = compile_booster(dump, reference, "default_60", least_cell=LEAST_CELL)
    prove(booster, compiled, stop[0][:2000])
    return booster, compiled


def prove(booster: lgb.Booster, compiled: Compiled, values: IntArray) -> float:
    """Refuse tables that differ from the booster's own contributions; returns the largest difference.

    So is a booster whose constraints were not sure to hold while it grew.
    """
    refuse_advanced(booster)
    own = booster.predict(as_floats(values), pred_contrib=True, num_threads=1)
    difference = float(np.abs(np.asarray(own) - compiled.path_dependent(values)).max())
    if difference > PROOF_TOLERANCE:
        raise InputError(
            f"the compiled tables differ from the booster by {difference:.3g}, more than {PROOF_TOLERANCE:g};"
            " the model cannot be served"
        )
    return difference


def explain_with_shap(booster: lgb.Booster, values: IntArray, reference: IntArray) -> FloatArray:
    """Interventional Shapley values by the shap library: the independent check of our tables."""
    import shap

    masker = shap.maskers.Independent(as_floats(reference), max_samples=len(reference))
    explainer = shap.TreeExplainer(booster, data=masker, feature_perturbation="interventional")
    return np.asarray(explainer.shap_values(as_floats(values), check_additivity=False))


def check_against_shap(booster: lgb.Booster, dump_reference: IntArray, values: IntArray) -> float:
    """Largest difference of our interventional tables to shap's values; refused above the tolerance."""
    compiled = compile_booster(
        booster.dump_model(num_iteration=booster.best_iteration), dump_reference, "default_60"
    )
    ours = compiled.tables.score_and_attributions(values)[1] / LOG_ODDS_ONE
    difference = float(np.abs(ours - explain_with_shap(booster, values, dump_reference)).max())
    if difference > SHAP_TOLERANCE:
        raise InputError(
            f"attributions differ from the shap library's by {difference:.3g}, more than"
            f" {SHAP_TOLERANCE:g}; the model cannot be served"
        )
    return difference
