"""A generated market carried on: the engine's ``Market`` of a continuation, session by session.

The rows equal ``prepare`` on the panel that joins the market so far and its continuation, to the
last bit; they are made without a panel, in one compiled pass, because the inner simulation needs
hundreds of continuations of every session that it asks about.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import NULL, FloatArray, IntArray
from features.panel import PricePanel
from training.lab.compiled import compiled
from training.lab.generated.kernel import SUSPENDED, Plan, Trace, advance_many
from training.lab.generated.kernel import State as MarketState
from training.lab.generated.markets import MOST_SHARES, GeneratedState, weekdays
from training.lab.generated.source import SPECIAL, Source
from training.lab.market import BUYABLE, COLLATERAL, LOOK_BACK, TRADED_OVER, Market, prepare
from training.lab.rules import MarginRules

CROWD_SESSIONS = 10
"""The short window of ``market._crowding``."""
_UNITS = 1e-4
"""Of a price, in units of money, as ``market._seen`` writes it."""
MOST_NAMES = 128
"""numpy adds up to 128 numbers in one run; beyond, the order of a sum is another."""
_KEPT = np.uint8(0xFF ^ (SUSPENDED | SPECIAL))


class Continued(NamedTuple):
    """Where continuations come from: the generator's source, plan and state, seed of the paths."""

    source: Source
    plan: Plan
    state: MarketState
    seed: int


class Past(NamedTuple):
    """Running sums over a market so far and over one continuation, T + H sessions by N names.

    ``level`` is the growth of each name, ``square`` its summed squared returns, ``volume`` and
    ``turnover`` what was traded in it, shares and units of money, ``market`` (T + H,) the growth of
    the mean name. ``haircut`` and ``traded``
    are those of the source's cells (rows by names of the source), ``usual`` (N,) the mean volume of
    each source name, ``split`` (N,) how many shares one share of each name has become.
    """

    level: FloatArray
    square: FloatArray
    volume: IntArray
    turnover: FloatArray
    market: FloatArray
    haircut: IntArray
    traded: IntArray
    usual: FloatArray
    split: FloatArray


class Room(NamedTuple):
    """Room for one continuation as the generator writes it; ``order`` (3, N) is for sorting."""

    close: Any
    flags: Any
    level: IntArray
    trace: Trace
    order: IntArray


def past_of(
    panel: PricePanel, generated: GeneratedState, session: int, horizon: int, haircut_e6: int
) -> Past:
    """The sums of a generated market up to a session, with room for ``horizon`` more."""
    if len(panel.symbols) > MOST_NAMES:
        raise InputError(
            f"continuations are simulated for up to {MOST_NAMES} names, not {len(panel.symbols)};"
            " generate the market with fewer"
        )
    seen = slice(0, session + 1)
    returns = np.nan_to_num(panel.simple_returns()[seen])
    names = returns.shape[1]
    rows = session + 1 + horizon
    level, square = np.empty((rows, names)), np.empty((rows, names))
    volume, market = np.empty((rows, names), dtype=np.int64), np.empty(rows)
    turnover = np.empty((rows, names))
    level[seen] = np.cumprod(1.0 + returns, axis=0)
    square[seen] = np.cumsum(returns * returns, axis=0)
    shares = np.where(panel.volume_shares[seen] == NULL, 0, panel.volume_shares[seen])
    volume[seen] = np.cumsum(shares, axis=0)
    turnover[seen] = np.cumsum(panel.close[seen] * _UNITS * shares, axis=0)
    market[seen] = np.cumprod(1.0 + returns.sum(axis=1) / names)
    old = generated.drawn.panel
    traded = (old.volume_shares > 0) & ~old.suspended
    total = np.where(traded, old.volume_shares, 0).sum(axis=0, dtype=np.float64)
    split = np.ones((session + 1, names))
    split[1:] = np.where(
        panel.suspended[1 : session + 1], 1.0,
        panel.close[:session] / panel.pre_close[1 : session + 1],
    )  # fmt: skip
    return Past(
        level=level,
        square=square,
        volume=volume,
        turnover=turnover,
        market=market,
        haircut=np.where(old.haircut == NULL, haircut_e6, old.haircut),
        traded=np.where(old.volume_shares == NULL, -1, old.volume_shares),
        usual=np.where(traded.any(axis=0), total / np.maximum(traded.sum(axis=0), 1), 1.0),
        split=np.minimum(np.cumprod(split, axis=0), MOST_SHARES)[-1],
    )


