"""Tests of a series of VaR and ES forecasts.

Kupiec 1995 (coverage), Christoffersen 1998 (independence and both together), Acerbi and Szekely 2014
(second test of the ES). All are two-sided but the last, whose alternative is an ES too small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import BoolArray, FloatArray


@dataclass(frozen=True)
class Test:
    """A statistic and the chance of one at least as far out if the model is right."""

    statistic: float
    p_value: float


def _chi2_sf(x: float, degrees: int) -> float:
    from scipy.stats import chi2

    return float(chi2.sf(x, degrees))


def _log_likelihood(hits: float, misses: float, p: float) -> float:
    """Of so many hits and misses at chance p, with 0 log 0 = 0."""
    out = 0.0
    if hits > 0:
        out += hits * np.log(p) if p > 0 else -np.inf
    if misses > 0:
        out += misses * np.log1p(-p) if p < 1 else -np.inf
    return float(out)


def kupiec(exceeded: BoolArray, chance: float) -> Test:
    """Likelihood ratio of the observed frequency against ``chance``, chi-squared with 1 degree.

    Raises
    ------
    InputError
        Without a session, or with a chance that is none.
    """
    n, x = len(exceeded), int(exceeded.sum())
    if n == 0 or not 0.0 < chance < 1.0:
        raise InputError(
            f"coverage needs sessions and a chance inside 0 to 1, not {n} and {chance}"
        )
    ratio = -2.0 * (_log_likelihood(x, n - x, chance) - _log_likelihood(x, n - x, x / n))
    return Test(max(ratio, 0.0), _chi2_sf(max(ratio, 0.0), 1))


def independence(exceeded: BoolArray) -> Test:
    """Likelihood ratio of a chance that depends on the session before, 1 degree of freedom.

    With no exceedance after another the statistic is what its likelihood is, small; with fewer than
    two exceedances nothing can depend on anything and it is 0.
    """
    before, now = exceeded[:-1], exceeded[1:]
    n01, n11 = float((~before & now).sum()), float((before & now).sum())
    n00, n10 = float((~before & ~now).sum()), float((before & ~now).sum())
    if n01 + n11 == 0 or n10 + n11 == 0:
        return Test(0.0, 1.0)
    p01, p11 = n01 / (n00 + n01), n11 / (n10 + n11)
    p = (n01 + n11) / (n00 + n01 + n10 + n11)
    alone = _log_likelihood(n01 + n11, n00 + n10, p)
    after = _log_likelihood(n01, n00, p01) + _log_likelihood(n11, n10, p11)
    ratio = max(-2.0 * (alone - after), 0.0)
    return Test(ratio, _chi2_sf(ratio, 1))


def christoffersen(exceeded: BoolArray, chance: float) -> Test:
    """Coverage and independence together: the sum of both, 2 degrees of freedom."""
    ratio = kupiec(exceeded, chance).statistic + independence(exceeded).statistic
    return Test(ratio, _chi2_sf(ratio, 2))


def acerbi_szekely(
    result: FloatArray, var: FloatArray, es: FloatArray, chance: float, drawn: FloatArray
) -> Test:
    """Z2 = sum of result x 1{result < -VaR} / (T chance ES) + 1: 0 if right, below if ES is small.

    Parameters
    ----------
    result : gains (losses negative), shape (T,)
    drawn : results drawn from the forecasts themselves, shape (M, T): the law of Z2 if they are right
    """

    def z(x: FloatArray) -> FloatArray:
        hit = x < -var
        total = np.where(hit, x / es, 0.0).sum(axis=-1)
        return np.asarray(total / (len(var) * chance) + 1.0)

    seen = float(z(result))
    return Test(seen, float((z(drawn) <= seen).mean()))
