"""Have the population, the grades or their spread changed? PSI, migrations, concentration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import chdtrc, ndtr

from data_contracts.units import FloatArray, IntArray
from models.stability import cells_of, counts_in, psi_of_counts, psi_of_shares
from training.validation.result import Test, detectable_noncentrality, normal_detectable

__all__ = [
    "Concentration", "Migration", "Psi", "cells_of", "concentration", "concentration_change",
    "counts_in", "matrix_weighted_bandwidth", "migration", "psi", "psi_of_shares",
]  # fmt: skip

Cells = list[list[float | None]]


@dataclass(frozen=True)
class Psi:
    """A population stability index.

    Attributes
    ----------
    value : sum (a - e) ln(a / e); None where a population is empty
    adjusted : half a case was added to every cell, because one was empty
    expected_by_chance : mean of the index between two samples of one population
    test : against chi-square, one-sided; None with fewer than two cells
    """

    value: float | None
    adjusted: bool
    expected_by_chance: float | None
    test: Test


def psi(expected: IntArray, actual: IntArray) -> Psi:
    """Population stability index of counts by cell, with what chance alone would give.

    Under equal populations PSI / (1/N + 1/M) is about chi-square with B - 1 degrees of freedom
    (Yurdakul & Naranjo 2020), so fixed cut-offs such as 0.25 mean different things in small and
    large books. A zero cell would make the index infinite: half a case is then added to every cell.
    """
    null = "both samples come from one population"
    found = psi_of_counts(expected, actual)
    value, adjusted, unit = found.value, found.adjusted, found.unit
    if found.by_chance is None:
        return Psi(None, False, None, Test(None, None, "one-sided", null))
    df = found.cells - 1
    if df < 1 or value is None:
        return Psi(value, adjusted, None, Test(None, None, "one-sided", null, df=0))
    test = Test(
        value, float(chdtrc(df, value / unit)), "one-sided", null, df=df,
        detectable=detectable_noncentrality(df) * unit, detectable_unit="PSI",
        convention="chi-square limit" + ("; half a case added to every cell" if adjusted else ""),
    )  # fmt: skip
    return Psi(value, adjusted, df * unit, test)


@dataclass(frozen=True)
class Migration:
    """Transitions between grades, and the z-tests of the ECB.

    Attributes
    ----------
    probability : K x (K+3): to each grade, default, other rating system, terminated
    z, p_value : K x K, None where undefined (on the diagonal, or 0 / 0); p = Phi(z), one-sided
    """

    probability: Cells
    z: Cells
    p_value: Cells


def migration(counts: IntArray) -> Migration:
    """Migration matrix and its stability tests (ECB 2019, 2.5.5.2).

    For j below the diagonal z compares p_{i,j+1} with p_ij, above it p_{i,j-1}: along a row a
    migration nearer the diagonal should not be rarer. N_i counts all destinations.

    Parameters
    ----------
    counts : customers, shape (K, K) or (K, K+3), from grade i at the start to column j at the end
    """
    grades = counts.shape[0]
    total = counts.sum(axis=1)
    z: Cells = [[None] * grades for _ in range(grades)]
    p: Cells = [[None] * grades for _ in range(grades)]
    share: Cells = []
    for i in range(grades):
        row = counts[i] / total[i] if total[i] else None
        share.append([None] * counts.shape[1] if row is None else [float(v) for v in row])
        if row is None:
            continue
        for j in range(grades):
            if j == i:
                continue
            here, near = row[j], row[j + 1] if j < i else row[j - 1]
            variance = (here * (1 - here) + near * (1 - near) + 2 * here * near) / total[i]
            if variance > 0:
                z[i][j] = float((near - here) / math.sqrt(variance))
                p[i][j] = float(ndtr(z[i][j]))
    return Migration(share, z, p)


def matrix_weighted_bandwidth(counts: IntArray) -> tuple[float | None, float | None]:
    """Lower and upper matrix weighted bandwidth (ECB 2019, 2.5.5.1).

    Sum of abs(i - j) N_ij over the triangle, divided by the sum over rows of
    max(K - i, i - 1) x (customers of that row in the triangle). Grades 1 to K only. Upper: j > i,
    downgrades where 1 is best.
    """
    grades = counts.shape[0]
    i, j = np.indices((grades, grades))
    square = counts[:, :grades]
    most = np.maximum(grades - 1 - i, i)

    def of(triangle: Any) -> float | None:
        whole = float((most * square)[triangle].sum())
        return float((np.abs(i - j) * square)[triangle].sum()) / whole if whole else None

    return of(j < i), of(j > i)


@dataclass(frozen=True)
class Concentration:
    """Spread of customers or exposure over grades (ECB 2019, 2.5.5.3).

    ``variation`` is sqrt(K sum (R_i - 1/K)^2); ``herfindahl`` is 1 + ln((CV^2 + 1) / K) / ln K:
    0 for equal shares, 1 for one grade; it is not the plain sum of squares.
    """

    variation: float | None
    herfindahl: float | None


def concentration(by_grade: FloatArray | IntArray) -> Concentration:
    """Coefficient of variation and Herfindahl index of a book over K grades."""
    total, grades = float(by_grade.sum()), len(by_grade)
    if total <= 0 or grades < 2:
        return Concentration(None, None)
    variation = math.sqrt(grades * float(((by_grade / total - 1 / grades) ** 2).sum()))
    return Concentration(variation, 1 + math.log((variation**2 + 1) / grades) / math.log(grades))


def concentration_change(current: IntArray, initial: IntArray) -> Test:
    """The ECB's test that concentration has not risen; one-sided, number-weighted.

    p = 1 - Phi(sqrt(K - 1) (CV_curr - CV_init) / sqrt(CV_curr^2 (0.5 + CV_curr^2))); undefined
    where the current CV is 0.
    """
    null = "the book is not more concentrated over grades than at initial validation"
    now, then = concentration(current).variation, concentration(initial).variation
    if not now or then is None:
        return Test(None, None, "one-sided", null)
    error = math.sqrt(now**2 * (0.5 + now**2) / (len(current) - 1))
    z = (now - then) / error
    return Test(
        z, float(ndtr(-z)), "one-sided", null,
        detectable=normal_detectable(error, "one-sided"), detectable_unit="CV",
    )  # fmt: skip
