"""Tests over several years, and traffic lights: BCBS Working Paper 14, and Basel's of 1996."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import cache
from typing import Final

import numpy as np
from scipy.special import bdtr, bdtrc, ndtr, ndtri

from data_contracts.units import FloatArray, IntArray
from training.validation.result import Test, normal_detectable

COLOURS: Final = ("green", "yellow", "orange", "red")
COLOUR_SHARES: Final = (Fraction(1, 2), Fraction(3, 10), Fraction(3, 20), Fraction(1, 20))
"""Chance of each colour in a year where the PD is right."""
COLOUR_WORTH: Final = (1000, 100, 10, 1)
BASEL_ZONES: Final = (("green", 0.95), ("yellow", 0.9999), ("red", 1.0))
"""Zones by the cumulative probability of the exceptions (BCBS, January 1996)."""
PLUS_FACTORS: Final = (0.0, 0.0, 0.0, 0.0, 0.0, 0.40, 0.50, 0.65, 0.75, 0.85, 1.00)
"""Plus factor by exceptions among 250 days at 1 %; the last is for ten and more."""


def normal_test(pd: FloatArray, default_rate: FloatArray, *, unbiased: bool = True) -> Test:
    """Mean of (default rate - PD) over years against its own spread; one-sided.

    z = sum d / sqrt(T tau^2), tau^2 = (sum d^2 - (sum d)^2 / T) / (T - 1), or sum d^2 / (T - 1)
    where not ``unbiased`` (BCBS Working Paper 14, III). Allows for defaults that move together
    within a year, not for years that do.
    """
    null = "the default rates are not above the PDs"
    years = len(pd)
    d = default_rate - pd
    convention = f"{years} years; tau^2 " + ("about the mean" if unbiased else "about zero")
    if years < 2:
        return Test(None, None, "one-sided", null, convention=convention)
    square = float((d**2).sum())
    tau2 = (square - (float(d.sum()) ** 2 / years if unbiased else 0.0)) / (years - 1)
    if tau2 <= 1e-30:
        return Test(None, None, "one-sided", null, convention=convention)
    z = float(d.sum()) / math.sqrt(years * tau2)
    return Test(
        z, float(ndtr(-z)), "one-sided", null, detectable_unit="PD", convention=convention,
        detectable=normal_detectable(math.sqrt(tau2 / years), "one-sided"),
    )  # fmt: skip


def year_colour(cases: int, defaults: int, pd: float) -> str | None:
    """Colour of one year: its default rate against the normal quantiles of ``COLOUR_SHARES``."""
    if cases <= 0 or not 0 < pd < 1:
        return None
    z = (defaults / cases - pd) / math.sqrt(pd * (1 - pd) / cases)
    edge = Fraction(0)
    for colour, share in zip(COLOURS[:-1], COLOUR_SHARES[:-1], strict=True):
        edge += share
        if z <= ndtri(float(edge)):
            return colour
    return COLOURS[-1]


def traffic_score(counts: tuple[int, int, int, int]) -> int:
    """V = 1000 green + 100 yellow + 10 orange + red; low is bad."""
    return sum(c * w for c, w in zip(counts, COLOUR_WORTH, strict=True))


@cache
def _distribution(years: int) -> tuple[tuple[int, Fraction], ...]:
    found: dict[int, Fraction] = {}
    for counts in itertools.product(range(years + 1), repeat=4):
        if sum(counts) != years:
            continue
        ways = Fraction(math.factorial(years))
        for c, q in zip(counts, COLOUR_SHARES, strict=True):
            ways *= q**c / math.factorial(c)
        v = traffic_score((counts[0], counts[1], counts[2], counts[3]))
        found[v] = found.get(v, Fraction(0)) + ways
    return tuple(sorted(found.items()))


def traffic_critical(years: int, confidence: Fraction) -> tuple[int, Fraction] | None:
    """The critical V and its exact size: the greatest v with P(V <= v) < 1 - confidence.

    Blochwitz, Hohl & Wehn, in BCBS Working Paper 14: reject where V <= v. None where no v is
    rare enough.

    >>> traffic_critical(5, Fraction(19, 20))[0]
    1121
    """
    below, found = Fraction(0), None
    for v, share in _distribution(years):
        below += share
        if below >= 1 - confidence:
            break
        found = (v, below)
    return found


def multi_year_traffic_light(cases: IntArray, defaults: IntArray, pd: FloatArray) -> Test:
    """V of the years' colours with its exact p-value P(V' <= V); one-sided."""
    null = "the PDs are right in every year, years independent"
    colours = [
        year_colour(int(n), int(d), float(p)) for n, d, p in zip(cases, defaults, pd, strict=True)
    ]
    known = [c for c in colours if c is not None]
    shown = ", ".join(known)
    if not known:
        return Test(None, None, "one-sided", null)
    one, two, three, four = (known.count(c) for c in COLOURS)
    v = traffic_score((one, two, three, four))
    p = float(sum(share for at, share in _distribution(len(known)) if at <= v))
    return Test(float(v), p, "one-sided", null, convention=f"{len(known)} years: {shown}")


def basel_zone(exceptions: int, days: int = 250, level: float = 0.01) -> tuple[str, float | None]:
    """Zone of a count of exceptions, and the plus factor, which is set for 250 days at 1 % only."""
    cumulative = float(bdtr(exceptions, days, level))
    zone = next((z for z, most in BASEL_ZONES if cumulative < most), "red")
    plus = PLUS_FACTORS[min(exceptions, 10)] if (days, level) == (250, 0.01) else None
    return zone, plus


def exceptions_tail(exceptions: int, days: int = 250, level: float = 0.01) -> float:
    """Chance of as many exceptions or more where the level is right."""
    return 1.0 if exceptions == 0 else float(np.asarray(bdtrc(exceptions - 1, days, level)))