def room_of(
    panel: PricePanel, rules: MarginRules, session: int, horizon: int
) -> tuple[Market, Room]:
    """The market up to a session with ``horizon`` empty rows after it, and room to fill them.

    Ratios and rates beyond the rules' last session are those of that session.
    """
    names, rows = len(panel.symbols), session + 1 + horizon
    ratio, rate = (
        np.append(x[:rows], np.full(max(rows - len(x), 0), x[-1]))
        for x in (rules.initial_ratio_e6, rules.rate_bps)
    )
    made = prepare(panel, rules.initial_ratio_e6, rules.rate_bps, rules.haircut_e6, 0, session)
    days = weekdays(panel.sessions[0].astype("datetime64[D]").item(), rows)
    month = days.astype("datetime64[M]")
    turns = month[1:] != month[:-1]

    def longer(block: Any) -> Any:
        by_name = not block.flags.c_contiguous  # the engine is compiled for one layout
        shape = (rows, *block.shape[1:])
        out = np.zeros(shape, dtype=block.dtype, order="F" if by_name else "C")
        out[: session + 1] = block
        return out

    by_day = {
        "day": days.astype(np.int64), "month_first": np.append(False, turns),
        "month_last": np.append(turns, False), "ratio": ratio, "rate": rate,
    }  # fmt: skip
    market = Market(
        **by_day, **{n: longer(getattr(made, n)) for n in Market._fields if n not in by_day}
    )
    shape = (horizon, names)
    trace = Trace(
        np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int32),
        np.empty(shape, dtype=np.int32), np.empty(horizon, dtype=np.int32),
    )  # fmt: skip
    room = Room(
        np.empty((1, *shape), dtype=np.int32), np.empty((1, *shape), dtype=np.uint8),
        np.empty((1, horizon), dtype=np.int64), trace, np.tile(np.arange(names), (3, 1)),
    )  # fmt: skip
    return market, room


@compiled
def row_sum(x: FloatArray) -> float:
    """numpy's sum of up to ``MOST_NAMES`` numbers, added up in numpy's order: eight by eight."""
    count = len(x)
    if count < 8:
        total = 0.0
        for k in range(count):
            total += x[k]
        return total
    part = x[:8].copy()
    whole = count - count % 8
    for k in range(8, whole):
        part[k % 8] += x[k]
    total = ((part[0] + part[1]) + (part[2] + part[3])) + (
        (part[4] + part[5]) + (part[6] + part[7])
    )
    for k in range(whole, count):
        total += x[k]
    return float(total)


@compiled
def _rank(value: FloatArray, wanted: Any, order: IntArray, count: int, rank: Any) -> None:
    """Ranks of the wanted names by value, 0 to 1; ``order`` is kept from session to session.

    The order is total (value, then place), so that where the sort starts from changes nothing; it
    is an insertion sort because a session changes little.
    """
    for k in range(1, len(order)):
        name = order[k]
        v, w = value[name], wanted[name]
        at = k
        while at > 0:
            other = order[at - 1]
            u = value[other]
            if not w or (wanted[other] and (u < v or (u == v and other < name))):
                break
            order[at] = other
            at -= 1
        order[at] = name
    top = max(count - 1, 1)
    for k in range(len(order)):
        rank[order[k]] = np.float32(k / top) if k < count else np.float32(0.0)


