"""Bags of boosters on one shared dataset, stopped together on rows that each does not learn from.

One dataset is binned once and every bag is a ``subset`` of it, so all bags share thresholds and
their tables add up cell by cell. The rounds of all bags run in step, and end where the held-out
loss over all bags is least: one common, well-measured number of rounds instead of one a bag.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import lightgbm as lgb
import numpy as np

from data_contracts.units import FloatArray, IntArray
from training.estimator_pairs import ranked_pairs
from training.recipe import PAIRS_FROM_ROWS, Recipe

LEAST_PARTS: Final = 5
MOST_PARTS: Final = 10
ROUNDS_UNSTOPPED: Final = 50
"""Rounds where too few cases of a class exist to hold any out."""
LEAST_DISTINCT: Final = 50
SCOUT_ROUNDS: Final = 200
STEP: Final = 20
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Sample:
    """Training rows.

    Attributes
    ----------
    columns : (N, columns), the encoder's output
    labels : (N,), 0 or 1
    weights : (N,) or None
    clusters : (N,), rows that are never divided between learning and stopping
    targets : (N,), probabilities to be learnt in place of the labels; None for the labels
    """

    columns: FloatArray
    labels: IntArray
    weights: FloatArray | None
    clusters: IntArray
    targets: FloatArray | None = None

    @property
    def goal(self) -> FloatArray:
        """What the boosters learn: the targets where there are any, else the labels."""
        return self.labels.astype(np.float64) if self.targets is None else self.targets


@dataclass(frozen=True)
class Bagged:
    """Fitted boosters: their common rounds, pairs, and held-out log-loss at those rounds."""

    boosters: tuple[lgb.Booster, ...]
    rounds: int
    pairs: tuple[tuple[int, int], ...]
    held_out_loss: float | None
    held_out: tuple[IntArray, ...]

    def log_odds(self, columns: FloatArray) -> FloatArray:
        """Mean of the boosters' raw scores: what the tables must equal."""
        raw = [
            np.asarray(b.predict(columns, raw_score=True, num_iteration=self.rounds, num_threads=1))
            for b in self.boosters
        ]
        return np.asarray(np.mean(raw, axis=0), dtype=np.float64)

    def dumps(self) -> list[dict[str, Any]]:
        """``dump_model`` of each booster up to the common rounds."""
        return [b.dump_model(num_iteration=self.rounds) for b in self.boosters]


