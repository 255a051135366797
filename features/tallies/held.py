"""The loop over holdings, compiled: what each account held was worth at every session."""

from __future__ import annotations

import numpy as np

from data_contracts.units import IntArray
from features.tallies.kernel import compiled


@compiled
def held_value(
    account: IntArray,
    symbol: IntArray,
    start: IntArray,
    end: IntArray,
    quantity: IntArray,
    close: IntArray,
    accounts: int,
) -> IntArray:
    """Sum of quantity times close, shape (accounts, sessions), of intervals with both ends.

    ``close`` has shape (symbols, sessions) and 0 where there is no price.
    """
    value = np.zeros((accounts, close.shape[1]), dtype=np.int64)
    for k in range(len(account)):
        of, name, held = account[k], symbol[k], quantity[k]
        for s in range(start[k], end[k] + 1):
            value[of, s] += held * close[name, s]
    return value
