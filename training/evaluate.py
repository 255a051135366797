"""Discrimination with its uncertainty: AUC, and Somers' D of tiers with a group bootstrap.

Ties count one half in the AUC and nothing in Somers' D, so D = 2 AUC - 1. Intervals are two-sided
95 % percentiles of a bootstrap that redraws whole clusters (related groups, else clients).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.units import FloatArray, IntArray

BOOTSTRAPS: Final = 1000


def auc(score: FloatArray | IntArray, label: IntArray) -> float | None:
    """Probability that a random default scores above a random non-default; None without both.

    >>> auc(np.array([1, 2, 2, 3]), np.array([0, 0, 1, 1]))
    0.875
    """
    positive = int(label.sum())
    negative = len(label) - positive
    if positive == 0 or negative == 0:
        return None
    _, inverse, count = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    mid_rank = last - (count - 1) / 2.0
    ranks = mid_rank[inverse]
    return float((ranks[label == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


@dataclass(frozen=True)
class SomersD:
    """Somers' D of an ordinal rating against a binary outcome, with a two-sided 95 % interval."""

    value: float | None
    low: float | None
    high: float | None


def _d_of_counts(counts: FloatArray) -> FloatArray:
    """Somers' D from counts (..., grades, 2); NaN where one outcome is absent."""
    good, bad = counts[..., 0], counts[..., 1]
    below = np.cumsum(good, axis=-1) - good
    above = good.sum(axis=-1, keepdims=True) - below - good
    pairs = good.sum(axis=-1) * bad.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((bad * (below - above)).sum(axis=-1) / pairs)


def somers_d(grade: IntArray, label: IntArray, cluster: IntArray, seed: int) -> SomersD:
    """Somers' D of grades (higher is worse) against defaults, pooled over as-of sessions."""
    if len(grade) == 0:
        return SomersD(None, None, None)
    grades, g = np.unique(grade, return_inverse=True)
    clusters, c = np.unique(cluster, return_inverse=True)
    counts = np.zeros((len(clusters), len(grades), 2))
    np.add.at(counts, (c, g, label), 1.0)
    value = float(_d_of_counts(counts.sum(axis=0)))
    if np.isnan(value):
        return SomersD(None, None, None)
    rng = np.random.default_rng(seed)
    flat = counts.reshape(len(clusters), -1)
    draws = np.empty(BOOTSTRAPS)
    for b in range(BOOTSTRAPS):
        times = np.bincount(rng.integers(0, len(clusters), len(clusters)), minlength=len(clusters))
        draws[b] = _d_of_counts((times @ flat).reshape(len(grades), 2))
    draws = draws[~np.isnan(draws)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return SomersD(value, float(low), float(high))
