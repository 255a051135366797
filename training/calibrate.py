"""Score to PD: a logistic map on clients that the booster never saw, each market year weighing the same.

Clients of one stretch of the market default together, so an interval that redraws clients alone is
far too narrow: in generated markets one of 95 % holds the truth less than half the time (``bench
attainable``). The interval here redraws stretches of the market and widens by Student's t, as there
are few; it is never narrower than what redrawing clients gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import t as student_t

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, PROB_ONE, FloatArray, IntArray
from models.calibration import KNOT_SHIFT, Calibration
from training.labels import HORIZON_SESSIONS, YEAR_SESSIONS

PD_FLOOR: Final = 3e-4
"""3 bp a year: the sample is too small to tell a smaller PD from zero."""
KNOTS: Final = 64
MARKET_YEARS_NEEDED: Final = 8
BOOTSTRAPS: Final = 200
LEAST_SLOPE: Final = 0.05
TIER_SHARES: Final = (0.20, 0.38, 0.55, 0.70, 0.83, 0.93)
"""Cumulative shares of the calibration book in tiers 1 to 6."""


@dataclass(frozen=True)
class CalibrationSample:
    """Rows that calibrate.

    Attributes
    ----------
    score : log-odds
    default_60, default_year : labels of both horizons, -1 censored
    year : market year, each of which weighs the same
    cluster : clients of one related group
    block : stretch of the market, at least as long as the label looks ahead
    """

    score: FloatArray
    default_60: IntArray
    default_year: IntArray
    year: IntArray
    cluster: IntArray
    block: IntArray


def _logistic(x: FloatArray, positives: FloatArray, weight: FloatArray) -> tuple[float, float]:
    """Newton's method for intercept and slope of a weighted logistic regression on binned scores."""
    a, b = 0.0, 1.0
    for _ in range(60):
        p = 1.0 / (1.0 + np.exp(-(a + b * x)))
        g = positives - weight * p
        h = weight * p * (1.0 - p)
        h00, h01, h11 = h.sum() + 1e-9, (h * x).sum(), (h * x * x).sum() + 1e-9
        det = h00 * h11 - h01 * h01
        if det <= 0:
            break
        da = (h11 * g.sum() - h01 * (g * x).sum()) / det
        db = (h00 * (g * x).sum() - h01 * g.sum()) / det
        size = max(abs(da), abs(db))
        scale = min(1.0, 2.0 / size) if size > 0 else 1.0
        a, b = a + scale * da, b + scale * db
        if size < 1e-10:
            break
    if b >= LEAST_SLOPE:
        return a, b
    # a score that does not rank keeps a least slope, for the table must increase; the level is refitted
    a = 0.0
    for _ in range(60):
        p = 1.0 / (1.0 + np.exp(-(a + LEAST_SLOPE * x)))
        step = (positives - weight * p).sum() / ((weight * p * (1.0 - p)).sum() + 1e-9)
        a += float(np.clip(step, -2.0, 2.0))
        if abs(step) < 1e-10:
            break
    return a, LEAST_SLOPE


def _bins(score: FloatArray, count: int = 200) -> tuple[IntArray, FloatArray]:
    edges = np.unique(np.quantile(score, np.linspace(0, 1, count + 1)[1:-1]))
    number = np.searchsorted(edges, score)
    total = np.bincount(number, minlength=len(edges) + 1)
    mean = np.bincount(number, weights=score, minlength=len(edges) + 1) / np.maximum(total, 1)
    return number, mean


