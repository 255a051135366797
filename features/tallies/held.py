"""The loop over holdings, compiled: what each account held was worth at every session."""

from __future__ import annotations

import numpy as np

from data_contracts.units import BoolArray, IntArray
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


@compiled
def spread(
    account: IntArray,
    session: IntArray,
    first: IntArray,
    second: IntArray,
    third: IntArray,
    known_at: IntArray,
    event_at: IntArray,
    cut_offs: IntArray,
    base: int,
    sessions: int,
    accounts: int,
    empty: int,
) -> tuple[IntArray, BoolArray]:
    """Three columns by session and account, and which rows went there: the timely ones.

    A row is timely if it was visible at its session's cut-off and no other row is of the same
    session and account. Columns have shape (3, sessions, accounts), ``empty`` where no row is.
    """
    out = np.full((3, sessions, accounts), empty, dtype=np.int64)
    count = np.zeros((sessions, accounts), dtype=np.uint8)
    for k in range(len(account)):
        s, a = session[k] - base, account[k]
        if count[s, a] < 2:
            count[s, a] += 1
    timely = np.zeros(len(account), dtype=np.bool_)
    for k in range(len(account)):
        s, a = session[k] - base, account[k]
        if count[s, a] == 1 and max(known_at[k], event_at[k]) <= cut_offs[session[k]]:
            timely[k] = True
            out[0, s, a] = first[k]
            out[1, s, a] = second[k]
            out[2, s, a] = third[k]
    return out, timely
