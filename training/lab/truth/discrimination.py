"""How well scores order outcomes and hazards: weighted pairs, intervals by market, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.units import FloatArray, IntArray

BOOTSTRAPS: Final = 1000


@dataclass(frozen=True)
class Area:
    """An AUC with a two-sided 95 % interval; NaN where one of the outcomes is absent."""

    value: float
    low: float
    high: float


class _Pairs:
    """Scores in order, ready to be weighted many times; ties count one half."""

    def __init__(self, score: FloatArray, event: FloatArray, weight: FloatArray) -> None:
        self.order = np.argsort(score, kind="stable")
        ordered = score[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self.event = (event * weight)[self.order]
        self.other = ((1.0 - event) * weight)[self.order]

    def area(self, times: FloatArray | None = None) -> float:
        """The share of weighted pairs in the right order."""
        event, other = self.event, self.other
        if times is not None:
            event, other = event * times[self.order], other * times[self.order]
        event, other = (np.add.reduceat(x, self.starts) for x in (event, other))
        pairs = event.sum() * other.sum()
        if pairs <= 0:
            return float("nan")
        below = np.cumsum(other) - 0.5 * other
        return float((event * below).sum() / pairs)


def weighted_auc(score: FloatArray, event: FloatArray, weight: FloatArray) -> float:
    """Probability that a state with the event scores above one without, by pairs of weights.

    Parameters
    ----------
    event : 1 or 0, or a probability: then the AUC that is expected over its outcomes
    weight : states of the population that a state stands for

    >>> weighted_auc(np.array([1.0, 2.0, 2.0]), np.array([0.0, 0.0, 1.0]), np.array([3.0, 1.0, 2.0]))
    0.875
    """
    return _Pairs(score, event, weight).area()


def auc_by_cluster(
    score: FloatArray, event: FloatArray, weight: FloatArray, cluster: IntArray, seed: int
) -> Area:
    """``weighted_auc`` with an interval by a bootstrap that redraws whole clusters."""
    if len(score) == 0:
        return Area(float("nan"), float("nan"), float("nan"))
    pairs = _Pairs(score, event, weight)
    names, place = np.unique(cluster, return_inverse=True)
    rng = np.random.default_rng(seed)
    areas = np.empty(BOOTSTRAPS)
    for k in range(BOOTSTRAPS):
        times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        areas[k] = pairs.area(times[place].astype(np.float64))
    areas = areas[~np.isnan(areas)]
    low, high = np.quantile(areas, [0.025, 0.975]) if len(areas) else (np.nan, np.nan)
    return Area(pairs.area(), float(low), float(high))


def calibration_line(
    log_odds: FloatArray, hazard: FloatArray, weight: FloatArray
) -> tuple[float, float]:
    """Intercept and slope of the true hazard on a model's log-odds, by weighted logistic regression.

    0 and 1 are perfect; a slope below 1 says that the model spreads its probabilities too far.
    """
    x = np.stack([np.ones_like(log_odds), log_odds], axis=1)
    b = np.array([0.0, 1.0])
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ b, -40.0, 40.0)))
        step = np.linalg.solve(
            (x * (weight * p * (1.0 - p))[:, None]).T @ x + 1e-12 * np.eye(2),
            x.T @ (weight * (hazard - p)),
        )
        b = b + step
        if float(np.abs(step).max()) < 1e-10:
            break
    return float(b[0]), float(b[1])


def rank_correlation(x: FloatArray, y: FloatArray, weight: FloatArray) -> float:
    """Spearman's correlation of weighted mid-ranks."""
    a, b = _mid_ranks(x, weight), _mid_ranks(y, weight)
    a, b = (v - np.average(v, weights=weight) for v in (a, b))
    spread = np.sqrt((weight * a * a).sum() * (weight * b * b).sum())
    return float((weight * a * b).sum() / spread) if spread > 0 else float("nan")


def _mid_ranks(x: FloatArray, weight: FloatArray) -> FloatArray:
    _, place = np.unique(x, return_inverse=True)
    total = np.bincount(place, weights=weight)
    return np.asarray((np.cumsum(total) - 0.5 * total)[place])


def clustered_z(difference: FloatArray, cluster: IntArray) -> float:
    """A mean difference over its standard error, clusters being independent of one another."""
    _, place = np.unique(cluster, return_inverse=True)
    total = np.bincount(place, weights=difference)
    spread = float(np.sqrt((total * total).sum()))
    return float(total.sum() / spread) if spread > 0 else 0.0