@compiled
def _come_across(m: Market, s: int, wanted: Any, traded: FloatArray) -> int:
    """Fill a session's list of names that clients come across; returns how many are wanted."""
    names, places = len(wanted), m.candidates.shape[1]
    count = 0
    for j in range(names):
        count += wanted[j]
    if places == names:  # no volumes: each wanted name once, then the others
        first, then = 0, count
        for j in range(names):
            if wanted[j]:
                m.candidates[s, first] = j
                first += 1
            else:
                m.candidates[s, then] = j
                then += 1
        m.candidate_count[s] = count
        return count
    total = 0.0
    for j in range(names):
        total += max(traded[j], 0.0) if wanted[j] else 0.0
    m.candidate_count[s] = places if total > 0.0 else 0
    j, so_far = -1, 0.0
    for k in range(places):
        at = (k + 0.5) / places * total
        while so_far <= at and total > 0.0:
            j += 1
            so_far += max(traded[j], 0.0) if wanted[j] else 0.0
        m.candidates[s, k] = max(j, 0)
    return count


@compiled
def carry_on(
    continued: Continued, path: int, past: Past, m: Market, room: Room, session: int
) -> None:
    """Fill the rows after ``session`` of a market with one continuation.

    Path ``path`` is that of ``continuations`` with the same seed.
    """
    advance_many(
        continued.source, continued.plan, continued.state, continued.seed, path,
        room.close, room.flags, room.level, room.trace,
    )  # fmt: skip
    horizon, names = room.trace.row.shape
    returns = np.empty(names)
    trend, swing, crowd = np.empty(names), np.empty(names), np.empty(names)
    traded = np.empty(names)
    wanted = np.empty(names, dtype=np.bool_)
    for h in range(horizon):
        s = session + 1 + h
        back, near = s - LOOK_BACK, s - CROWD_SESSIONS
        for j in range(names):
            flag, row, donor = room.flags[0, h, j], room.trace.row[h, j], room.trace.donor[h, j]
            close, before = np.int64(room.close[0, h, j]), m.close[s - 1, j]
            halted = flag & SUSPENDED != 0
            special = flag & SPECIAL != 0
            m.close[s, j] = close
            m.flags[s, j] = flag & _KEPT
            m.payout[s, j] = 0
            good = flag & COLLATERAL != 0 and not special
            m.haircut[s, j] = past.haircut[row, donor] if good else 0
            wanted[j] = good and flag & BUYABLE != 0
            r = 0.0 if halted else float(close) / float(before) - 1.0
            returns[j] = r
            past.level[s, j] = past.level[s - 1, j] * (1.0 + r)
            past.square[s, j] = past.square[s - 1, j] + r * r
            shares = past.traded[row, donor]
            volume = 0
            if shares > 0 and not halted:
                own = past.usual[j] / past.usual[donor] * past.split[j]
                volume = int(min(max(np.rint(shares * own), 1.0), float(MOST_SHARES)))
            past.volume[s, j] = past.volume[s - 1, j] + volume
            trend[j] = past.level[s, j] / past.level[back, j] - 1.0 if back >= 0 else 0.0
            swing[j] = past.square[s, j] - (past.square[back, j] if back >= 0 else 0.0)
            short = past.volume[s, j] - (past.volume[near, j] if near >= 0 else 0)
            long = past.volume[s, j] - (past.volume[back, j] if back >= 0 else 0)
            money = float(close) * _UNITS * float(volume)
            past.turnover[s, j] = past.turnover[s - 1, j] + money
            traded[j] = past.turnover[s, j]
            if s >= TRADED_OVER:
                traded[j] -= past.turnover[s - TRADED_OVER, j]
            crowd[j] = float(short) / float(max(long, 1))
        past.market[s] = past.market[s - 1] * (1.0 + row_sum(returns) / names)
        m.market_trend[s] = past.market[s] / past.market[back] - 1.0 if back >= 0 else 0.0
        count = _come_across(m, s, wanted, traded)
        _rank(trend, wanted, room.order[0], count, m.trend_rank[s])
        _rank(swing, wanted, room.order[1], count, m.swing_rank[s])
        _rank(crowd, wanted, room.order[2], count, m.crowd_rank[s])
