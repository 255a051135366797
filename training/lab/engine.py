"""Clients' lives, session by session: the compiled kernel of the laboratory.

Order of a session: corporate actions and interest, then once a month saving and mood, then the
margin lines at the close, then what the client does, then what is put out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from data_contracts.units import FloatArray, IntArray
from training.lab import behaviour as b
from training.lab.behaviour import change_of_mood, look, settle_in
from training.lab.compiled import compiled
from training.lab.lending import accrue, mature, pay_interest
from training.lab.margin_lines import (
    CALLED,
    CLOSED,
    CLOSING,
    DEADLINE,
    EQUITY_BEFORE,
    FAILED,
    FAR,
    FORCING_FROM,
    NEXT_KYC,
    NO_LOANS_UNTIL,
    REPLY_AT,
    WARNED,
    lines,
    lose,
)
from training.lab.market import SELLABLE, Market
from training.lab.mechanics import (
    ACCRUED,
    ADD_ON,
    CASH,
    CHANGED,
    CN,
    CURE,
    DEBT,
    DEPOSIT,
    EVENTS,
    HOLDINGS,
    LOANS,
    MAX_HOLDINGS,
    MAX_LOANS,
    MOST_LEVERAGE,
    RATE,
    REG_T,
    SHARES,
    SYMBOL,
    WHO,
    WITHDRAWAL,
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
from training.lab.random import client_key, uniform

SETTLING_SESSIONS = 15
WITHDRAWAL_LINE = 3_000_000
GROUPS_FROM = 1 << 40
"""Numbers of related groups in the random stream, beyond those of clients."""


class State(NamedTuple):
    """All that a book of n clients carries from one session to the next; rows by client.

    ``totals`` (n, 8), ``holdings`` (n, 12, 7), ``loans`` (n, 16, 12) and ``margin`` (n, 12) are
    integers; ``mind`` (n, 10) are floats that are not money of the account.
    """

    totals: IntArray
    holdings: IntArray
    loans: IntArray
    margin: IntArray
    mind: FloatArray


class Clients(NamedTuple):
    """Who lives: numbers, related groups (-1 for none), parameters, first session, questionnaires.

    ``offer`` holds what the lender offers each: most leverage in 1/1000 (0 for the rules' own) and
    bps on top of the market's loan rate. ``kyc`` (n, versions, 3) is written: liquid assets, equity,
    and whether income flows, as seen at each questionnaire.
    """

    number: IntArray
    group: IntArray
    parameters: FloatArray
    opens: IntArray
    offer: IntArray
    kyc_at: IntArray
    kyc: FloatArray


def new_state(clients: int) -> State:
    """The state of clients who have not begun."""
    state = State(
        np.zeros((clients, 8), dtype=np.int64),
        np.zeros((clients, MAX_HOLDINGS, 7), dtype=np.int64),
        np.zeros((clients, MAX_LOANS + 4, 12), dtype=np.int64),
        np.zeros((clients, 12), dtype=np.int64),
        np.zeros((clients, b.MIND)),
    )
    state.margin[:, CLOSED] = -1
    return state


@compiled
def month(
    m: Market,
    t: Terms,
    s: int,
    key: Any,
    friends: Any,
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
    change_of_mood(m, s, key, friends, p, c)
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
            if loan[j, RATE] != m.rate[s] + a[ADD_ON]:
                loan[j, RATE] = m.rate[s] + a[ADD_ON]
                loan[j, CHANGED] = 1
    elif c[b.MARGIN_IS_ON] < 0.5:
        repay_all(a, loan, flow)


@compiled
def begin(
    s: int, key: Any, p: FloatArray, offer: IntArray, a: IntArray, g: IntArray, c: FloatArray
) -> None:
    """The account is opened: first deposit, intended leverage, and whether margin is used."""
    g[DEADLINE], g[FORCING_FROM], g[REPLY_AT] = -1, FAR, FAR
    c[b.VARIANCE] = b.VARIANCE_AT_FIRST
    a[MOST_LEVERAGE], a[ADD_ON] = offer[0], offer[1]
    a[CASH] = int(p[b.START_CASH]) // 100 * 100
    c[b.TARGET], c[b.OUTSIDE] = p[b.LEVERAGE], p[b.LIQUID]
    often = p[b.MARGIN_ON] / (p[b.MARGIN_ON] + p[b.MARGIN_OFF])
    c[b.MARGIN_IS_ON] = 1.0 if uniform(key, s, b.D_SWITCH) < often else 0.0


@compiled
def question(
    s: int, equity: float, g: IntArray, c: FloatArray, kyc_at: IntArray, kyc: FloatArray
) -> None:
    """Put down what the questionnaires due by session s see of the client."""
    while g[NEXT_KYC] < len(kyc_at) and kyc_at[g[NEXT_KYC]] <= s:
        seen = kyc[g[NEXT_KYC]]
        seen[0], seen[1] = c[b.OUTSIDE], equity
        seen[2] = 0.0 if c[b.SHOCK_LEFT] > 0.5 else 1.0
        g[NEXT_KYC] += 1


@compiled
def step(
    m: Market,
    t: Terms,
    s: int,
    opens: int,
    key: Any,
    friends: Any,
    p: FloatArray,
    offer: IntArray,
    a: IntArray,
    hold: IntArray,
    loan: IntArray,
    g: IntArray,
    c: FloatArray,
    flow: IntArray,
    logs: Logs,
    kyc_at: IntArray,
    kyc: FloatArray,
) -> None:
    """One session of one client; ``friends`` keys what a related group does together."""
    for k in range(len(flow)):
        flow[k] = 0
    if s == opens:
        begin(s, key, p, offer, a, g, c)
        flow[DEPOSIT] = a[CASH]
        # the first questionnaire is dated before the opening: it sees no price of that session
        question(s, float(a[CASH]), g, c, kyc_at, kyc)
    else:
        accrue(m, t, s, a, hold, loan, flow)
        for h in range(a[HOLDINGS]):
            if gone(m, s, hold[h, SYMBOL]) and hold[h, SHARES] > 0:
                sell(m, t, s, a, hold, loan, flow, logs, h, hold[h, SHARES], t.cost_bps)
        equity = a[CASH] + worth(m, s, a, hold) - a[DEBT] - a[ACCRUED]
        b.feel_move(c, g[EQUITY_BEFORE], equity)
        if g[EQUITY_BEFORE] > 0:
            c[b.GAIN] = c[b.GAIN] * (59.0 / 60.0) + equity / g[EQUITY_BEFORE] - 1.0
        if m.month_first[s]:
            month(m, t, s, key, friends, p, c, a, hold, loan, flow, logs, g)
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
        distance = b.distance_to_call(t.call, ratio, c)
        if b.sells_early(s, key, p, c, distance):
            safe = b.ratio_at(t.call, p[b.EARLY_DISTANCE], c)
            sell_down(m, t, s, a, hold, loan, flow, logs, safe, t.cost_bps)
        elif s < opens + SETTLING_SESSIONS:
            settle_in(m, t, s, key, friends, p, c, a, hold, loan, logs)
        elif uniform(friends, s, b.D_LOOK) < p[b.ACTIVITY]:
            sound = ratio >= t.observe and s >= g[NO_LOANS_UNTIL]
            sound = sound and distance >= p[b.EARLY_DISTANCE]
            look(m, t, s, key, friends, p, c, a, hold, loan, flow, logs, sound)
    if t.kind == REG_T and a[DEBT] > 0 and a[CASH] > 0:
        repay_all(a, loan, flow)
    value = worth(m, s, a, hold)
    if a[DEBT] > 0 and value == 0 and a[CASH] < a[DEBT] + a[ACCRUED]:
        lose(a, hold, loan, flow, logs, g, s)
    if m.month_last[s]:
        pay_interest(m, t, s, a, loan, flow)
    g[EQUITY_BEFORE] = a[CASH] + value - a[DEBT] - a[ACCRUED]
    c[b.VALUE_BEFORE] = float(value)
    if g[CLOSING] == 1 and value == 0 and a[DEBT] == 0:
        flow[WITHDRAWAL] -= a[CASH]
        a[CASH] = 0
        g[CLOSED] = s
    put_session(s, a, hold, loan, flow, logs, value)
    question(s, float(g[EQUITY_BEFORE]), g, c, kyc_at, kyc)


@compiled
def advance(
    m: Market,
    t: Terms,
    seed: int,
    who: Clients,
    state: State,
    logs: Logs,
    low: int,
    high: int,
    first: int,
    last: int,
) -> None:
    """Let clients ``low`` to ``high`` live the sessions ``first`` to ``last``, ends left out."""
    flow = np.zeros(6, dtype=np.int64)
    for i in range(low, high):
        key = client_key(seed, who.number[i])
        friends = key
        if who.group[i] >= 0:
            friends = client_key(seed, GROUPS_FROM + who.group[i])
        logs.used[WHO] = i
        a, hold, loan = state.totals[i], state.holdings[i], state.loans[i]
        g, c, p = state.margin[i], state.mind[i], who.parameters[i]
        for s in range(max(first, who.opens[i]), last):
            if g[CLOSED] >= 0:
                break
            step(
                m, t, s, who.opens[i], key, friends, p, who.offer[i], a, hold, loan, g, c, flow,
                logs, who.kyc_at[i], who.kyc[i],
            )  # fmt: skip
