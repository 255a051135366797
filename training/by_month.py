"""Predicted against realised defaults by month, with an interval that allows for the common factor.

Clients of one month meet the same market, so their defaults are not independent and a binomial
interval is far too narrow. Each month has one shock u on the log-odds of all its clients,
u ~ N(0, s^2); s is fitted by maximum likelihood on months that the predictions were made from. The
interval of a month is that of the realised rate under such a shock and chance. Labels that look
60 sessions ahead overlap from month to month, so one bad quarter is seen in several of them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from data_contracts.units import FloatArray, IntArray

LEAST_MONTHS: Final = 6
DRAWS: Final = 4000
NODES: Final = 31
BINS: Final = 20
LARGEST_SPREAD: Final = 4.0
COARSE, FINE = 0.25, 0.05
"""Steps of the search for the spread: first over all, then around the best."""

Months = npt.NDArray[Any]


def _logit(prob: FloatArray) -> FloatArray:
    p = np.clip(prob, 1e-9, 1.0 - 1e-9)
    return np.asarray(np.log(p / (1.0 - p)))


def _sigmoid(z: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-z)))


def _binned(prob: FloatArray, label: IntArray) -> tuple[FloatArray, IntArray, IntArray]:
    """Mean probability, rows and defaults of up to ``BINS`` parts of a month."""
    parts = np.array_split(np.argsort(prob, kind="stable"), min(BINS, len(prob)))
    return (
        np.array([prob[p].mean() for p in parts]),
        np.array([len(p) for p in parts]),
        np.array([label[p].sum() for p in parts]),
    )


def _shift(prob: FloatArray, rows: IntArray, nodes: FloatArray, weight: FloatArray) -> float:
    """What to add to the log-odds so that the mean over shocks is the predicted number."""
    wanted, low, high = float((prob * rows).sum()), -40.0, 10.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        p = _sigmoid(_logit(prob)[:, None] + middle + nodes[None, :])
        low, high = (middle, high) if (rows @ p) @ weight < wanted else (low, middle)
    return 0.5 * (low + high)


def _nodes(spread: float) -> tuple[FloatArray, FloatArray]:
    x, w = np.polynomial.hermite_e.hermegauss(NODES)
    return spread * x, w / w.sum()


def month_spread(prob: FloatArray, label: IntArray, month: Months) -> float | None:
    """The standard deviation of the monthly shock in log-odds; None below ``LEAST_MONTHS`` months.

    Parameters
    ----------
    prob : predicted probability of each row
    label : 1 or 0
    month : any value that tells months apart
    """
    months = np.unique(month)
    if len(months) < LEAST_MONTHS or int(label.sum()) == 0:
        return None
    parts = [_binned(prob[month == m], label[month == m]) for m in months]

    def likelihood(spread: float) -> float:
        nodes, weight = _nodes(spread)
        total = 0.0
        for p, rows, defaults in parts:
            z = _logit(p)[:, None] + _shift(p, rows, nodes, weight) + nodes[None, :]
            log = (defaults[:, None] * z - rows[:, None] * np.logaddexp(0.0, z)).sum(axis=0)
            top = float(log.max())
            total += top + float(np.log(np.exp(log - top) @ weight))
        return total

    coarse = max(np.arange(0.0, LARGEST_SPREAD + COARSE, COARSE).tolist(), key=likelihood)
    near = np.arange(max(coarse - COARSE, 0.0), coarse + COARSE, FINE).tolist()
    return float(max(near, key=likelihood))


def by_month(
    prob: FloatArray, label: IntArray, month: Months, spread: float, seed: int
) -> list[dict[str, Any]]:
    """One row a month: clients, predicted and realised rate, and a 95 % interval of the latter."""
    rng = np.random.default_rng(seed)
    nodes, weight = _nodes(spread)
    found = []
    for m in np.unique(month):
        mine = month == m
        p, rows, _ = _binned(prob[mine], label[mine])
        shock = rng.normal(0.0, spread, DRAWS) + _shift(p, rows, nodes, weight)
        drawn = rng.binomial(rows, _sigmoid(_logit(p)[None, :] + shock[:, None])).sum(axis=1)
        low, high = np.quantile(drawn / rows.sum(), [0.025, 0.975])
        found.append(
            {
                "month": str(m),
                "clients": int(mine.sum()),
                "predicted": float(prob[mine].mean()),
                "realised": float(label[mine].mean()),
                "low": float(low),
                "high": float(high),
            }
        )
    return found
