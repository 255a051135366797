"""A smooth teacher of the head: a ridge logistic regression with the structure of a margin call in it.

Defaults are rare and trees are coarse where it counts, near the call line. What a client's state
says of a call is smooth and known in form: with maintenance ratio R and the volatility s of the
assets over a call's horizon, the distance to any line L is (ln R - ln L) / s, which is linear in
ln R / s and 1 / s. So a logistic regression on those two finds the line that counts by itself, and
with all features beside them it is steadier than trees on a few hundred defaults, while it knows no
shapes and no interactions. The head learns from both: its targets are a mixture of the label and of
what the teacher says of rows that it has not seen (Hinton, Vinyals & Dean 2015 call it distillation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from data_contracts.units import RATIO_ONE, FloatArray, IntArray
from features.definitions.risk import REFERENCE_CALL_RATIO
from training.estimator_bags import parts_of

RIDGE: Final = 100.0
"""Penalty, ``RIDGE / 2`` times the squared slopes of standardised columns, on the summed log-loss."""
PARTS: Final = 5
STEPS: Final = 50
FAR: Final = 5.0
"""Standard deviations beyond which a column says no more."""
GRID: Final = 1e-3
"""Log-odds of a lesson are rounded to it, so that the last bits of a sum do not reach the trees."""
_SAFE: Final = 20.0
"""Maintenance ratio from which no line is near; it stands for a client who owes nothing, too."""
_LEAST_SIGMA, _MOST_SIGMA = 0.005, 1.0
_STRUCTURE: Final = ("maintenance_ratio", "distance_to_call_sigma")


def structure(values: FloatArray, names: Sequence[str]) -> FloatArray:
    """Columns of the margin structure (N, 8); none, (N, 0), where the features lack it.

    The volatility s is the one that the distance to a call was measured in. The last columns are
    the distance to the reference line and its parts below 1/2, 1 and 2, as risk is not linear in it.

    Parameters
    ----------
    values : (N, K), features in their quantised units, NaN for missing
    """
    if not set(_STRUCTURE) <= set(names):
        return np.zeros((len(values), 0))
    ratio, distance = (values[:, list(names).index(n)] / RATIO_ONE for n in _STRUCTURE)
    log_ratio = np.log(np.clip(np.nan_to_num(ratio, nan=_SAFE), 1.01, _SAFE))
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = np.log(ratio / REFERENCE_CALL_RATIO) / distance
    known = (sigma > 0) & np.isfinite(sigma)
    middle = float(np.median(sigma[known])) if known.any() else _MOST_SIGMA
    sigma = np.clip(np.where(known, sigma, middle), _LEAST_SIGMA, _MOST_SIGMA)
    # over the label's 60 sessions, three times the call's
    away = np.clip((log_ratio - np.log(REFERENCE_CALL_RATIO)) / sigma / np.sqrt(3.0), -4.0, 8.0)
    return np.stack(
        [
            np.clip(log_ratio / sigma, -5.0, 30.0), np.clip(1.0 / sigma, 0.0, 60.0), log_ratio,
            np.log(sigma), away, *(np.maximum(x - away, 0.0) for x in (0.5, 1.0, 2.0)),
        ],
        axis=1,
    )  # fmt: skip


@dataclass(frozen=True)
class Teacher:
    """A fitted teacher: how columns are filled and scaled, and their slopes."""

    names: tuple[str, ...]
    fill: FloatArray
    scale: FloatArray
    holes: FloatArray
    slope: FloatArray
    intercept: float

    def log_odds(self, values: FloatArray) -> FloatArray:
        """Of rows (N, K) in quantised units, NaN for missing."""
        return np.asarray(
            _columns(values, self.names, self.fill, self.scale, self.holes) @ self.slope
            + self.intercept
        )


def _columns(
    values: FloatArray,
    names: Sequence[str],
    fill: FloatArray,
    scale: FloatArray,
    holes: FloatArray,
) -> FloatArray:
    whole = np.concatenate([values, structure(values, names)], axis=1)
    missing = np.isnan(whole)
    scaled = np.clip((np.where(missing, fill, whole) - fill) / scale, -FAR, FAR)
    return np.concatenate([scaled, missing[:, holes > 0].astype(np.float64)], axis=1)


def fit_teacher(values: FloatArray, labels: IntArray, names: Sequence[str]) -> Teacher:
    """Newton's method on the penalised log-loss.

    Parameters
    ----------
    values : (N, K), features in quantised units, NaN for missing
    labels : (N,), 0 or 1, both present
    names : of the features
    """
    whole = np.concatenate([values, structure(values, names)], axis=1)
    missing = np.isnan(whole)
    known = np.maximum((~missing).sum(axis=0), 1)
    fill = np.where(missing, 0.0, whole).sum(axis=0) / known
    spread = np.sqrt(np.where(missing, 0.0, (whole - fill) ** 2).sum(axis=0) / known)
    scale = np.where(spread > 0, spread, 1.0)
    holes = (missing.any(axis=0) & ~missing.all(axis=0)).astype(np.float64)
    x = _columns(values, names, fill, scale, holes)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    penalty = np.full(x.shape[1], RIDGE)
    penalty[-1] = 0.0
    rate = labels.mean()
    theta = np.zeros(x.shape[1])
    theta[-1] = np.log(rate / (1.0 - rate))
    with threadpool_limits(limits=1):
        loss = _loss(x, labels, theta, penalty)
        for _ in range(STEPS):
            p = 1.0 / (1.0 + np.exp(-(x @ theta)))
            slope = x.T @ (labels - p) - penalty * theta
            bend = (x * (p * (1.0 - p))[:, None]).T @ x + np.diag(penalty + 1e-9)
            move, size = np.linalg.solve(bend, slope), 1.0
            while (new := _loss(x, labels, theta + size * move, penalty)) > loss and size > 1e-6:
                size /= 2.0
            theta, gain, loss = theta + size * move, loss - new, new
            if gain < 1e-9 * len(labels) * 1e-3:
                break
    return Teacher(tuple(names), fill, scale, holes, theta[:-1], float(theta[-1]))


def _loss(x: FloatArray, labels: IntArray, theta: FloatArray, penalty: FloatArray) -> float:
    z = x @ theta
    return float((np.logaddexp(0.0, z) - labels * z).sum() + 0.5 * (penalty * theta**2).sum())


def lessons(
    values: FloatArray, labels: IntArray, clusters: IntArray, names: Sequence[str], seed: int
) -> FloatArray:
    """What a teacher says of each row's probability, having learnt from the other parts alone.

    Parameters
    ----------
    labels : (N,), 0 or 1, both present; where the other parts hold one only, the base rate is said
    clusters : (N,), counted from 0; a cluster is never divided between learning and saying
    """
    part = parts_of(labels, clusters, PARTS, seed)
    rate = float(labels.mean())
    out = np.full(len(labels), np.log(rate / (1.0 - rate)))
    for k in range(PARTS):
        own = part == k
        if own.any() and 0 < labels[~own].sum() < int((~own).sum()):
            out[own] = fit_teacher(values[~own], labels[~own], names).log_odds(values[own])
    return np.asarray(1.0 / (1.0 + np.exp(-np.round(out / GRID) * GRID)))
