"""AUC with its variance, the tests on it, and the ECB's AUC on grades.

The AUC is the Mann-Whitney statistic, P(S1 > S0) + P(S1 = S0) / 2. Its variance is DeLong's
(DeLong, DeLong & Clarke-Pearson 1988), unbiased in both components, by the ranks of Sun & Xu (2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

from data_contracts.units import FloatArray, IntArray
from training.validation.result import Test, finite, normal_detectable

CONFIDENCE: Final = 0.95
SCORES = FloatArray | IntArray


@dataclass(frozen=True)
class Auc:
    """An AUC, DeLong's variance, and the two-sided interval of the normal approximation.

    ``variance``, ``low`` and ``high`` are None with fewer than two cases of an outcome; the
    interval is clipped to [0, 1].
    """

    value: float | None
    variance: float | None
    low: float | None
    high: float | None
    positives: int
    negatives: int


@dataclass(frozen=True)
class _Placements:
    auc: float
    of_positives: FloatArray
    of_negatives: FloatArray

    @property
    def variance(self) -> float:
        if min(len(self.of_positives), len(self.of_negatives)) < 2:
            return math.nan
        return float(
            np.var(self.of_positives, ddof=1) / len(self.of_positives)
            + np.var(self.of_negatives, ddof=1) / len(self.of_negatives)
        )


def _placements(score: SCORES, label: IntArray) -> _Placements | None:
    """Each positive's share of negatives below it, and each negative's of positives above it."""
    positive, negative = score[label == 1], score[label == 0]
    if len(positive) + len(negative) != len(label):
        raise ValueError("labels must be 0 or 1; leave censored rows out")
    if not len(positive) or not len(negative):
        return None
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    of_positives = (ranks[: len(positive)] - stats.rankdata(positive)) / len(negative)
    of_negatives = 1 - (ranks[len(positive) :] - stats.rankdata(negative)) / len(positive)
    return _Placements(float(of_positives.mean()), of_positives, of_negatives)


def auc_delong(score: SCORES, label: IntArray, confidence: float = CONFIDENCE) -> Auc:
    """AUC of a score against labels 0 and 1.

    >>> auc_delong(np.array([1, 2, 2, 3]), np.array([0, 0, 1, 1])).value
    0.875
    """
    placed = _placements(score, label)
    positives = int((label == 1).sum())
    if placed is None:
        return Auc(None, None, None, None, positives, len(label) - positives)
    variance = finite(placed.variance)
    half = None if variance is None else float(ndtri((1 + confidence) / 2)) * math.sqrt(variance)
    return Auc(
        placed.auc,
        variance,
        None if half is None else max(0.0, placed.auc - half),
        None if half is None else min(1.0, placed.auc + half),
        positives,
        len(label) - positives,
    )


def auc_paired(first: SCORES, second: SCORES, label: IntArray) -> Test:
    """DeLong's test that two scores of the same cases have one AUC; two-sided.

    The statistic is (AUC_first - AUC_second) / s with the covariance of their placements.
    """
    null = "both scores have the same AUC"
    a, b = _placements(first, label), _placements(second, label)
    if a is None or b is None or math.isnan(a.variance):
        return Test(None, None, "two-sided", null)
    covariance = auc_covariance(first, second, label)
    variance = a.variance + b.variance - 2 * (covariance or 0.0)
    if variance <= 0:
        # the same ranking: the difference is zero without error
        return Test(None, None, "two-sided", null)
    z = (a.auc - b.auc) / math.sqrt(variance)
    return Test(
        z, float(2 * ndtr(-abs(z))), "two-sided", null,
        detectable=normal_detectable(math.sqrt(variance), "two-sided"), detectable_unit="AUC",
    )  # fmt: skip


def auc_covariance(first: SCORES, second: SCORES, label: IntArray) -> float | None:
    """DeLong's covariance of the AUCs of two scores of the same cases."""
    a, b = _placements(first, label), _placements(second, label)
    if a is None or b is None or math.isnan(a.variance):
        return None
    return float(
        np.cov(a.of_positives, b.of_positives)[0, 1] / len(a.of_positives)
        + np.cov(a.of_negatives, b.of_negatives)[0, 1] / len(a.of_negatives)
    )


def auc_unpaired(first: tuple[SCORES, IntArray], second: tuple[SCORES, IntArray]) -> Test:
    """DeLong's test that scores of different cases have one AUC; two-sided.

    Student's t with Welch's degrees of freedom over all cases of each sample, as R's pROC does.
    """
    null = "both samples have the same AUC"
    a, b = _placements(*first), _placements(*second)
    if a is None or b is None or math.isnan(a.variance + b.variance):
        return Test(None, None, "two-sided", null)
    variance = a.variance + b.variance
    if variance <= 0:
        return Test(None, None, "two-sided", null)
    t = (a.auc - b.auc) / math.sqrt(variance)
    df = variance**2 / (a.variance**2 / (len(first[1]) - 1) + b.variance**2 / (len(second[1]) - 1))
    return Test(
        t, float(2 * stats.t.sf(abs(t), df)), "two-sided", null, df=df,
        detectable=normal_detectable(math.sqrt(variance), "two-sided"), detectable_unit="AUC",
        convention="Welch degrees of freedom over all cases of each sample (pROC)",
    )  # fmt: skip


def auc_initial_current(auc_initial: float, grade: IntArray, label: IntArray) -> Test:
    """The ECB's test that discrimination has not fallen since initial validation; one-sided.

    S = (AUC_init - AUC_curr) / s and p = 1 - Phi(S), on grades, not on continuous PD; AUC_init is
    a constant, s is DeLong's (ECB, Instructions for reporting the validation results of internal
    models, February 2019, 2.5.4.1 and Annex 1).
    """
    null = "the current AUC is not below the initial one"
    current = auc_delong(grade, label)
    if current.value is None or not current.variance:
        return Test(None, None, "one-sided", null, convention="AUC on grades, ties count 1/2")
    s = math.sqrt(current.variance)
    statistic = (auc_initial - current.value) / s
    return Test(
        statistic, float(ndtr(-statistic)), "one-sided", null,
        detectable=normal_detectable(s, "one-sided"), detectable_unit="AUC",
        convention="AUC on grades, ties count 1/2; the initial AUC is a constant",
    )  # fmt: skip


def period_ranks(grade: SCORES, period: IntArray) -> FloatArray:
    """Each grade as its rank within its period: the share of that period's cases at or below it."""
    out = np.empty(len(grade), dtype=np.float64)
    for one in np.unique(period):
        here = period == one
        ordered = np.sort(grade[here])
        out[here] = np.searchsorted(ordered, grade[here], side="right") / here.sum()
    return out


def auc_pooled(grade: SCORES, label: IntArray, period: IntArray) -> Auc:
    """One AUC over several one-year periods, for few defaults (ECB 2019, Annex 1).

    The grade is replaced by ``period_ranks``, so that a shift of the whole book between periods
    is not mistaken for discrimination.
    """
    return auc_delong(period_ranks(grade, period), label)


def somers_d(score: SCORES, label: IntArray) -> Auc:
    """Somers' D of the score given the outcome: (concordant - discordant) / pairs of both outcomes.

    Ties count nothing, so D = 2 AUC - 1, and its variance is four times DeLong's. The accuracy
    ratio of the CAP curve is the same number.
    """
    found = auc_delong(score, label)

    def of(value: float | None) -> float | None:
        return None if value is None else 2 * value - 1

    variance = None if found.variance is None else 4 * found.variance
    return Auc(
        of(found.value), variance, of(found.low), of(found.high), found.positives, found.negatives
    )
