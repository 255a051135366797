"""Benchmark models on the same development cases: scorecard, logistic regression, black box."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np

from data_contracts.units import FloatArray, IntArray
from training.validation.material import Feature
from training.validation.stability import cells_of, counts_in

BINS: Final = 8
ROUNDS: Final = 400
PATIENCE: Final = 30


def _cells(feature: Feature, learn: FloatArray, values: FloatArray) -> tuple[IntArray, int]:
    """The cell of each value: quantile bins of a number, levels of a category, missing last."""
    if feature.is_category:
        edges = np.arange(int(np.nanmax(np.r_[learn, 0.0])) + 1) + 0.5
    else:
        edges = cells_of(learn, BINS)
    missing = np.isnan(values)
    place = np.where(missing, len(edges) + 1, np.searchsorted(edges, values, side="left"))
    return place.astype(np.int64), len(counts_in(learn, edges))


def _weights_of_evidence(
    features: Sequence[Feature], learn: FloatArray, label: IntArray, values: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Both samples with each value replaced by its cell's ln(share of events / share of others)."""
    first, second = np.empty(learn.shape), np.empty(values.shape)
    for k, feature in enumerate(features):
        here, size = _cells(feature, learn[:, k], learn[:, k])
        there, _ = _cells(feature, learn[:, k], values[:, k])
        bad = np.bincount(here, weights=label, minlength=size) + 0.5
        good = np.bincount(here, weights=1 - label, minlength=size) + 0.5
        woe = np.log(bad / bad.sum()) - np.log(good / good.sum())
        first[:, k], second[:, k] = woe[here], woe[np.minimum(there, size - 1)]
    return first, second


def _plain(
    features: Sequence[Feature], learn: FloatArray, values: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Standardised numbers (missing at the median, with an indicator) and 0/1 columns of levels."""
    parts: list[tuple[FloatArray, FloatArray]] = []
    for k, feature in enumerate(features):
        x, z = learn[:, k], values[:, k]
        if feature.is_category:
            for level in np.unique(x[~np.isnan(x)])[1:]:
                parts.append(((x == level).astype(float), (z == level).astype(float)))
            continue
        if not bool((~np.isnan(x)).any()):
            continue
        middle, spread = float(np.nanmedian(x)), float(np.nanstd(x))
        if spread > 0:
            clip = 8.0  # a far outlier must not decide the fit
            parts.append(
                (
                    np.clip((np.where(np.isnan(x), middle, x) - middle) / spread, -clip, clip),
                    np.clip((np.where(np.isnan(z), middle, z) - middle) / spread, -clip, clip),
                )
            )
        if bool(np.isnan(x).any()):
            parts.append((np.isnan(x).astype(float), np.isnan(z).astype(float)))
    if not parts:
        return np.zeros((len(learn), 1)), np.zeros((len(values), 1))
    return np.column_stack([p[0] for p in parts]), np.column_stack([p[1] for p in parts])


def _logistic(learn: FloatArray, label: IntArray, values: FloatArray) -> FloatArray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0, max_iter=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(learn, label)
    return np.asarray(model.predict_proba(values)[:, 1], dtype=np.float64)


def _black_box(
    learn: FloatArray,
    label: IntArray,
    stop: tuple[FloatArray, IntArray],
    values: FloatArray,
    seed: int,
) -> FloatArray:
    import lightgbm as lgb

    parameters = {
        "objective": "binary", "verbosity": -1, "deterministic": True, "force_row_wise": True,
        "num_threads": 1, "seed": seed, "learning_rate": 0.05, "num_leaves": 15,
        "min_data_in_leaf": 20, "lambda_l2": 1.0, "feature_fraction": 0.8, "bagging_fraction": 0.8,
        "bagging_freq": 1, "metric": "binary_logloss",
    }  # fmt: skip
    dataset = lgb.Dataset(learn, label.astype(float), free_raw_data=False)
    booster = lgb.train(
        parameters,
        dataset,
        num_boost_round=ROUNDS,
        valid_sets=[lgb.Dataset(stop[0], stop[1].astype(float), reference=dataset)],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    return np.asarray(booster.predict(values), dtype=np.float64)


def benchmarks(
    features: Sequence[Feature],
    learn: tuple[FloatArray, IntArray],
    stop: tuple[FloatArray, IntArray],
    values: FloatArray,
    seed: int,
) -> dict[str, FloatArray]:
    """Probabilities of ``values`` (N, F) under each benchmark.

    Parameters
    ----------
    learn : features and labels that they learn from
    stop : cases that end the black box's boosting; nothing else uses them
    """
    x, y = learn
    return {
        "scorecard": _logistic(*_split(_weights_of_evidence(features, x, y, values), y)),
        "logistic": _logistic(*_split(_plain(features, x, values), y)),
        "black box": _black_box(x, y, stop, values, seed),
    }


def _split(
    both: tuple[FloatArray, FloatArray], label: IntArray
) -> tuple[FloatArray, IntArray, FloatArray]:
    return both[0], label, both[1]
