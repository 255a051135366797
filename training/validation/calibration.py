"""Do defaults happen as often as predicted? Tests by grade, over the book, and on single cases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats
from scipy.special import bdtrc, betaincinv, chdtrc, ndtr, ndtri

from data_contracts.units import FloatArray, IntArray
from models.gate.measures import jeffreys_p
from training.validation.result import (
    ALPHA,
    POWER,
    Test,
    detectable_noncentrality,
    finite,
    normal_detectable,
)

NEWTON_STEPS: Final = 100
NEWTON_TOLERANCE: Final = 1e-12
FACTOR_NODES: Final = np.linspace(-10.0, 10.0, 1601)
"""Nodes of the trapezoidal rule over the common factor, which converges geometrically there."""


def detectable_pd(cases: int, pd: float, alpha: float = ALPHA) -> float | None:
    """The least true PD above ``pd`` that the one-sided binomial test finds with ``POWER``.

    The test rejects from the smallest number of defaults whose upper tail is at most ``alpha``; the
    answer p' solves P(defaults >= that number | p') = ``POWER``. None where no number rejects.
    """
    if cases <= 0 or not 0 < pd < 1:
        return None
    critical = int(stats.binom.isf(alpha, cases, pd)) + 1
    if critical > cases:
        return None
    return float(betaincinv(critical, cases - critical + 1, POWER))


def jeffreys(cases: int, defaults: int, pd: float) -> Test:
    """Jeffreys test of a PD: p = BetaCDF(PD; D + 1/2, N - D + 1/2); one-sided.

    H0: the applied PD is not below the true one (ECB 2019, 2.5.3.1: small p-values speak against
    it). The prior is Beta(1/2, 1/2).
    """
    null = "the applied PD is not below the true default rate"
    if cases <= 0:
        return Test(None, None, "one-sided", null)
    p = jeffreys_p(cases, defaults, pd)
    found = detectable_pd(cases, pd)
    return Test(
        defaults / cases, p, "one-sided", null,
        detectable=None if found is None else found - pd, detectable_unit="PD",
        convention="Beta(1/2, 1/2) prior; the detectable shift is that of the binomial test",
    )  # fmt: skip


def binomial(cases: int, defaults: int, pd: float) -> Test:
    """Exact binomial test, p = P(X >= D | N, PD); one-sided, defaults independent."""
    null = "the default rate is not above the applied PD, defaults independent"
    if cases <= 0:
        return Test(None, None, "one-sided", null)
    p = 1.0 if defaults == 0 else float(bdtrc(defaults - 1, cases, pd))
    found = detectable_pd(cases, pd)
    return Test(
        defaults / cases, p, "one-sided", null,
        detectable=None if found is None else found - pd, detectable_unit="PD",
    )  # fmt: skip


def normal_score(cases: int, defaults: int, pd: float) -> Test:
    """Normal approximation of the binomial test, z = (rate - PD) / sqrt(PD (1 - PD) / N); one-sided.

    For comparison with other tools only: the exact test is ``binomial``.
    """
    null = "the default rate is not above the applied PD, defaults independent"
    if cases <= 0 or not 0 < pd < 1:
        return Test(None, None, "one-sided", null)
    z = (defaults / cases - pd) / math.sqrt(pd * (1 - pd) / cases)
    return Test(z, float(ndtr(-z)), "one-sided", null, convention="normal approximation")


@dataclass(frozen=True)
class CorrelatedBinomial:
    """Vasicek's one-factor test: tail of the observed defaults and critical numbers.

    ``critical`` is the least k with P(X >= k) <= alpha; ``critical_limit`` its large-book limit,
    N Phi((sqrt(rho) Phi^-1(1 - alpha) + Phi^-1(PD)) / sqrt(1 - rho)) (BCBS Working Paper 14).
    """

    test: Test
    critical: int | None
    critical_limit: float | None
    correlation: float
    alpha: float


def _conditional_pd(pd: float, correlation: float) -> tuple[FloatArray, FloatArray]:
    """PD at nodes of the common factor, and the nodes' weights."""
    weights = np.exp(-(FACTOR_NODES**2) / 2)
    conditional = ndtr(
        (ndtri(pd) + math.sqrt(correlation) * FACTOR_NODES) / math.sqrt(1 - correlation)
    )
    return conditional, weights / weights.sum()


