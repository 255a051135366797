"""Fit the ``default_60`` head: bags of LightGBM under pairwise constraints, compiled and proved.

The boosters learn from a mixture of the labels and of what a smooth teacher says of rows that it
has not seen (``training.teacher``): labels alone are too few to draw the risk near the call line.
Deterministic by construction: one thread a booster, fixed seeds, rows in a fixed order.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import lightgbm as lgb
import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, NULL, FloatArray, IntArray
from models.scorer.compile import Compiled, compile_booster
from models.scorer.reference import LEAST_CELL
from training.estimator_bags import Bagged, Sample, fit_bags
from training.explain import refuse_advanced
from training.recipe import Recipe
from training.teacher import lessons

LEAST_POSITIVES: Final = 30
PROOF_TOLERANCE: Final = 1e-9
"""Rounding of sums of some hundred float64 leaves is near 1e-14; 1e-9 leaves room, hides nothing."""
SHAP_TOLERANCE: Final = 1e-5
"""The shap library reads features as float32 in its interventional algorithm."""
PROOF_ROWS: Final = 2000

HEAD_RECIPE: Final = Recipe(
    n_bags=5,
    max_rounds=250,
    patience=40,
    learning_rate=0.1,
    num_leaves=8,
    # 63 are too coarse here: few clients are near their call line, and quantiles give them few bins
    max_bin=255,
    feature_fraction=0.8,
    bagging_fraction=0.7,
    l2=10.0,
    pairs_per_feature=2.0,
    min_data=60,
    min_data_share=200,
    extra_trees=False,
)
"""Chosen on generated markets and clients that judge nothing (docs/scorer.md); no part of ``FROZEN``."""
TEACHER_SHARE: Final = 0.8
"""Share of the teacher's probability in what the boosters learn; the label has the rest."""


def as_floats(values: IntArray) -> FloatArray:
    """Quantised features as LightGBM reads them: exact integers in float64, NaN for missing."""
    return np.where(values == NULL, np.nan, values.astype(np.float64))


@dataclass(frozen=True)
class Lesson:
    """Rows to learn from.

    Attributes
    ----------
    values : int64, shape (N, K), quantised features
    labels : int64, shape (N,), 1 or 0
    clusters : int64, shape (N,), what is never divided between learning and stopping: related
        clients, or whole markets
    """

    values: IntArray
    labels: IntArray
    clusters: IntArray


def fit_default_60(
    lesson: Lesson,
    names: Sequence[str],
    directions: Sequence[int],
    reference: IntArray,
    seed: int,
) -> tuple[Bagged, Compiled]:
    """Fit and compile the head; reference cells with fewer than five rows are merged.

    Each bag leaves out other clusters, and all end where the loss on what they left out is least.

    Parameters
    ----------
    names : of the features; the teacher knows some by name
    directions : +1, -1 or 0 a feature
    reference : rows that attributions are measured against
    seed : of all that is random

    Raises
    ------
    InputError
        If there are too few defaults to learn from, or the tables do not equal the boosters.
    """
    positives = int(lesson.labels.sum())
    if positives < LEAST_POSITIVES:
        raise InputError(
            f"only {positives} defaults among {len(lesson.labels)} training rows; at least"
            f" {LEAST_POSITIVES} are needed: simulate more clients or a longer period"
        )
    columns = as_floats(lesson.values)
    clusters = np.unique(lesson.clusters, return_inverse=True)[1].astype(np.int64)
    taught = lessons(columns, lesson.labels, clusters, names, seed)
    targets = (1.0 - TEACHER_SHARE) * lesson.labels + TEACHER_SHARE * taught
    bagged = fit_bags(
        Sample(columns, lesson.labels, None, clusters, targets),
        tuple(directions),
        (),
        HEAD_RECIPE,
        seed,
        os.cpu_count() or 1,
    )
    compiled = compile_booster(bagged.dumps(), reference, "default_60", least_cell=LEAST_CELL)
    rows = np.linspace(0, len(columns) - 1, min(PROOF_ROWS, len(columns))).astype(np.int64)
    prove(bagged.boosters, compiled, lesson.values[rows], bagged.rounds)
    return bagged, compiled


def prove(
    boosters: Sequence[lgb.Booster],
    compiled: Compiled,
    values: IntArray,
    rounds: int | None = None,
) -> float:
    """Refuse tables that differ from the boosters' mean contributions; the largest difference.

    So is a booster whose constraints were not sure to hold while it grew.

    Parameters
    ----------
    rounds : trees of each booster that count; by default up to its best round
    """
    own = np.zeros((len(values), values.shape[1] + 1))
    for booster in boosters:
        refuse_advanced(booster)
        own += np.asarray(
            booster.predict(
                as_floats(values), pred_contrib=True, num_iteration=rounds, num_threads=1
            )
        )
    difference = float(np.abs(own / len(boosters) - compiled.path_dependent(values)).max())
    if difference > PROOF_TOLERANCE:
        raise InputError(
            f"the compiled tables differ from the booster by {difference:.3g}, more than {PROOF_TOLERANCE:g};"
            " the model cannot be served"
        )
    return difference


def explain_with_shap(
    booster: lgb.Booster, values: IntArray, reference: IntArray, rounds: int
) -> FloatArray:
    """Interventional Shapley values by the shap library: the independent check of our tables."""
    import shap

    # shap reads all trees that a booster holds
    whole = lgb.Booster(model_str=booster.model_to_string(num_iteration=rounds))
    masker = shap.maskers.Independent(as_floats(reference), max_samples=len(reference))
    explainer = shap.TreeExplainer(whole, data=masker, feature_perturbation="interventional")
    return np.asarray(explainer.shap_values(as_floats(values), check_additivity=False))


def check_against_shap(bagged: Bagged, reference: IntArray, values: IntArray) -> float:
    """Largest difference of our interventional tables to shap's values; refused above the tolerance."""
    compiled = compile_booster(bagged.dumps(), reference, "default_60")
    ours = compiled.tables.score_and_attributions(values)[1] / LOG_ODDS_ONE
    theirs = [explain_with_shap(b, values, reference, bagged.rounds) for b in bagged.boosters]
    difference = float(np.abs(ours - np.mean(theirs, axis=0)).max())
    if difference > SHAP_TOLERANCE:
        raise InputError(
            f"attributions differ from the shap library's by {difference:.3g}, more than"
            f" {SHAP_TOLERANCE:g}; the model cannot be served"
        )
    return difference
