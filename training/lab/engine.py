"""One client's life, session by session: the compiled kernel of the laboratory.

Order of a session: corporate actions and interest, then once a month saving and mood, then the
margin lines at the close, then what the client does, then what is put out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from data_contracts.units import FloatArray, IntArray
from training.lab import behaviour as b
from training.lab.behaviour import change_of_mood, look, settle_in
from training.lab.compiled import compiled
from training.lab.lending import accrue, mature, pay_interest
from training.lab.market import SELLABLE, Market
from training.lab.mechanics import (
    ACCRUED,
    CALL,
    CASH,
    CASH_CURE,
    CHANGED,
    CN,
    CURE,
    DEBT,
    DEFAULT,
    DEPOSIT,
    EVENTS,
    FORCED_COST,
    FORCED_SALE,
    HOLDINGS,
    LOANS,
    MAX_HOLDINGS,
    MAX_LOANS,
    RATE,
    REG_T,
    SHARES,
    SHORTFALL,
    SYMBOL,
    WARN,
    WITHDRAWAL,
    WRITE_OFF,
    Logs,
    Terms,
    gone,
    put,
    repay_all,
    sell,
    sell_down,
    worth,
)
from training.lab.output import put_session
from training.lab.random import uniform

FAR = 1 << 40
SETTLING_SESSIONS = 15
RESTRICTED_SESSIONS = 60
"""After a default no new borrowing for about a quarter."""
WITHDRAWAL_LINE = 3_000_000

# The margin state of an account.
DEADLINE, REPLY_AT, REPLY_BY, CALLED, FORCING_FROM, WARNED, FAILED, NO_LOANS_UNTIL, CLOSING = range(
    9
)


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
def month(
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
) -> None:
    """Once a month: income, saving, withdrawals, mood, the wish to close, the new loan rate."""
    change_of_mood(m, s, key, p, c)
    if c[b.SHOCK_LEFT] > 0.5:
        c[b.SHOCK_LEFT] -= 1.0
        c[b.OUTSIDE] = max(c[b.OUTSIDE] - 0.5 * p[b.INCOME], 0.0)
    else:
        c[b.OUTSIDE] += 0.12 * p[b.INCOME]
        if uniform(key, s, b.D_SHOCK) < p[b.INCOME_SHOCK] * (
            1.0 - 4.0 * min(m.market_trend[s], 0.0)
        ):
            c[b.SHOCK_LEFT] = 6.0
        u = uniform(key, s, b.D_SAVE)
        if u < p[b.REGULARITY]:
            amount = int(p[b.SAVING] * p[b.INCOME] * (0.6 + 0.8 * u / p[b.REGULARITY])) // 100 * 100
            a[CASH] += amount
            flow[DEPOSIT] += amount
    debt = a[DEBT] + a[ACCRUED]
    assets = a[CASH] + worth(m, s, a, hold)
    if uniform(key, s, b.D_WITHDRAW) < p[b.WITHDRAWING] and g[DEADLINE] < 0:
        h = -1
        if debt == 0 and a[CASH] * 10 < assets:
            h = b.extreme_gain(m, s, a, hold, True)
        if h >= 0:
            sell(m, t, s, a, hold, loan, flow, logs, h, hold[h, SHARES], t.cost_bps)
        part = a[CASH] * 6 // 10
        if debt > 0:
            part = min(part, assets - (WITHDRAWAL_LINE * debt + 999_999) // 1_000_000)
        if part > 0 and (t.kind == CN or debt == 0):
            a[CASH] -= part
            flow[WITHDRAWAL] -= part
            c[b.OUTSIDE] += 0.3 * part
    chance = p[b.CLOSING]
    if (assets - debt) * 10 < p[b.START_CASH]:
        chance = min(10.0 * chance, 0.5)
    if uniform(key, s, b.D_CLOSE) < chance and g[DEADLINE] < 0 and g[FORCING_FROM] == FAR:
        g[CLOSING] = 1
    if t.kind == REG_T:
        for j in range(a[LOANS]):
            if loan[j, RATE] != m.rate[s]:
                loan[j, RATE] = m.rate[s]
                loan[j, CHANGED] = 1
    elif c[b.MARGIN_IS_ON] < 0.5:
        repay_all(a, loan, flow)


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


@compiled
def live(
    m: Market,
    t: Terms,
    key: Any,
    p: FloatArray,
    opens: int,
    kyc_at: IntArray,
    kyc: FloatArray,
    logs: Logs,
) -> int:
    """Live one client from session ``opens``; returns the session of closing, -1 if still open."""
    a = np.zeros(6, dtype=np.int64)
    hold = np.zeros((MAX_HOLDINGS, 7), dtype=np.int64)
    loan = np.zeros((MAX_LOANS + 4, 12), dtype=np.int64)
    flow = np.zeros(6, dtype=np.int64)
    c = np.zeros(6)
    g = np.zeros(9, dtype=np.int64)
    g[DEADLINE], g[FORCING_FROM], g[REPLY_AT] = -1, FAR, FAR
    c[b.TARGET], c[b.OUTSIDE] = p[b.LEVERAGE], p[b.LIQUID]
    often = p[b.MARGIN_ON] / (p[b.MARGIN_ON] + p[b.MARGIN_OFF])
    c[b.MARGIN_IS_ON] = 1.0 if uniform(key, opens, b.D_SWITCH) < often else 0.0
    before, next_kyc = 0, 0
    for s in range(opens, len(m.day)):
        flow[:] = 0
        if s == opens:
            a[CASH] = int(p[b.START_CASH]) // 100 * 100
            flow[DEPOSIT] = a[CASH]
        else:
            accrue(m, t, s, a, hold, loan, flow)
            for h in range(a[HOLDINGS]):
                if gone(m, s, hold[h, SYMBOL]) and hold[h, SHARES] > 0:
                    sell(m, t, s, a, hold, loan, flow, logs, h, hold[h, SHARES], t.cost_bps)
            equity = a[CASH] + worth(m, s, a, hold) - a[DEBT] - a[ACCRUED]
            if before > 0:
                c[b.GAIN] = c[b.GAIN] * (59.0 / 60.0) + equity / before - 1.0
            if m.month_first[s]:
                month(m, t, s, key, p, c, a, hold, loan, flow, logs, g)
        ratio = FAR
        if a[DEBT] > 0:
            if t.kind == REG_T:
                repay_all(a, loan, flow)
            ratio = lines(m, t, s, key, p, c, a, hold, loan, flow, logs, g)
            if t.kind == CN:
                mature(m, t, s, a, hold, loan, flow, logs, ratio >= t.warn)
        else:
            if g[DEADLINE] >= 0:
                put(logs, EVENTS, s, CURE, g[CALLED], -1)
            g[DEADLINE], g[FORCING_FROM], g[FAILED], g[WARNED] = -1, FAR, 0, 0
        if g[CLOSING] == 1:
            for h in range(a[HOLDINGS]):
                if hold[h, SHARES] > 0 and m.flags[s, hold[h, SYMBOL]] & SELLABLE:
                    sell(m, t, s, a, hold, loan, flow, logs, h, hold[h, SHARES], t.cost_bps)
            repay_all(a, loan, flow)
        elif g[DEADLINE] < 0 and g[FORCING_FROM] == FAR:
            early = t.call + int(t.call * p[b.EARLY_MARGIN])
            if ratio < early and uniform(key, s, b.D_EARLY) < p[b.EARLY_CHANCE]:
                sell_down(m, t, s, a, hold, loan, flow, logs, early + t.call // 20, t.cost_bps)
            elif s < opens + SETTLING_SESSIONS:
                settle_in(m, t, s, key, p, c, a, hold, loan, logs)
            elif uniform(key, s, b.D_LOOK) < p[b.ACTIVITY]:
                sound = ratio >= t.observe and s >= g[NO_LOANS_UNTIL]
                look(m, t, s, key, p, c, a, hold, loan, flow, logs, sound)
        if t.kind == REG_T and a[DEBT] > 0 and a[CASH] > 0:
            repay_all(a, loan, flow)
        value = worth(m, s, a, hold)
        if a[DEBT] > 0 and value == 0 and a[CASH] < a[DEBT] + a[ACCRUED]:
            lose(a, hold, loan, flow, logs, g, s)
        if m.month_last[s]:
            pay_interest(m, t, s, a, loan, flow)
        before = a[CASH] + value - a[DEBT] - a[ACCRUED]
        over = g[CLOSING] == 1 and value == 0 and a[DEBT] == 0
        if over:
            flow[WITHDRAWAL] -= a[CASH]
            a[CASH] = 0
        put_session(s, a, hold, loan, flow, logs)
        while next_kyc < len(kyc_at) and kyc_at[next_kyc] <= s:
            kyc[next_kyc, 0], kyc[next_kyc, 1] = c[b.OUTSIDE], float(before)
            kyc[next_kyc, 2] = 0.0 if c[b.SHOCK_LEFT] > 0.5 else 1.0
            next_kyc += 1
        if over:
            return s
    return -1