def correlated_binomial(
    cases: int, defaults: int, pd: float, correlation: float, alpha: float = ALPHA
) -> CorrelatedBinomial:
    """The binomial test where defaults share one normal factor; one-sided.

    Parameters
    ----------
    correlation : asset correlation, in [0, 1); 0 is the plain binomial test
    """
    null = "the default rate is not above the applied PD, one common factor"
    convention = f"asset correlation {correlation:g}, one normal factor"
    if cases <= 0 or not 0 < pd < 1:
        none = Test(None, None, "one-sided", null, convention=convention)
        return CorrelatedBinomial(none, None, None, correlation, alpha)
    if correlation == 0:
        conditional, weight = np.array([pd]), np.array([1.0])
    else:
        conditional, weight = _conditional_pd(pd, correlation)

    def tail(k: int) -> float:
        return 1.0 if k <= 0 else float((weight * bdtrc(k - 1, cases, conditional)).sum())

    low, high = 0, cases + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tail(middle) <= alpha else (middle, high)
    limit = cases * float(
        ndtr((math.sqrt(correlation) * ndtri(1 - alpha) + ndtri(pd)) / math.sqrt(1 - correlation))
    )
    test = Test(defaults / cases, tail(defaults), "one-sided", null, convention=convention)
    return CorrelatedBinomial(test, high, limit, correlation, alpha)


def hosmer_lemeshow(
    cases: IntArray, defaults: IntArray, pd: FloatArray, *, exogenous: bool = True
) -> Test:
    """Sum over grades of (D - N PD)^2 / (N PD (1 - PD)) against chi-square; two-sided in effect.

    Degrees of freedom are the number G of grades with a case where the PDs were not fitted on these
    cases (``exogenous``, validation), and G - 2 in the sample that a logistic model was fitted on
    (Hosmer & Lemeshow 1980). The answer says which.
    """
    used = cases > 0
    n, d, p = cases[used].astype(float), defaults[used].astype(float), pd[used]
    df = int(used.sum()) - (0 if exogenous else 2)
    convention = (
        f"df = {df}: "
        + ("one for each grade, PDs fixed beforehand" if exogenous else "grades less 2, in-sample")
        + "; needs N PD of about 5 in each grade"
    )
    null = "every grade's PD is right, defaults independent"
    if df <= 0 or bool(((p <= 0) | (p >= 1)).any()):
        return Test(None, None, "two-sided", null, df=max(df, 0), convention=convention)
    statistic = float(((d - n * p) ** 2 / (n * p * (1 - p))).sum())
    # PDs all wrong by a factor 1 + f give noncentrality f^2 sum N PD / (1 - PD)
    shift = math.sqrt(detectable_noncentrality(df) / float((n * p / (1 - p)).sum()))
    return Test(
        statistic,
        float(chdtrc(df, statistic)),
        "two-sided",
        null,
        df=df,
        detectable=shift,
        detectable_unit="share of every PD",
        convention=convention,
    )


def spiegelhalter(probability: FloatArray, label: IntArray) -> Test:
    """Spiegelhalter's z on single cases: sum (y - p)(1 - 2p) over its standard error; two-sided.

    Row by row, never on averages of grades, which give another number (Spiegelhalter 1986).
    """
    null = "every probability is right"
    slope = 1 - 2 * probability
    variance = float((slope**2 * probability * (1 - probability)).sum())
    if variance <= 0:
        return Test(None, None, "two-sided", null)
    z = float(((label - probability) * slope).sum()) / math.sqrt(variance)
    # probabilities all wrong by a factor 1 + f move the sum by f sum p (1 - 2p)
    lever = abs(float((probability * slope).sum()))
    shift = normal_detectable(math.sqrt(variance) / lever, "two-sided") if lever > 0 else None
    return Test(
        z,
        float(2 * ndtr(-abs(z))),
        "two-sided",
        null,
        detectable=shift,
        detectable_unit="share of every PD",
    )


@dataclass(frozen=True)
class Cox:
    """Cox's recalibration: y on a + b logit(p).

    Attributes
    ----------
    intercept, slope : a and b; a right model has 0 and 1
    covariance : 2 x 2, of a and b
    joint : likelihood-ratio test of a = 0 and b = 1, two-sided, 2 degrees of freedom
    in_the_large, in_the_large_error : a with b = 1, and its standard error
    likelihood_ratio : of the recalibrated model against a constant
    """

    intercept: float | None
    slope: float | None
    covariance: FloatArray | None
    joint: Test
    in_the_large: float | None
    in_the_large_error: float | None
    likelihood_ratio: float | None

    def slope_error(self) -> float | None:
        """Standard error of the slope."""
        return None if self.covariance is None else math.sqrt(float(self.covariance[1, 1]))


def _log_likelihood(p: FloatArray, label: IntArray) -> float:
    return float(np.log(np.where(label == 1, p, 1 - p)).sum())