def clusters_of(columns: FloatArray, groups: Any | None) -> IntArray:
    """Which rows belong together: those of one group, else rows with the same values.

    Where most rows have a twin (a table of few categories) every row stands alone.
    """
    if groups is not None:
        return np.asarray(np.unique(np.asarray(groups), return_inverse=True)[1], dtype=np.int64)
    bits = np.where(np.isnan(columns), np.nan, columns + 0.0).view(np.uint64)
    total = np.zeros(len(columns), dtype=np.uint64)
    for k in range(columns.shape[1]):
        total = (total ^ bits[:, k]) * _MIX
        total ^= total >> np.uint64(29)
    distinct, cluster = np.unique(total, return_inverse=True)
    if len(distinct) < max(LEAST_DISTINCT, len(columns) // 5):
        return np.arange(len(columns))
    return np.asarray(cluster, dtype=np.int64)


def parts_of(labels: IntArray, clusters: IntArray, parts: int, seed: int) -> IntArray:
    """The part (0 to parts - 1) of each row: whole clusters, positives spread evenly."""
    count = int(clusters.max()) + 1
    positive = np.bincount(clusters, weights=labels, minlength=count) > 0
    rng = np.random.default_rng(seed)
    part = np.empty(count, dtype=np.int64)
    start = 0
    for stratum in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        part[rng.permutation(stratum)] = (start + np.arange(len(stratum))) % parts
        start += len(stratum)
    return part[clusters]


def _parameters(recipe: Recipe, rows: int, seed: int) -> dict[str, Any]:
    least = recipe.least_rows(rows)
    return {
        "objective": "binary",
        "metric": "binary_logloss",
        "verbosity": -1,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "seed": seed,
        "max_bin": recipe.max_bin,
        "min_data_in_bin": 3 if rows >= PAIRS_FROM_ROWS else 1,
        "feature_pre_filter": False,
        "monotone_constraints_method": "basic",
        "learning_rate": recipe.learning_rate,
        "lambda_l2": recipe.l2,
        "min_data_in_leaf": least,
        "min_sum_hessian_in_leaf": 1e-3,
        "max_cat_to_onehot": 4,
        "min_data_per_group": least,
    }


def _main_effects(
    shared: lgb.Dataset, sample: Sample, part: IntArray, parameters: dict[str, Any]
) -> FloatArray:
    """Log-odds of a booster of main effects alone."""
    k = sample.columns.shape[1]
    held = part == 0
    booster = lgb.train(
        {
            **parameters,
            "num_leaves": 4,
            "interaction_constraints": [[i] for i in range(k)],
            "learning_rate": 0.1,
        },
        shared.subset(np.flatnonzero(~held).tolist()),
        num_boost_round=SCOUT_ROUNDS,
        valid_sets=[shared.subset(np.flatnonzero(held).tolist())],
        callbacks=[lgb.early_stopping(20, verbose=False)],
    )
    return np.asarray(booster.predict(sample.columns, raw_score=True, num_threads=1))


def _pairs(
    shared: lgb.Dataset,
    sample: Sample,
    part: IntArray,
    parameters: dict[str, Any],
    recipe: Recipe,
    categorical: tuple[int, ...],
) -> list[tuple[int, int]]:
    k = sample.columns.shape[1]
    count = min(round(recipe.pairs_per_feature * k), k * (k - 1) // 2)
    if count == 0 or len(np.unique(sample.clusters)) < PAIRS_FROM_ROWS:
        return []
    p = 1.0 / (1.0 + np.exp(-_main_effects(shared, sample, part, parameters)))
    weight = 1.0 if sample.weights is None else sample.weights
    return ranked_pairs(
        sample.columns,
        categorical,
        weight * (sample.goal - p),
        weight * p * (1.0 - p),
        count,
        recipe.l2,
    )


def _parts_for(sample: Sample, recipe: Recipe) -> int:
    """How many parts the rows divide into; 1 where a class is too rare to hold any out."""
    rarest = min(len(np.unique(sample.clusters[sample.labels == c])) for c in (0, 1))
    return min(max(LEAST_PARTS, min(recipe.n_bags, MOST_PARTS)), max(1, rarest))


def fit_bags(
    sample: Sample,
    directions: tuple[int, ...],
    categorical: tuple[int, ...],
    recipe: Recipe,
    seed: int,
    threads: int,
) -> Bagged:
    """Rank pairs, then grow all bags in step."""
    rows = len(sample.labels)
    parameters = _parameters(recipe, rows, seed)
    if sample.targets is not None:
        parameters |= {"objective": "cross_entropy", "metric": "cross_entropy"}
    if any(directions):
        parameters["monotone_constraints"] = list(directions)
    shared = lgb.Dataset(
        sample.columns,
        sample.goal,
        weight=sample.weights,
        categorical_feature=list(categorical),
        params=parameters,
        free_raw_data=False,
    ).construct()
    n_parts = _parts_for(sample, recipe)
    draws = [
        parts_of(sample.labels, sample.clusters, n_parts, seed + d)
        for d in range(-(-recipe.n_bags // n_parts))
    ]
    pairs: list[tuple[int, int]] = []
    if n_parts > 1:
        pairs = _pairs(shared, sample, draws[0], parameters, recipe, categorical)
    paired = bool(pairs)
    k = sample.columns.shape[1]
    parameters |= {
        "num_leaves": recipe.num_leaves if paired else min(4, recipe.num_leaves),
        "interaction_constraints": [[i] for i in range(k)] + [list(p) for p in pairs],
        "extra_trees": recipe.extra_trees,
        "feature_fraction": recipe.feature_fraction,
        "bagging_fraction": recipe.bagging_fraction if paired else 1.0,
        "bagging_freq": 1 if paired else 0,
    }
    boosters, held_out, weight = [], [], []
    for b in range(recipe.n_bags if n_parts > 1 else 1):
        held = draws[b // n_parts] == b % n_parts if n_parts > 1 else np.zeros(rows, dtype=bool)
        learn = shared.subset(np.flatnonzero(~held).tolist())
        booster = lgb.Booster({**parameters, "seed": seed + 1000 * b}, learn)
        if n_parts > 1:
            booster.add_valid(shared.subset(np.flatnonzero(held).tolist()), "held out")
        boosters.append(booster)
        held_out.append(np.flatnonzero(held))
        weight.append(float(held.sum() if sample.weights is None else sample.weights[held].sum()))
    rounds, loss = _grow(boosters, weight, recipe, n_parts > 1, threads)
    return Bagged(tuple(boosters), rounds, tuple(pairs), loss, tuple(held_out))


def _quiet() -> None:
    """Set LightGBM's log level, which belongs to a thread, and keep its pool at one thread."""
    lgb.Dataset(np.zeros((2, 1)), params={"verbosity": -1, "num_threads": 1}).construct()


def _advance(booster: lgb.Booster, rounds: int, stopping: bool) -> list[float]:
    """Grow one booster; its held-out loss after each round, as far as it can still be split."""
    losses = []
    for _ in range(rounds):
        if booster.update():
            break
        losses.append(float(booster.eval_valid()[0][2]) if stopping else 0.0)
    return losses


def _grow(
    boosters: list[lgb.Booster], weight: list[float], recipe: Recipe, stopping: bool, threads: int
) -> tuple[int, float | None]:
    """Grow all boosters in steps; the common number of rounds and its held-out loss.

    Each booster runs on one thread and several at a time, so the number of threads changes nothing.
    """
    most = recipe.max_rounds if stopping else min(ROUNDS_UNSTOPPED, recipe.max_rounds)
    curves: list[list[float]] = [[] for _ in boosters]
    pooled: list[float] = []
    with ThreadPoolExecutor(max(1, threads), initializer=_quiet) as pool:
        while len(pooled) < most:
            step = min(STEP, most - len(pooled))
            more = list(pool.map(_advance, boosters, repeat(step), repeat(stopping)))
            if not any(more):
                break
            for curve, new in zip(curves, more, strict=True):
                start = curve[-1] if curve else float("nan")
                curve += new + [new[-1] if new else start] * (step - len(new))
            mean = np.average(np.nan_to_num(curves, nan=np.log(2)), axis=0, weights=weight)
            pooled = [float(x) for x in mean]
            if stopping and len(pooled) - 1 - int(np.argmin(pooled)) >= recipe.patience:
                break
    if not stopping or not pooled:
        return max(1, len(pooled)), None
    best = int(np.argmin(pooled))
    return best + 1, pooled[best]
