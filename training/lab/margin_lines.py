"""The margin lines at the close: warn, call, answer, cure, default, forced sale, shortfall."""

from __future__ import annotations

from typing import Any

import numpy as np

from data_contracts.units import FloatArray, IntArray
from training.lab import behaviour as b
from training.lab.compiled import compiled
from training.lab.market import Market
from training.lab.mechanics import (
    ACCRUED,
    CALL,
    CASH,
    CASH_CURE,
    CURE,
    DEBT,
    DEFAULT,
    EVENTS,
    FORCED_COST,
    FORCED_SALE,
    REG_T,
    SHORTFALL,
    WARN,
    WRITE_OFF,
    Logs,
    Terms,
    put,
    repay_all,
    sell_down,
    worth,
)
from training.lab.random import uniform

FAR = 1 << 40
RESTRICTED_SESSIONS = 60
"""After a default no new borrowing for about a quarter."""

# The margin state of an account.
(
    DEADLINE, REPLY_AT, REPLY_BY, CALLED, FORCING_FROM, WARNED, FAILED, NO_LOANS_UNTIL, CLOSING,
    EQUITY_BEFORE, NEXT_KYC, CLOSED,
) = range(12)  # fmt: skip


@compiled
def ratio_of(assets: int, debt: int) -> int:
    """Assets over debt in 1e-6; very large without debt."""
    return FAR if debt <= 0 else assets * 1_000_000 // debt


@compiled
def to_reach(t: Terms, line: int, assets: int, debt: int) -> int:
    """Cash that lifts an account to a line: it repays a Reg T loan, in China it is collateral."""
    if t.kind == REG_T:
        return int(max(debt - assets * 1_000_000 // line, 0))
    return int(max((line * debt + 999_999) // 1_000_000 - assets, 0))


@compiled
def answer(
    m: Market,
    t: Terms,
    s: int,
    key: Any,
    c: FloatArray,
    a: IntArray,
    hold: IntArray,
    loan: IntArray,
    flow: IntArray,
    logs: Logs,
    g: IntArray,
) -> None:
    """The client answers a call: pays in what is missing, or sells."""
    debt = a[DEBT] + a[ACCRUED]
    assets = a[CASH] + worth(m, s, a, hold)
    cushion = t.call + int(t.call * (0.01 + 0.09 * uniform(key, s, b.D_CUSHION)))
    need = to_reach(t, cushion, assets, debt) + 100
    if g[REPLY_BY] == 1 and c[b.OUTSIDE] >= need:
        a[CASH] += need
        flow[CASH_CURE] += need
        c[b.OUTSIDE] -= need
        if t.kind == REG_T:
            repay_all(a, loan, flow)
    else:
        sell_down(m, t, s, a, hold, loan, flow, logs, cushion, t.cost_bps)


@compiled
def lines(
    m: Market,
    t: Terms,
    s: int,
    key: Any,
    p: FloatArray,
    c: FloatArray,
    a: IntArray,
    hold: IntArray,
    loan: IntArray,
    flow: IntArray,
    logs: Logs,
    g: IntArray,
) -> int:
    """The lines at the close: warn, call, answer, cure, default, forced sale, shortfall."""
    debt = a[DEBT] + a[ACCRUED]
    ratio = ratio_of(a[CASH] + worth(m, s, a, hold), debt)
    if g[WARNED] == 1 and ratio >= t.observe:
        g[WARNED] = 0
    if ratio < t.warn and g[WARNED] == 0:
        g[WARNED] = 1
        put(logs, EVENTS, s, WARN, debt, -1)
    if g[DEADLINE] >= 0:
        if ratio < t.call and ratio >= t.force and s >= g[REPLY_AT]:
            answer(m, t, s, key, c, a, hold, loan, flow, logs, g)
            debt = a[DEBT] + a[ACCRUED]
            ratio = ratio_of(a[CASH] + worth(m, s, a, hold), debt)
        if ratio >= t.call:
            put(logs, EVENTS, s, CURE, g[CALLED], -1)
            g[DEADLINE] = -1
            c[b.SCARE] = 0.6
        elif s >= g[DEADLINE] or ratio < t.force:
            put(logs, EVENTS, s, DEFAULT, debt, -1)
            g[FAILED], g[DEADLINE] = 1, -1
            g[FORCING_FROM] = s if ratio < t.force else s + 1
    elif ratio < t.force and g[FAILED] == 0:
        put(logs, EVENTS, s, DEFAULT, debt, -1)
        g[FAILED], g[FORCING_FROM] = 1, s
    elif ratio < t.call and g[FORCING_FROM] == FAR:
        g[CALLED] = to_reach(t, t.call, a[CASH] + worth(m, s, a, hold), debt)
        g[DEADLINE] = s + t.deadline
        put(logs, EVENTS, s, CALL, g[CALLED], g[DEADLINE])
        g[REPLY_AT] = FAR
        if uniform(key, s, b.D_REPLY) < p[b.REPLY_CHANCE]:
            delay = (
                -np.log(uniform(key, s, b.D_DELAY)) * p[b.REPLY_SESSIONS] * (t.deadline - 1) * 0.8
            )
            g[REPLY_AT] = s + 1 + int(delay)
        g[REPLY_BY] = 1 if uniform(key, s, b.D_MODE) < p[b.CASH_FIRST] else 2
    if s >= g[FORCING_FROM] or (g[FAILED] == 1 and ratio < t.force):
        if ratio < t.warn:
            sold = sell_down(m, t, s, a, hold, loan, flow, logs, t.target, t.cost_bps * FORCED_COST)
            if sold > 0:
                put(logs, EVENTS, s, FORCED_SALE, sold, -1)
            debt = a[DEBT] + a[ACCRUED]
            ratio = ratio_of(a[CASH] + worth(m, s, a, hold), debt)
        c[b.SCARE] = 1.0
        if ratio >= t.target or ratio >= t.warn:
            g[FORCING_FROM], g[FAILED] = FAR, 0
            g[NO_LOANS_UNTIL] = s + RESTRICTED_SESSIONS
            if uniform(key, s, b.D_AFTER) < 0.15:
                g[CLOSING] = 1
    return int(ratio)


@compiled
def lose(
    a: IntArray, hold: IntArray, loan: IntArray, flow: IntArray, logs: Logs, g: IntArray, s: int
) -> None:
    """Nothing left to sell and debt left: the lender's loss is booked and the account ends."""
    left = a[DEBT] + a[ACCRUED] - a[CASH]
    put(logs, EVENTS, s, SHORTFALL, left, -1)
    if g[FAILED] == 0:
        put(logs, EVENTS, s, DEFAULT, a[DEBT] + a[ACCRUED], -1)
    a[CASH] += left
    flow[WRITE_OFF] += left
    repay_all(a, loan, flow)
    g[CLOSING] = 1