def _expit(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def _newton(
    design: FloatArray, offset: FloatArray, label: IntArray
) -> tuple[FloatArray, FloatArray] | None:
    """Coefficients and their covariance of a logistic regression; None where it has no solution."""
    beta = np.zeros(design.shape[1])
    for _ in range(NEWTON_STEPS):
        p = _expit(offset + design @ beta)
        hessian = design.T @ (design * (p * (1 - p))[:, None])
        if np.linalg.cond(hessian) > 1e14:
            return None
        step = np.linalg.solve(hessian, design.T @ (label - p))
        # a full step may overshoot where the start is far off
        beta = beta + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        if float(np.abs(step).max()) < NEWTON_TOLERANCE:
            return beta, np.asarray(np.linalg.inv(hessian), dtype=np.float64)
    return None


def cox(probability: FloatArray, label: IntArray) -> Cox:
    """Intercept and slope of the outcome on the predicted log-odds (Cox 1958).

    Undefined where a probability is 0 or 1, all labels agree, or the outcome is separated.
    """
    null = "intercept 0 and slope 1"
    none = Test(None, None, "two-sided", null, df=2)
    inside = (probability > 0) & (probability < 1)
    if not bool(inside.all()) or int(label.sum()) in (0, len(label)):
        return Cox(None, None, None, none, None, None, None)
    x = np.log(probability / (1 - probability))
    ones = np.ones(len(x))
    flat = np.ptp(x) == 0
    both = None if flat else _newton(np.column_stack([ones, x]), np.zeros(len(x)), label)
    level = _newton(ones[:, None], x, label)
    large, error = (
        (None, None) if level is None else (float(level[0][0]), math.sqrt(float(level[1][0, 0])))
    )
    if both is None:
        return Cox(None, None, None, none, large, error, None)
    (a, b), covariance = both
    fitted = _log_likelihood(_expit(a + b * x), label)
    lr = 2 * (fitted - _log_likelihood(probability, label))
    rate = float(label.mean())
    constant = _log_likelihood(np.full(len(label), rate), label)
    errors = np.sqrt(np.diag(covariance))
    joint = Test(
        lr,
        float(chdtrc(2, max(lr, 0.0))),
        "two-sided",
        null,
        df=2,
        detectable=normal_detectable(float(errors[1]), "two-sided"),
        detectable_unit="slope",
        convention="likelihood ratio",
    )
    return Cox(
        float(a), float(b), covariance, joint, large, error,
        finite(2 * (fitted - constant)),
    )  # fmt: skip


def expected_zone(cases: int, defaults: int) -> tuple[float | None, float | None]:
    """Two-sided 95 % Jeffreys interval of a default rate; ends at 0 and 1 for none and for all."""
    if cases <= 0:
        return None, None
    a, b = defaults + 0.5, cases - defaults + 0.5
    low = 0.0 if defaults == 0 else float(betaincinv(a, b, 0.025))
    high = 1.0 if defaults == cases else float(betaincinv(a, b, 0.975))
    return low, high


LEAST_PERIODS: Final = 4
"""Fewer periods say nothing about how much periods differ."""


def observed_to_expected(
    probability: FloatArray,
    label: IntArray,
    period: IntArray | None = None,
    periods: int | None = None,
) -> tuple[float | None, Test]:
    """Events over expected events, and the two-sided test that the ratio is 1.

    Without ``period`` events are independent: the variance of their number is sum p (1 - p), the
    statistic normal. With at least ``LEAST_PERIODS`` periods it is that of the periods' own
    differences, C / (C - 1) sum (d_c - mean d)^2, never less than the former, and the statistic has
    Student's t with C - 1 degrees of freedom: events of one period share its market. For a slice
    of a book ``periods`` is the book's own number of them: one in which the slice has no case
    differs by nothing, so a slice that lies in one period is one observation.
    """
    null = "as many events as predicted"
    expected = float(probability.sum())
    variance = float((probability * (1 - probability)).sum())
    if expected <= 0 or variance <= 0:
        return None, Test(None, None, "two-sided", null)
    difference = float(label.sum()) - expected
    known = np.zeros(0) if period is None else np.unique(period)
    count = max(len(known), periods or 0)
    if period is not None and count >= LEAST_PERIODS:
        place = np.searchsorted(known, period)
        d = np.bincount(place, weights=label - probability, minlength=count)
        variance = max(variance, float(((d - d.mean()) ** 2).sum()) * count / (count - 1))
        law, convention = stats.t(count - 1), f"{count} periods, t with {count - 1} df"
        df: float | None = count - 1
    else:
        law, convention, df = stats.norm(), "events independent", None
    z = difference / math.sqrt(variance)
    detectable = float(law.isf(ALPHA / 2) + law.ppf(POWER)) * math.sqrt(variance) / expected
    return float(label.sum()) / expected, Test(
        z,
        float(2 * law.sf(abs(z))),
        "two-sided",
        null,
        df=df,
        detectable=detectable,
        detectable_unit="share of expected events",
        convention=convention,
    )
