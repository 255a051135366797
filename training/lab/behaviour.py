"""What a client does of its own accord: picks names, trades, borrows, saves.

Parameters of a client are a row of floats (see ``people``). No parameter is the probability of a
call, a default or a loss: those come out of prices, rules and habits.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from data_contracts.units import FloatArray, IntArray
from training.lab.compiled import compiled
from training.lab.market import SELLABLE, Market
from training.lab.mechanics import (
    ADD_ON,
    CASH,
    CN,
    COST,
    DEBT,
    HOLDINGS,
    LOANS,
    MAX_LOANS,
    SHARES,
    SYMBOL,
    Logs,
    Terms,
    available_margin,
    buy,
    financeable,
    room_to_borrow,
    sell,
    worth,
)
from training.lab.random import normal, uniform

PARAMETERS = (
    "start_cash",  # first deposit, minor units
    "income",  # a month, minor units
    "liquid",  # liquid assets outside the account at opening, minor units
    "activity",  # chance of looking at the account in a session
    "rotation",  # chance that a look replaces a holding
    "leverage",  # holdings over equity the client drifts around
    "leverage_swing",  # monthly noise of it
    "relever",  # more of it after own gains
    "chase",  # more of it after a rising market
    "names",  # how many names the client likes to hold
    "trend_taste",  # weight on names that rose
    "swing_taste",  # weight on names that swing
    "disposition",  # chance that a loss is not sold: Odean's ratio is about 1 / (1 - this)
    "averaging",  # chance that a purchase adds to the largest loss
    "discipline",  # chance of selling back to the intended leverage
    "early_distance",  # distance to the call line below which it sells of its own accord
    "early_chance",  # chance a session of doing so at the line itself
    "reply_chance",  # chance that a call is answered at all
    "reply_sessions",  # mean sessions until it is
    "cash_first",  # answers with cash rather than by selling, if there is enough
    "margin_off",  # monthly chance of leaving margin alone
    "margin_on",  # monthly chance of taking it up again
    "saving",  # share of income paid in a month
    "regularity",  # chance that a month's saving happens
    "withdrawing",  # monthly chance of taking money out
    "closing",  # monthly chance of closing the account
    "income_shock",  # monthly chance that income stops for half a year
    "rate_taste",  # leverage given up for each 100 bps that a loan costs above USUAL_RATE_BPS
    "crowd_taste",  # weight on names that trade more than they used to
    "adjusting",  # chance that a look brings leverage back to the intended one
)
(
    START_CASH, INCOME, LIQUID, ACTIVITY, ROTATION, LEVERAGE, LEVERAGE_SWING, RELEVER, CHASE, NAMES,
    TREND_TASTE, SWING_TASTE, DISPOSITION, AVERAGING, DISCIPLINE, EARLY_DISTANCE, EARLY_CHANCE,
    REPLY_CHANCE, REPLY_SESSIONS, CASH_FIRST, MARGIN_OFF, MARGIN_ON, SAVING, REGULARITY,
    WITHDRAWING, CLOSING, INCOME_SHOCK, RATE_TASTE, CROWD_TASTE, ADJUSTING,
) = range(30)  # fmt: skip
USUAL_RATE_BPS = 650

# Which number of a session's stream decides what.
D_LOOK, D_ROTATE, D_WHICH, D_HALF, D_GAP, D_ADD, D_DISCIPLINE, D_EARLY = range(8)
D_REPLY, D_DELAY, D_MODE, D_CUSHION, D_MOOD, D_SWITCH = 8, 9, 10, 11, 12, 14
D_SAVE, D_WITHDRAW, D_CLOSE, D_SHOCK, D_AFTER, D_SHARE, D_REGRET, D_ADJUST = range(15, 23)
D_PICK = 32
NO_LIMIT: Final = 1 << 60
_LOOKED_AT = 5
"""Names a client compares before buying one."""

# The client's own state: floats that are not money of the account.
TARGET, GAIN, OUTSIDE, MARGIN_IS_ON, SHOCK_LEFT, SCARE, VALUE_BEFORE, VARIANCE, WEEK, FREED = range(
    10
)
MIND: Final = 10

# Selling before the call (Bian, He, Shue and Zhou 2018: selling rises as the distance to the call
# line, in standard deviations, falls below about 3, more so on days of falling prices). The horizon
# of a standard deviation, its memory and the weight of falling prices are assumptions.
DISTANCE_SESSIONS: Final = 5
VARIANCE_KEPT, WEEK_KEPT = 0.94, 0.8
VARIANCE_AT_FIRST: Final = 0.02**2
FALL_WEIGHT: Final = 10.0
"""What the account lost of late, in units of its assets, times this adds to the urge: 10 % doubles it."""
MOST_EARLY_RATIO: Final = 3_000_000


@compiled
def pick(m: Market, s: int, key: Any, p: FloatArray, draw: int) -> int:
    """The most attractive of a few names the client happened to see; -1 if none can be bought."""
    count = m.candidate_count[s]
    if count == 0:
        return -1
    best, most = -1, -1e9
    for k in range(_LOOKED_AT):
        symbol = m.candidates[s, int(uniform(key, s, draw + 2 * k) * count)]
        appeal = (
            p[TREND_TASTE] * m.trend_rank[s, symbol]
            + p[SWING_TASTE] * m.swing_rank[s, symbol]
            + p[CROWD_TASTE] * m.crowd_rank[s, symbol]
            + 0.6 * uniform(key, s, draw + 2 * k + 1)
        )
        if appeal > most:
            best, most = symbol, appeal
    return int(best)


@compiled
def extreme_gain(m: Market, s: int, a: IntArray, hold: IntArray, largest: bool) -> int:
    """The tradable holding with the largest, or smallest, gain on cost; -1 if there is none."""
    best, most = -1, 0.0
    for h in range(a[HOLDINGS]):
        if hold[h, SHARES] == 0 or not m.flags[s, hold[h, SYMBOL]] & SELLABLE:
            continue
        gain = m.close[s, hold[h, SYMBOL]] * hold[h, SHARES] / max(float(hold[h, COST]), 1.0)
        if best < 0 or (gain > most if largest else gain < most):
            best, most = h, gain
    return best


@compiled
def at_a_loss(m: Market, s: int, hold: IntArray, h: int) -> bool:
    """Whether a holding is worth less than it cost."""
    return bool(m.close[s, hold[h, SYMBOL]] * hold[h, SHARES] // 100 < hold[h, COST])


@compiled
def invest(
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
    logs: Logs,
    may_borrow: bool,
    stream: int,
    most: int,
) -> int:
    """Buy one name towards the intended leverage, for ``most`` at most, own money first.

    Returns the amount.
    """
    value = worth(m, s, a, hold)
    equity = a[CASH] + value - a[DEBT]
    if equity <= 0:
        return 0
    dear = (m.rate[s] + a[ADD_ON] - USUAL_RATE_BPS) / 100.0
    target = max(c[TARGET] - p[RATE_TASTE] * dear, 0.2)
    if c[MARGIN_IS_ON] < 0.5:
        target = min(target, 0.95)
    gap = min(int(target * equity) - value, most)
    if gap * 20 < equity:
        return 0
    u = uniform(key, s, D_ADD + stream)
    symbol = -1
    if a[HOLDINGS] >= p[NAMES] or (a[HOLDINGS] > 1 and u < p[AVERAGING]):
        if u < p[AVERAGING]:
            h = extreme_gain(m, s, a, hold, False)
        else:
            h = int(uniform(key, s, D_GAP + stream) * a[HOLDINGS])
        if 0 <= h < a[HOLDINGS] and hold[h, SHARES] > 0:
            symbol = hold[h, SYMBOL]
    else:
        symbol = pick(m, s, friends, p, D_PICK + stream)
    if symbol < 0:
        return 0
    part = int(
        equity * max(target, 0.3) / p[NAMES] * (0.8 + 0.6 * uniform(key, s, D_SHARE + stream))
    )
    want = min(gap, part) if a[HOLDINGS] < p[NAMES] else gap
    room = room_to_borrow(m, t, s, a, hold, loan)
    if not may_borrow or c[MARGIN_IS_ON] < 0.5 or not financeable(m, s, symbol):
        room = 0
    if t.kind == CN:
        own = max(min(want, a[CASH] * 98 // 100), 0)
        if a[DEBT] > 0:
            spare = available_margin(m, s, a, hold, loan)
            left = max(1_000_000 - m.haircut[s, symbol], 1)
            own = max(min(own, spare * 1_000_000 // left), 0) if spare > 0 else 0
        if own * 4 >= want:
            return buy(m, t, s, a, hold, loan, logs, symbol, own, False)
        if room <= 0 or a[LOANS] == MAX_LOANS:
            return 0
        return buy(m, t, s, a, hold, loan, logs, symbol, min(want, room * 99 // 100), True)
    want = min(want, max(a[CASH], 0) * 98 // 100 + room * 99 // 100)
    return buy(m, t, s, a, hold, loan, logs, symbol, want, True)


@compiled
def feel_move(c: FloatArray, g_before: int, equity: int) -> None:
    """What the night did to the account: return on its holdings into variance and recent moves."""
    if c[VALUE_BEFORE] > 0.0:
        move = (equity - g_before) / c[VALUE_BEFORE]
        c[VARIANCE] = VARIANCE_KEPT * c[VARIANCE] + (1.0 - VARIANCE_KEPT) * move * move
        c[WEEK] = WEEK_KEPT * c[WEEK] + move


@compiled
def distance_to_call(call: int, ratio: int, c: FloatArray) -> float:
    """How far the holdings may fall to the call line, in standard deviations of five sessions."""
    deviation = np.sqrt(c[VARIANCE] * DISTANCE_SESSIONS)
    return float((1.0 - call / ratio) / max(deviation, 1e-3))


@compiled
def ratio_at(call: int, distance: float, c: FloatArray) -> int:
    """The maintenance ratio in 1e-6 that lies a distance above the call line."""
    fall = distance * np.sqrt(c[VARIANCE] * DISTANCE_SESSIONS)
    return int(min(call / max(1.0 - fall, 0.1), MOST_EARLY_RATIO))


@compiled
def sells_early(s: int, key: Any, p: FloatArray, c: FloatArray, distance: float) -> bool:
    """Whether a client sells before it is called: likelier the nearer, and the more prices fell."""
    near = 1.0 - distance / p[EARLY_DISTANCE]
    if near <= 0.0:
        return False
    urge = p[EARLY_CHANCE] * near * (1.0 + FALL_WEIGHT * max(-c[WEEK], 0.0))
    return bool(uniform(key, s, D_EARLY) < urge)


@compiled
def look(
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
    may_borrow: bool,
) -> None:
    """The client looks at the account: perhaps replaces a holding, now and then nears its leverage."""
    if a[HOLDINGS] > 0 and uniform(key, s, D_ROTATE) < p[ROTATION]:
        h = int(uniform(key, s, D_WHICH) * a[HOLDINGS])
        if uniform(key, s, D_REGRET) < p[DISPOSITION] and at_a_loss(m, s, hold, h):
            h = -1  # a loss is not owned up to
        if h >= 0 and hold[h, SHARES] > 0 and m.flags[s, hold[h, SYMBOL]] & SELLABLE:
            shares = hold[h, SHARES]
            if uniform(key, s, D_HALF) < 0.4:
                shares = shares // 2 // t.lot * t.lot
            if shares > 0:
                c[FREED] += sell(m, t, s, a, hold, loan, flow, logs, h, shares, t.cost_bps)
    if uniform(key, s, D_ADJUST) >= p[ADJUSTING]:
        # only what a replaced holding brought is spent again, with a new loan for the one repaid
        spent = invest(
            m, t, s, key, friends, p, c, a, hold, loan, logs, may_borrow, 0, int(c[FREED])
        )
        c[FREED] = max(c[FREED] - spent, 0.0)
        return
    c[FREED] = 0.0
    value = worth(m, s, a, hold)
    equity = a[CASH] + value - a[DEBT]
    excess = value - int(c[TARGET] * equity)
    if equity > 0 and excess * 100 > 15 * equity:
        if uniform(key, s, D_DISCIPLINE) < p[DISCIPLINE]:
            h = extreme_gain(m, s, a, hold, True)
            if h >= 0:
                shares = excess * 100 // m.close[s, hold[h, SYMBOL]] // t.lot * t.lot
                shares = min(shares, hold[h, SHARES])
                if shares > 0:
                    sell(m, t, s, a, hold, loan, flow, logs, h, shares, t.cost_bps)
        return
    invest(m, t, s, key, friends, p, c, a, hold, loan, logs, may_borrow, 0, NO_LIMIT)


@compiled
def settle_in(
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
    logs: Logs,
) -> None:
    """The first weeks of an account: up to three purchases a session."""
    for k in range(3):
        if (
            invest(m, t, s, key, friends, p, c, a, hold, loan, logs, True, 40 * (k + 1), NO_LIMIT)
            == 0
        ):
            return


@compiled
def change_of_mood(m: Market, s: int, key: Any, friends: Any, p: FloatArray, c: FloatArray) -> None:
    """Monthly: intended leverage reverts, jitters, follows own gains and the market."""
    gain = min(max(c[GAIN], -0.5), 0.5)
    trend = min(max(m.market_trend[s], -0.3), 0.3)
    c[TARGET] += (
        0.25 * (p[LEVERAGE] - c[TARGET])
        + p[LEVERAGE_SWING] * normal(friends, s, D_MOOD)
        + 0.25 * (p[RELEVER] * gain + p[CHASE] * trend)
    )
    c[TARGET] = min(max(c[TARGET], 0.2), 3.0) - 0.25 * c[SCARE]
    c[SCARE] *= 0.9
    u = uniform(key, s, D_SWITCH)
    if c[MARGIN_IS_ON] > 0.5:
        if u < p[MARGIN_OFF]:
            c[MARGIN_IS_ON] = 0.0
    elif u < p[MARGIN_ON] * (1.0 + 3.0 * max(trend, 0.0)):
        c[MARGIN_IS_ON] = 1.0
