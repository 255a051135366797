"""Proper scores and their parts: Brier and log-loss, Murphy's and the CORP decomposition, ECE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import isotonic_regression

from data_contracts.units import FloatArray, IntArray

ECE_BINS: Final = 10


def brier(probability: FloatArray, label: IntArray) -> float | None:
    """Mean of (p - y)^2 over single cases."""
    return float(np.mean((probability - label) ** 2)) if len(label) else None


def log_loss(probability: FloatArray, label: IntArray) -> float | None:
    """Mean of -log of the probability of what happened; None where that is 0."""
    right = np.where(label == 1, probability, 1 - probability)
    return None if not len(label) or bool((right <= 0).any()) else float(-np.log(right).mean())


@dataclass(frozen=True)
class Parts:
    """score = miscalibration - discrimination + uncertainty."""

    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def murphy(cases: IntArray, defaults: IntArray, pd: FloatArray) -> Parts | None:
    """Brier score of grades in Murphy's parts (1973): reliability, resolution, uncertainty.

    Exact where every case of a grade has the grade's PD.
    """
    total = int(cases.sum())
    if total == 0:
        return None
    used = cases > 0
    n, rate, p = cases[used] / total, defaults[used] / cases[used], pd[used]
    mean = float(defaults.sum() / total)
    reliability = float((n * (p - rate) ** 2).sum())
    resolution = float((n * (rate - mean) ** 2).sum())
    uncertainty = mean * (1 - mean)
    return Parts(reliability - resolution + uncertainty, reliability, resolution, uncertainty)


def _binary_log_loss(p: FloatArray, y: FloatArray) -> float:
    """Mean log-loss with 0 log 0 = 0, as the recalibrated forecast may be 0 or 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(y > 0, y * np.log(p), 0.0)
        miss = np.where(y < 1, (1 - y) * np.log1p(-p), 0.0)
    return float(-(hit + miss).mean())


def _binary_brier(p: FloatArray, y: FloatArray) -> float:
    return float(((p - y) ** 2).mean())


def isotonic(probability: FloatArray, label: IntArray) -> FloatArray:
    """The CORP recalibration: the isotonic regression of outcomes on forecasts, one value a forecast."""
    values, place, count = np.unique(probability, return_inverse=True, return_counts=True)
    rate = np.bincount(place, weights=label, minlength=len(values)) / count
    fitted = isotonic_regression(rate, weights=count).x
    return np.asarray(fitted[place])


def corp(probability: FloatArray, label: IntArray, score: str = "brier") -> Parts | None:
    """CORP decomposition of the Brier score or the log-loss (Dimitriadis, Gneiting & Jordan 2021).

    Miscalibration is what isotonic recalibration gains, discrimination what the recalibrated
    forecast gains over the base rate. Needs no bins.

    Parameters
    ----------
    score : ``brier`` or ``log_loss``
    """
    if not len(label):
        return None
    of = {"brier": _binary_brier, "log_loss": _binary_log_loss}[score]
    y = label.astype(np.float64)
    own = of(probability, y)
    recalibrated = of(isotonic(probability, label), y)
    base = of(np.full(len(y), y.mean()), y)
    if not all(map(math.isfinite, (own, recalibrated, base))):
        return None
    return Parts(own, own - recalibrated, base - recalibrated, base)


def expected_calibration_error(
    probability: FloatArray, label: IntArray, bins: int = ECE_BINS
) -> float | None:
    """Mean over bins of abs(mean forecast - default rate), by share of cases.

    Bins hold equal numbers of cases and never divide equal forecasts; ECE depends on their number
    and is biased upwards in small samples.
    """
    if not len(label):
        return None
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(edges, probability, side="left")
    gap = np.bincount(place, weights=probability - label, minlength=len(edges) + 1)
    return float(np.abs(gap).sum() / len(label))


def lowess(x: FloatArray, y: FloatArray, share: float = 2 / 3) -> FloatArray:
    """Cleveland's local linear smoother without robustness steps, as R's ``lowess(iter=0)``.

    Fits at points at least 1 % of the range apart and joins them by straight lines. ``x`` ascends.
    """
    n = len(x)
    size = max(min(int(share * n + 1e-7), n), 2)
    delta = 0.01 * (x[-1] - x[0])
    fitted = np.empty(n)
    left, last, i = 0, -1, 0
    while True:
        while left + size < n and x[i] - x[left] > x[left + size] - x[i]:
            left += 1
        fitted[i] = _local(x, y, x[i], left, left + size)
        if last < i - 1:
            inside = slice(last + 1, i)
            part = (x[inside] - x[last]) / (x[i] - x[last])
            fitted[inside] = part * fitted[i] + (1 - part) * fitted[last]
        last, cut = i, x[i] + delta
        i = last + 1
        while i < n and x[i] <= cut:
            if x[i] == x[last]:
                fitted[i] = fitted[last]
                last = i
            i += 1
        i = max(last + 1, i - 1)
        if last >= n - 1:
            return fitted


def _local(x: FloatArray, y: FloatArray, at: float, left: int, right: int) -> float:
    """The tricube-weighted line through the neighbours of a point, at the point."""
    far = max(at - x[left], x[right - 1] - at)
    distance = np.abs(x - at)
    near = distance <= 0.999 * far
    weight = np.where(distance > 0.001 * far, (1 - (distance / max(far, 1e-300)) ** 3) ** 3, 1.0)
    weight = np.where(near, weight, 0.0)
    # neighbours beyond the window count only where they tie with its right end
    weight[:left] = 0.0
    weight = weight / weight.sum()
    middle = float((weight * x).sum())
    spread = float((weight * (x - middle) ** 2).sum())
    if math.sqrt(spread) > 0.001 * (x[-1] - x[0]):
        weight = weight * (1 + (at - middle) * (x - middle) / spread)
    return float((weight * y).sum())


def smoothed_errors(probability: FloatArray, label: IntArray) -> tuple[float, float, float] | None:
    """Largest, 90th percentile and mean of abs(p - lowess-smoothed rate), as R's rms ``val.prob``."""
    if len(label) < 3 or float(np.ptp(probability)) == 0:
        return None
    order = np.argsort(probability, kind="stable")
    x, smooth = probability[order], lowess(probability[order], label[order].astype(np.float64))
    gap = np.abs(x - smooth)
    return float(gap.max()), float(np.quantile(gap, 0.9)), float(gap.mean())
