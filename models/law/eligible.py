"""Names that may be bought on margin, and requests for names that may not."""

from __future__ import annotations

import numpy as np

from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, BoolArray, IntArray
from models.law import cfd
from models.policy import CONTRACTS, Policy


def may_be_financed(market: MarketSnapshot, policy: Policy) -> BoolArray:
    """Symbols that new borrowing may buy: on the list, and not crowded on the eve.

    A name whose margin debt has reached the exchange's share of its float is treated as stopped,
    because the exchange may stop it; it comes back when the exchange's list has it again.
    """
    if "crowding_stop_ratio" not in policy:
        return market.margin_eligible
    crowded = market.financing_ratio >= policy["crowding_stop_ratio"]
    return np.asarray(market.margin_eligible & ~crowded, dtype=bool)


def shut(
    buying: IntArray, market: MarketSnapshot, policy: Policy, professional: BoolArray
) -> BoolArray:
    """Whether new borrowing would buy a name that may not be bought on margin, shape (N,).

    ``buying`` holds positions in the snapshot, -1 for a name it does not know, ``NULL`` for none;
    what may not be sold to retail clients may be to a ``professional`` one.
    """
    at = np.maximum(buying, -1)
    eligible = np.append(may_be_financed(market, policy), False)
    closed = ~eligible[at]
    if policy.kind == CONTRACTS:
        closed |= np.append(cfd.closed_to_retail(market, policy), False)[at] & ~professional
    return np.asarray((buying != NULL) & closed, dtype=bool)


def stopped(ratios: IntArray, policy: Policy) -> BoolArray:
    """Names in which margin buying is stopped after a row of sessions, shape (N,).

    ``ratios`` has margin debt over tradable value, 1e-6, shape (T, N), ``NULL`` where unknown. A
    name stops at the exchange's share and stays so until a session below the lower one.
    """
    state = np.zeros(ratios.shape[1], dtype=bool)
    stop, resume = policy["crowding_stop_ratio"], policy["crowding_resume_ratio"]
    for row in ratios:
        known = row != NULL
        state = np.where(
            known & (row >= stop), True, np.where(known & (row < resume), False, state)
        )
    return state
