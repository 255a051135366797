"""Distances between the scores of defaults and non-defaults: KS, CAP, CIER, IV, the H-measure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import betainc, ndtri

from data_contracts.units import FloatArray, IntArray
from training.validation.result import ALPHA, POWER, Test, finite


@dataclass(frozen=True)
class Roc:
    """The ROC curve at each distinct score, from the riskiest: shares of non-defaults and defaults."""

    false_positive: FloatArray
    true_positive: FloatArray


def roc(score: FloatArray | IntArray, label: IntArray) -> Roc | None:
    """The ROC curve from (0, 0) to (1, 1); None without both outcomes."""
    positives = int(label.sum())
    if positives == 0 or positives == len(label):
        return None
    _, place = np.unique(-score, return_inverse=True)
    bad = np.bincount(place, weights=label).cumsum()
    every = np.bincount(place).cumsum()
    good = every - bad
    return Roc(np.r_[0.0, good / good[-1]], np.r_[0.0, bad / bad[-1]])


def kolmogorov_smirnov(score: FloatArray | IntArray, label: IntArray) -> Test:
    """Largest distance of the two cumulative shares, Pietra's index times root 8 over 2; two-sided.

    The p-value is the asymptotic one, which is conservative where scores are tied.
    """
    null = "defaults and non-defaults have the same scores"
    curve = roc(score, label)
    if curve is None:
        return Test(None, None, "two-sided", null)
    distance = float(np.abs(curve.true_positive - curve.false_positive).max())
    positives = float(label.sum())
    size = positives * (len(label) - positives) / len(label)
    return Test(
        distance, float(stats.kstwobign.sf(math.sqrt(size) * distance)), "two-sided", null,
        # at the widest point the difference of two shares has at most half a unit of variance
        detectable=float((stats.kstwobign.isf(ALPHA) + ndtri(POWER) / 2) / math.sqrt(size)),
        detectable_unit="KS",
        convention="asymptotic p-value, conservative with ties",
    )  # fmt: skip


def cap_curve(
    score: FloatArray | IntArray, label: IntArray
) -> tuple[FloatArray, FloatArray] | None:
    """The cumulative accuracy profile: share of cases from the riskiest, share of defaults."""
    curve = roc(score, label)
    if curve is None:
        return None
    rate = label.sum() / len(label)
    return rate * curve.true_positive + (1 - rate) * curve.false_positive, curve.true_positive


def accuracy_ratio(score: FloatArray | IntArray, label: IntArray) -> float | None:
    """Area between CAP curve and diagonal over that of the perfect model; equals 2 AUC - 1."""
    curve = cap_curve(score, label)
    if curve is None:
        return None
    x, y = curve
    area = float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)) - 0.5
    return float(area / ((1 - label.sum() / len(label)) / 2))


def _entropy(p: FloatArray) -> FloatArray:
    """Binary entropy in bits; 0 at 0 and 1."""
    inside = np.clip(p, 1e-300, 1.0)
    outside = np.clip(1 - p, 1e-300, 1.0)
    return -(p * np.log2(inside) + (1 - p) * np.log2(outside))


@dataclass(frozen=True)
class Cier:
    """Conditional information entropy ratio, and the entropies in bits that it is made of."""

    value: float | None
    unconditional_bits: float | None
    conditional_bits: float | None


def cier(cases: IntArray, defaults: IntArray) -> Cier:
    """(H0 - H1) / H0 over grades: 0 tells nothing, 1 separates (BCBS Working Paper 14; OeNB 2004).

    Undefined where no case, or every case, is a default.
    """
    total = cases.sum()
    if total == 0 or defaults.sum() in (0, total):
        return Cier(None, None, None)
    used = cases > 0
    share = cases[used] / total
    before = float(_entropy(np.asarray(defaults.sum() / total)))
    after = float((share * _entropy(defaults[used] / cases[used])).sum())
    return Cier((before - after) / before, before, after)


@dataclass(frozen=True)
class InformationValue:
    """Information value of a grouping; ``adjusted`` says that half a case was added to every cell."""

    value: float | None
    adjusted: bool


def information_value(cases: IntArray, defaults: IntArray) -> InformationValue:
    """Sum of (g - b) ln(g / b) over groups, g and b the shares of non-defaults and defaults.

    An empty cell would make it infinite: where there is one, half a case is added to every cell
    of both outcomes, and the answer says so.
    """
    good, bad = (cases - defaults).astype(np.float64), defaults.astype(np.float64)
    if good.sum() == 0 or bad.sum() == 0:
        return InformationValue(None, False)
    used = cases > 0
    good, bad = good[used], bad[used]
    adjusted = bool((good == 0).any() or (bad == 0).any())
    if adjusted:
        good, bad = good + 0.5, bad + 0.5
    g, b = good / good.sum(), bad / bad.sum()
    return InformationValue(float(((g - b) * np.log(g / b)).sum()), adjusted)


def _hull(curve: Roc) -> tuple[FloatArray, FloatArray]:
    """The upper convex hull of a ROC curve."""
    points: list[tuple[float, float]] = []
    for x, y in zip(curve.false_positive.tolist(), curve.true_positive.tolist(), strict=True):
        while len(points) > 1:
            (x0, y0), (x1, y1) = points[-2], points[-1]
            if (x1 - x0) * (y - y0) < (y1 - y0) * (x - x0):
                break
            points.pop()
        if points and points[-1] == (x, y):
            continue
        points.append((x, y))
    return np.array([p[0] for p in points]), np.array([p[1] for p in points])


def h_measure(
    score: FloatArray | IntArray, label: IntArray, severity: tuple[float, float] | None = None
) -> float | None:
    """Hand's H: 1 less the expected least loss over that of the best trivial rule.

    The cost of rejecting a non-default, c in [0, 1], has a Beta distribution. Its default here is
    Beta(1 + share of defaults, 1 + share of non-defaults), mode at the share of defaults (Hand &
    Anagnostopoulos 2014); ``severity=(2, 2)`` is Hand (2009). The loss at c is
    c pi0 F0 + (1 - c) pi1 (1 - F1) at the best threshold, integrated exactly over the convex hull.
    """
    curve = roc(score, label)
    if curve is None:
        return None
    pi1 = float(label.sum() / len(label))
    pi0 = 1 - pi1
    a, b = severity if severity is not None else (1 + pi1, 1 + pi0)
    x, y = _hull(curve)
    # between hull points the threshold k+1 is better than k where c pi0 dx < (1 - c) pi1 dy
    rise, run = pi1 * np.diff(y), pi0 * np.diff(x)
    switch = np.r_[1.0, rise / (rise + run), 0.0]
    mean = a / (a + b)

    def mass(u: FloatArray) -> FloatArray:
        return np.asarray(betainc(a, b, u))

    def first(u: FloatArray) -> FloatArray:
        # integral of c over the density up to u
        return mean * np.asarray(betainc(a + 1, b, u))

    upper, lower = switch[:-1], switch[1:]
    part = first(upper) - first(lower)
    rest = (mass(upper) - mass(lower)) - part
    loss = float((pi0 * x * part + pi1 * (1 - y) * rest).sum())
    trivial = pi0 * float(first(np.asarray(pi1))) + pi1 * (
        1 - float(mass(np.asarray(pi1))) - (mean - float(first(np.asarray(pi1))))
    )
    return finite(1 - loss / trivial)
