"""Square-root impact of a sale, in integers.

Price impact = volatility x sqrt(shares / average daily volume): exponent 0.489 +- 0.0015 over all
stocks of the Tokyo exchange (Sato & Kanazawa 2024, arXiv 2411.13965).
"""

from __future__ import annotations

from math import isqrt
from typing import Final

from data_contracts.units import RATIO_ONE

UNKNOWN_IMPACT: Final = RATIO_ONE
"""Impact where no volume is known: all of the value, so that such a name is sold last."""


def impact_ratio(shares: int, adv_shares: int, volatility_ratio: int) -> int:
    """Price impact of selling ``shares`` in a session, 1e-6, rounded up, at most one.

    >>> impact_ratio(10_000, 1_000_000, 30_000)
    3000
    """
    if shares <= 0:
        return 0
    if adv_shares <= 0:
        return UNKNOWN_IMPACT
    root = isqrt(shares * RATIO_ONE * RATIO_ONE // adv_shares) + 1
    exact = isqrt(shares * RATIO_ONE * RATIO_ONE // adv_shares)
    if exact * exact * adv_shares == shares * RATIO_ONE * RATIO_ONE:
        root = exact
    return min(-(-volatility_ratio * root // RATIO_ONE), RATIO_ONE)