def block_sessions(horizon: int) -> int:
    """Length of a block of the market for labels of a horizon, in sessions.

    Half a year for labels of a quarter, a year for those of a year: blocks next to each other then
    share the outcomes of at most half, or of all, of their rows.

    >>> block_sessions(60), block_sessions(252)
    (126, 252)
    """
    return max(YEAR_SESSIONS // 2, horizon)


def _logit(prob: FloatArray) -> FloatArray:
    p = np.clip(prob, 1e-9, 1.0 - 1e-9)
    return np.asarray(np.log(p / (1.0 - p)))


def _fit(
    score: FloatArray,
    label: IntArray,
    year: IntArray,
    groups: tuple[IntArray, IntArray],
    at: FloatArray,
    seed: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """PD at the knots with its 95 % interval, symmetric in log-odds.

    ``groups`` are clusters of clients and blocks of the market. The standard error is the larger of
    two bootstraps: one redraws clusters, one redraws blocks; with few of the latter the variance of
    a redraw is too small by (n - 1) / n and Student's t takes the place of the normal.
    """
    years, position = np.unique(year, return_inverse=True)
    weight = (1.0 / np.bincount(position))[position] * (len(label) / len(years))
    number, mean = _bins(score)
    rng = np.random.default_rng(seed)

    def fitted(count: FloatArray | IntArray) -> FloatArray:
        w = weight * count
        n = np.bincount(number, weights=w, minlength=len(mean)).astype(np.float64)
        k = np.bincount(number, weights=w * label, minlength=len(mean)).astype(np.float64)
        a, b = _logistic(mean, k, n)
        return np.asarray(1.0 / (1.0 + np.exp(-(a + b * at))))

    centre = fitted(np.ones(len(label)))
    half = np.zeros(len(at))
    for group in groups:
        names, member = np.unique(group, return_inverse=True)
        count = len(names)
        if count < 2:
            continue
        draws = [
            fitted(np.bincount(rng.integers(0, count, count), minlength=count)[member])
            for _ in range(BOOTSTRAPS)
        ]
        error = np.std(_logit(np.stack(draws)), axis=0, ddof=1) * np.sqrt(count / (count - 1))
        half = np.maximum(half, error * student_t.ppf(0.975, count - 1))
    middle = _logit(centre)
    low, high = (1.0 / (1.0 + np.exp(-(middle + side * half))) for side in (-1, 1))
    return centre, np.asarray(low), np.asarray(high)


def _table(prob: FloatArray, floor: float) -> IntArray:
    return np.rint((floor + (1.0 - floor) * prob) * (PROB_ONE - 1)).astype(np.int64)


def _strict(table: IntArray) -> IntArray:
    """Strictly increasing by at least one quantum, never above one."""
    out = np.maximum.accumulate(table - np.arange(len(table))) + np.arange(len(table))
    return np.minimum(out, PROB_ONE - np.arange(len(table))[::-1])


def calibrate(sample: CalibrationSample, seed: int) -> Calibration:
    """The PD map.

    Where one-year labels exist the one-year frequency is fitted; where the data is shorter than that
    the 60-session one is carried to a year at a constant hazard, and the method says so.

    Raises
    ------
    InputError
        If there is no default to calibrate on.
    """
    known_60, known_year = sample.default_60 >= 0, sample.default_year >= 0
    if int(sample.default_60[known_60].sum()) < 5:
        raise InputError(
            "fewer than five defaults in the calibration sample; simulate more clients"
        )
    low, high = float(sample.score.min()), float(sample.score.max())
    knots = np.unique(np.linspace(np.floor(low - 1), np.ceil(high + 1), KNOTS))
    fixed = np.rint(knots * (LOG_ODDS_ONE >> KNOT_SHIFT)).astype(np.int64)
    sixty = _fit(
        sample.score[known_60],
        sample.default_60[known_60],
        sample.year[known_60],
        (sample.cluster[known_60], sample.block[known_60]),
        knots,
        seed,
    )
    if int(sample.default_year[known_year].sum()) >= 20:
        chosen = known_year
        year = _fit(
            sample.score[chosen],
            sample.default_year[chosen],
            sample.year[chosen],
            (sample.cluster[chosen], sample.block[chosen]),
            knots,
            seed,
        )
        method = "logistic map of the default_60 score to the one-year default frequency"
    else:
        chosen = known_60
        power = YEAR_SESSIONS / HORIZON_SESSIONS
        a, b, c = (1.0 - (1.0 - p) ** power for p in sixty)
        year = (a, b, c)
        method = "60-session default frequency carried to one year at a constant hazard"
    market_years = len(np.unique(sample.year[chosen]))
    if len(np.unique(sample.block[chosen])) < 2:
        method += "; one stretch of the market, so the interval is that of the clients alone"
    pd = _strict(_table(year[0], PD_FLOOR))
    return Calibration(
        knots=fixed,
        pd=pd,
        pd_low=np.minimum(np.maximum.accumulate(_table(year[1], 0.0)), pd),
        pd_high=np.maximum(np.maximum.accumulate(_table(year[2], PD_FLOOR)), pd),
        default_60=np.maximum.accumulate(_table(sixty[0], 0.0)),
        market_years=market_years,
        enough_years=market_years >= MARKET_YEARS_NEEDED,
        method=method,
    )


def tier_edges(pd: IntArray) -> IntArray:
    """Six ascending PD edges that give the calibration book its declared tier shares."""
    ordered = np.sort(pd)
    edges = ordered[
        np.minimum((np.array(TIER_SHARES) * len(ordered)).astype(int), len(ordered) - 1)
    ]
    return np.maximum.accumulate(edges + np.arange(6)).astype(np.int64)
