"""Loops over sessions, compiled: what the feature definitions do with whole paths.

Each does what its NumPy form would, in the same order of additions and products, in one pass and
without the arrays in between.
"""

from __future__ import annotations

import numpy as np

from data_contracts.units import FloatArray, IntArray
from features.tallies.kernel import compiled


@compiled
def gathered(
    dense: IntArray, base: int, first: int, last: int, columns: IntArray, empty: int
) -> IntArray:
    """Sessions ``first`` to ``last`` of some columns of an array that begins at session ``base``.

    ``empty`` before ``base``.
    """
    out = np.full((last - first + 1, len(columns)), empty, dtype=np.int64)
    for s in range(max(first, base), last + 1):
        for k in range(len(columns)):
            out[s - first, k] = dense[s - base, columns[k]]
    return out


@compiled
def carry(first: IntArray, second: IntArray, third: IntArray, empty: int) -> None:
    """Where the first column (sessions, accounts) is empty, all three take the session before."""
    for s in range(1, first.shape[0]):
        for k in range(first.shape[1]):
            if first[s, k] == empty:
                first[s, k] = first[s - 1, k]
                second[s, k] = second[s - 1, k]
                third[s, k] = third[s - 1, k]


@compiled
def summed(by_account: IntArray, client: IntArray, clients: int, empty: int) -> IntArray:
    """(sessions, accounts) to (sessions, clients); ``empty`` where no account has a value."""
    out = np.full((by_account.shape[0], clients), empty, dtype=np.int64)
    for s in range(by_account.shape[0]):
        for k in range(len(client)):
            value = by_account[s, k]
            if value != empty:
                of = client[k]
                out[s, of] = value if out[s, of] == empty else out[s, of] + value
    return out


@compiled
def assets_and_nav(
    securities: IntArray, cash: IntArray, debt: IntArray, accrued: IntArray, empty: int
) -> tuple[IntArray, IntArray]:
    """Cash plus securities, and that less all owed; ``empty`` where cash is. (sessions, clients)"""
    assets = np.full(cash.shape, empty, dtype=np.int64)
    nav = np.full(cash.shape, empty, dtype=np.int64)
    for s in range(cash.shape[0]):
        for k in range(cash.shape[1]):
            if cash[s, k] != empty:
                assets[s, k] = cash[s, k] + securities[s, k]
                nav[s, k] = assets[s, k] - debt[s, k] - accrued[s, k]
    return assets, nav


@compiled
def grown(nav: IntArray, flows: IntArray, empty: int) -> FloatArray:
    """Product of (nav - flows) / nav before, each at least 0; (sessions, clients), from 1.

    A factor is 1 where one of the two is empty or the nav before is not above 0.
    """
    out = np.ones(nav.shape)
    for s in range(1, nav.shape[0]):
        for k in range(nav.shape[1]):
            factor = 1.0
            before, now = nav[s - 1, k], nav[s, k]
            if before != empty and now != empty and before > 0:
                factor = max((np.float64(now) - np.float64(flows[s, k])) / np.float64(before), 0.0)
            out[s, k] = out[s - 1, k] * factor
    return out


@compiled
def largest_fall(index: FloatArray) -> FloatArray:
    """Largest of 1 - index / highest so far, of each column of (sessions, clients)."""
    highest = index[0].copy()
    out = np.zeros(index.shape[1])
    for s in range(index.shape[0]):
        for k in range(index.shape[1]):
            if index[s, k] > highest[k]:
                highest[k] = index[s, k]
            fall = 1.0 - index[s, k] / highest[k]
            if fall > out[k]:
                out[k] = fall
    return out


@compiled
def spread_of(values: FloatArray, at_least: int) -> FloatArray:
    """Sample standard deviation of each column of (sessions, clients), NaN values left out.

    NaN with fewer than ``at_least`` values.
    """
    sessions, clients = values.shape
    count = np.zeros(clients, dtype=np.int64)
    total = np.zeros(clients)
    for s in range(sessions):
        for k in range(clients):
            if not np.isnan(values[s, k]):
                count[k] += 1
                total[k] += values[s, k]
    mean = total / np.maximum(count, 1)
    square = np.zeros(clients)
    for s in range(sessions):
        for k in range(clients):
            if not np.isnan(values[s, k]):
                away = values[s, k] - mean[k]
                square[k] += away * away
    out = np.full(clients, np.nan)
    for k in range(clients):
        if count[k] >= at_least and count[k] > 1:
            out[k] = np.sqrt(square[k] / np.float64(count[k] - 1))
    return out


@compiled
def weighted_returns(
    client: IntArray, symbol: IntArray, value: FloatArray, returns: FloatArray, clients: int
) -> FloatArray:
    """Mean return of each client's holdings, weighted with value, (sessions, clients).

    ``returns`` has shape (symbols, sessions), NaN where unknown: a holding counts where it is
    known. NaN where none is, or all are worth nothing. Added in order of the rows.
    """
    sessions = returns.shape[1]
    gain = np.zeros((clients, sessions))
    base = np.zeros((clients, sessions))
    for k in range(len(client)):
        of, name, worth = client[k], symbol[k], value[k]
        for s in range(sessions):
            moved = returns[name, s]
            if not np.isnan(moved):
                gain[of, s] += moved * worth
                base[of, s] += worth
    out = np.full((sessions, clients), np.nan)
    for of in range(clients):
        for s in range(sessions):
            if base[of, s] > 0:
                out[s, of] = gain[of, s] / base[of, s]
    return out
