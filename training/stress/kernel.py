"""Compiled loops over accounts and scenarios. Every total is per scenario; nothing is kept per pair.

Money is in minor units, prices in 0.0001, ratios in 1e-6: the path engine is integer, so its totals
do not depend on the order of accounts or the number of threads.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from data_contracts.units import FloatArray, IntArray
from training.lab.compiled import compiled

CALLED, FORCED, SOLD_AMT, SHORTFALL_AMT, INSOLVENT_DEBT_AMT, SHORTFALLS, CURED = range(7)
TOTALS: Final = 7
CALLS_MADE, ACCOUNTS_SOLD = range(2)
EVENTS: Final = 2
"""What happens in each session: calls made, and accounts that something was sold of."""
ONE: Final = 1_000_000


class Lines(NamedTuple):
    """The lender's lines, 1e-6, deadline in sessions, and cost of a forced sale in 1e-6."""

    call: int
    force: int
    target: int
    deadline: int
    cost: int


@compiled
def walk(
    first: int,
    last: int,
    pointer: IntArray,
    symbol: IntArray,
    shares: IntArray,
    cash: IntArray,
    owed: IntArray,
    cures: IntArray,
    price: IntArray,
    open_to_sale: IntArray,
    haircut: IntArray,
    depth: int,
    lines: Lines,
    totals: IntArray,
    sold: IntArray,
    events: IntArray,
    left: IntArray,
) -> None:
    """Walk accounts ``first`` to ``last`` through one path; add to ``totals``, ``sold``, ``events``.

    Parameters
    ----------
    pointer : (accounts + 1,), where each account's holdings start
    symbol, shares : holdings, in the order they are sold in
    cures : (accounts,), 1 for clients who pay up at the deadline
    price : (sessions, names); open_to_sale : the same shape, 0 where no sale is possible
    haircut : (sessions, names), share of a name's value that the lines count, 1e-6; losses count
        all of it
    depth : share of a holding that one session takes, 1e-6
    totals : (TOTALS,); sold : (sessions, names), shares; events : (sessions, EVENTS)
    left : scratch for one account
    """
    sessions = price.shape[0]
    for i in range(first, last):
        debt = owed[i]
        if debt <= 0:
            continue
        start, end = pointer[i], pointer[i + 1]
        for h in range(start, end):
            left[h - start] = shares[h]
        own = cash[i]
        called_at, was_called, was_forced, forcing = -1, 0, 0, 0
        for t in range(sessions):
            # counted: what the lines see, cash and holdings after their haircuts
            counted = own
            for h in range(start, end):
                name = symbol[h]
                worth = price[t, name] * left[h - start] // 100
                counted += worth if haircut[t, name] == ONE else worth * haircut[t, name] // ONE
            if debt <= 0:
                break
            if counted * ONE >= debt * lines.call:
                called_at, forcing = -1, 0
                continue
            if called_at < 0:
                called_at, was_called = t, 1
                events[t, CALLS_MADE] += 1
            late = t - called_at >= lines.deadline
            if late and cures[i] == 1 and forcing == 0:
                # pays in cash what lifts the ratio to the target
                paid = (debt * lines.target - counted * ONE) // lines.target + 1
                debt -= min(max(paid, 0), debt)
                totals[CURED] += 1
                called_at = -1
                continue
            if late or counted * ONE < debt * lines.force:
                forcing = 1
            if forcing == 0:
                continue
            used = min(own, debt)
            own -= used
            debt -= used
            counted -= used
            sold_now = 0
            for h in range(start, end):
                name = symbol[h]
                # (counted - haircut x) / (debt - x (1 - cost)) = target
                slope = lines.target * (ONE - lines.cost) // ONE - haircut[t, name]
                lacking = debt * lines.target - counted * ONE
                if lacking < 0 or debt <= 0:
                    break
                if open_to_sale[t, name] == 0 or price[t, name] <= 0 or slope <= 0:
                    continue
                need = lacking // slope + 1
                wanted = (need * 100 + price[t, name] - 1) // price[t, name]
                quantity = min(min(left[h - start], shares[h] * depth // ONE), wanted)
                if quantity <= 0:
                    continue
                was_forced, sold_now = 1, 1
                worth = price[t, name] * quantity // 100
                proceeds = worth * (ONE - lines.cost) // ONE
                left[h - start] -= quantity
                sold[t, name] += quantity
                totals[SOLD_AMT] += worth
                counted -= worth if haircut[t, name] == ONE else worth * haircut[t, name] // ONE
                over = max(proceeds - debt, 0)
                own += over
                counted += over
                debt -= proceeds - over
            events[t, ACCOUNTS_SOLD] += sold_now
        totals[CALLED] += was_called
        totals[FORCED] += was_forced
        if debt > 0:
            assets = own
            for h in range(start, end):
                assets += price[sessions - 1, symbol[h]] * left[h - start] // 100
            if assets < debt:
                totals[SHORTFALL_AMT] += debt - assets
                totals[INSOLVENT_DEBT_AMT] += debt
                totals[SHORTFALLS] += 1


@compiled
def linear(
    first: int,
    last: int,
    pointer: IntArray,
    symbol: IntArray,
    value: FloatArray,
    equity: FloatArray,
    returns: FloatArray,
    loss: FloatArray,
    scratch: FloatArray,
) -> None:
    """One-step linear revaluation of accounts in a tile of scenarios.

    Adds max(0, -(equity + sum of value x return)) of each account to ``loss``.

    Parameters
    ----------
    value : (holdings,); equity : (accounts,), both in one unit of money
    returns : (names, tile), C-ordered; loss, scratch : (tile,)
    """
    tile = returns.shape[1]
    for i in range(first, last):
        h, end, own = pointer[i], pointer[i + 1], equity[i]
        # four holdings a pass; the last pass adds to the loss, so the scratch line is seldom touched
        for j in range(tile if end - h > 4 or end == h else 0):
            scratch[j] = own
        while end - h > 4:
            p, q, r, s = value[h], value[h + 1], value[h + 2], value[h + 3]
            a, b = returns[symbol[h]], returns[symbol[h + 1]]
            c, d = returns[symbol[h + 2]], returns[symbol[h + 3]]
            for j in range(tile):
                scratch[j] += (p * a[j] + q * b[j]) + (r * c[j] + s * d[j])
            h += 4
        long = end - pointer[i] > 4
        if end - h == 4:
            p, q, r, s = value[h], value[h + 1], value[h + 2], value[h + 3]
            a, b = returns[symbol[h]], returns[symbol[h + 1]]
            c, d = returns[symbol[h + 2]], returns[symbol[h + 3]]
            if long:
                for j in range(tile):
                    worth = scratch[j] + ((p * a[j] + q * b[j]) + (r * c[j] + s * d[j]))
                    loss[j] += max(-worth, 0.0)
            else:
                for j in range(tile):
                    worth = own + ((p * a[j] + q * b[j]) + (r * c[j] + s * d[j]))
                    loss[j] += max(-worth, 0.0)
        elif end - h == 3:
            p, q, r = value[h], value[h + 1], value[h + 2]
            a, b, c = returns[symbol[h]], returns[symbol[h + 1]], returns[symbol[h + 2]]
            if long:
                for j in range(tile):
                    worth = scratch[j] + ((p * a[j] + q * b[j]) + r * c[j])
                    loss[j] += max(-worth, 0.0)
            else:
                for j in range(tile):
                    worth = own + ((p * a[j] + q * b[j]) + r * c[j])
                    loss[j] += max(-worth, 0.0)
        elif end - h == 2:
            p, q = value[h], value[h + 1]
            a, b = returns[symbol[h]], returns[symbol[h + 1]]
            if long:
                for j in range(tile):
                    loss[j] += max(-(scratch[j] + (p * a[j] + q * b[j])), 0.0)
            else:
                for j in range(tile):
                    loss[j] += max(-(own + (p * a[j] + q * b[j])), 0.0)
        elif end - h == 1:
            p = value[h]
            a = returns[symbol[h]]
            if long:
                for j in range(tile):
                    loss[j] += max(-(scratch[j] + p * a[j]), 0.0)
            else:
                for j in range(tile):
                    loss[j] += max(-(own + p * a[j]), 0.0)
        else:
            for j in range(tile):
                loss[j] += max(-own, 0.0)


@compiled
def multiply_add(rows: FloatArray, weight: FloatArray, times: int, scratch: FloatArray) -> None:
    """The loop of ``linear`` alone on rows that stay in the first cache: the arithmetic peak."""
    for _ in range(times):
        for h in range(0, len(rows) - 1, 2):
            v, w = weight[h], weight[h + 1]
            one, two = rows[h], rows[h + 1]
            for j in range(len(scratch)):
                scratch[j] += v * one[j] + w * two[j]


@compiled
def read_all(rows: FloatArray, times: int, scratch: FloatArray) -> None:
    """Sum all rows: what the cache that holds them delivers, the bandwidth peak."""
    for _ in range(times):
        for h in range(0, len(rows) - 3, 4):
            a, b, c, d = rows[h], rows[h + 1], rows[h + 2], rows[h + 3]
            for j in range(len(scratch)):
                scratch[j] += (a[j] + b[j]) + (c[j] + d[j])


def empty_totals(sessions: int, names: int) -> tuple[IntArray, IntArray, IntArray]:
    """Zeroed totals, shares sold and events of one path."""
    return (
        np.zeros(TOTALS, dtype=np.int64),
        np.zeros((sessions, names), dtype=np.int64),
        np.zeros((sessions, EVENTS), dtype=np.int64),
    )
