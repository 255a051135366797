"""Differences between two models on the same cases, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri
from scipy.stats import t as student

from data_contracts.units import FloatArray, IntArray
from training.validation.discrimination import auc_covariance, auc_delong, auc_paired
from training.validation.result import Test

Z: Final = float(ndtri(0.975))
ROUNDING: Final = 1e-12


@dataclass(frozen=True)
class Difference:
    """Challenger less champion with a 95 % interval; None where undefined."""

    value: float | None
    low: float | None
    high: float | None
    test: Test | None = None


def auc_difference(champion: IntArray, challenger: IntArray, label: IntArray) -> Difference:
    """AUC of the challenger less the champion's, DeLong's paired interval and test.

    Cases are taken as independent. Where both rank alike the difference is 0 without error.
    """
    one, two = auc_delong(champion, label), auc_delong(challenger, label)
    if one.value is None or two.value is None:
        return Difference(None, None, None)
    value = two.value - one.value
    covariance = auc_covariance(champion, challenger, label)
    if one.variance is None or two.variance is None or covariance is None:
        return Difference(value, None, None)
    whole = one.variance + two.variance
    variance = whole - 2 * covariance
    # what is left of the subtraction below its rounding is nothing
    half = Z * math.sqrt(variance) if variance > ROUNDING * whole else 0.0
    return Difference(value, value - half, value + half, auc_paired(challenger, champion, label))


def clustered_mean(values: FloatArray, cluster: IntArray) -> Difference:
    """Mean of paired differences, its interval by clusters that are independent of each other.

    Student's t with clusters - 1 degrees of freedom on the sums of each cluster's residuals; None
    ends with fewer than two clusters.
    """
    if not len(values):
        return Difference(None, None, None)
    value = float(values.mean())
    known, place = np.unique(cluster, return_inverse=True)
    if len(known) < 2:
        return Difference(value, None, None)
    sums = np.bincount(place, weights=values - value, minlength=len(known))
    factor = len(known) / (len(known) - 1)
    error = math.sqrt(factor * float((sums**2).sum())) / len(values)
    half = float(student.ppf(0.975, len(known) - 1)) * error
    return Difference(value, value - half, value + half)


def brier_difference(
    pds: tuple[FloatArray, FloatArray], label: IntArray, cluster: IntArray
) -> Difference:
    """Brier score of the challenger less the champion's; below 0 the challenger is better."""
    champion, challenger = ((p - label) ** 2 for p in pds)
    return clustered_mean(challenger - champion, cluster)
