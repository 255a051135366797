"""What a test answers: statistic, p-value with its side, and what it could have seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from scipy.special import ndtri
from scipy.stats import chi2, false_discovery_control, ncx2

Side = Literal["one-sided", "two-sided"]

POWER: Final = 0.8
"""Power at which the detectable shift is stated."""
ALPHA: Final = 0.05
"""Level at which the detectable shift is stated."""


def finite(value: float) -> float | None:
    """The number, None where it is undefined.

    >>> finite(float("nan")), finite(0.5)
    (None, 0.5)
    """
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class Test:
    """One hypothesis test.

    Attributes
    ----------
    statistic, p_value : None where undefined
    side : ``one-sided`` or ``two-sided``
    null : the hypothesis that a small p-value speaks against, in words
    df : degrees of freedom, where there are any
    detectable : the least shift, in ``detectable_unit``, that the test finds with probability
        ``POWER`` at level ``ALPHA``; None where it is not known
    convention : what else had to be chosen
    """

    statistic: float | None
    p_value: float | None
    side: Side
    null: str
    df: float | None = None
    detectable: float | None = None
    detectable_unit: str = ""
    convention: str = ""

    # not a test case of pytest's
    __test__ = False

    def as_dict(self) -> dict[str, Any]:
        """Every attribute by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def normal_detectable(standard_error: float, side: Side) -> float | None:
    """Least shift of a normal statistic's mean that is found with ``POWER``, in its own unit.

    (z_{1-alpha} + z_{power}) x standard error, with alpha/2 for a two-sided test.
    """
    alpha = ALPHA if side == "one-sided" else ALPHA / 2
    return finite((ndtri(1 - alpha) + ndtri(POWER)) * standard_error)


def detectable_noncentrality(df: int) -> float:
    """Least noncentrality that a chi-square test at ``ALPHA`` finds with ``POWER``."""
    critical = float(chi2.isf(ALPHA, df))
    low, high = 0.0, 1.0
    while ncx2.sf(critical, df, high) < POWER:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if ncx2.sf(critical, df, middle) < POWER else (low, middle)
    return high


def false_discovery(p_values: Sequence[float | None]) -> list[float | None]:
    """Benjamini-Hochberg q-values beside p-values; None stays None and is not counted.

    They control the expected share of false ones among what is called a finding, for independent
    or positively dependent tests (Benjamini & Hochberg 1995; Benjamini & Yekutieli 2001).

    >>> false_discovery([0.01, None, 0.04])
    [0.02, None, 0.04]
    """
    known = [k for k, p in enumerate(p_values) if p is not None]
    out: list[float | None] = [None] * len(p_values)
    if known:
        q = false_discovery_control(np.array([p_values[k] for k in known], dtype=np.float64))
        for k, value in zip(known, q, strict=True):
            out[k] = float(value)
    return out


def family_wise(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down p-values, which bound the chance of any false finding (Holm 1979).

    >>> family_wise([0.01, None, 0.04])
    [0.02, None, 0.04]
    """
    known = sorted((p, k) for k, p in enumerate(p_values) if p is not None)
    out: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, k) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        out[k] = largest
    return out
