"""Impact of forced sales with feedback: the book's own forced sales move the prices it lives on.

Forced sales of a session are summed as whole shares per name over all clients, a sum that depends
on no order. They press on the next session's price by the square-root law (Sato and Kanazawa 2024:
exponent 0.489), and the pressure fades with a half-life of 20 sessions (Bian, He, Shue and Zhou
2018: the decline reverses over about 40). Price limits hold: what a limit cuts off presses on.

Real prices hold the impact of the real forced sales already; on them this is an experiment, off by
default.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import NULL, RATIO_ONE, FloatArray, IntArray
from features.panel import PricePanel
from training.lab.engine import Clients, State, advance, new_state
from training.lab.market import BUYABLE, SELLABLE, TICK, limit_prices, reference_prices
from training.lab.mechanics import DEBT, Logs
from training.lab.simulate import CHUNK, Progress, Stage, cast_of, threads_or_all

HALF_LIFE_SESSIONS: Final = 20
LOOK_BACK: Final = 20
"""Sessions of volume and volatility behind a session's depth."""
DEBT_IN_DAYS_OF_TURNOVER: Final = 1.0
"""The book stands for a market whose margin debt is one day's turnover: 2.5 % of the float in
November 2025, a float that turned over about 2.5 % a day. Assumption, from published ratios."""
LEAST_FACTOR: Final = 0.05
BLOCK: Final = 20_000


@dataclass(frozen=True)
class Impact:
    """What the feedback did.

    Attributes
    ----------
    forced_shares : int64, shape (sessions, names), of the book itself, not scaled up
    factor_e6 : int64, shape (sessions, names), price with the impact over price without, in 1e-6
    """

    forced_shares: IntArray
    factor_e6: IntArray


def depth(panel: PricePanel) -> tuple[FloatArray, FloatArray]:
    """Shares a name trades in a session, and its daily volatility, over the look-back; (T, N)."""
    volume = np.where(panel.volume_shares == NULL, 0, panel.volume_shares).astype(np.float64)
    move = np.nan_to_num(panel.simple_returns())
    return _mean(volume), np.sqrt(_mean(move * move))


def _mean(x: FloatArray) -> FloatArray:
    total = np.cumsum(x, axis=0)
    total[LOOK_BACK:] -= total[:-LOOK_BACK].copy()
    count = np.minimum(np.arange(1, len(x) + 1), LOOK_BACK)
    return np.asarray(np.maximum(total / count[:, None], 0.0))


def pressure(
    strength: float, sigma: FloatArray, shares: FloatArray, daily_shares: FloatArray
) -> FloatArray:
    """Relative fall by the square-root law, ``strength * sigma * sqrt(shares / daily)``."""
    ratio = np.divide(shares, daily_shares, out=np.zeros_like(sigma), where=daily_shares > 0)
    return np.asarray(np.minimum(strength * sigma * np.sqrt(ratio), 0.5))


class _Prices:
    """The stage's prices with the impact in them, filled in session by session."""

    def __init__(self, stage: Stage) -> None:
        self.stage, m = stage, stage.market
        window = slice(stage.first, stage.last + 1)
        self.plain = m.close
        self.market = m._replace(
            close=m.close.copy("K"), payout=m.payout.copy("K"), flags=m.flags.copy("K")
        )
        self.reference = reference_prices(stage.panel)[window].copy()
        self.limit = stage.panel.price_limit[window]
        up, down = limit_prices(stage.panel)
        self.at_floor = (down[window] != NULL) & (m.close <= down[window])
        self.at_top = (up[window] != NULL) & (m.close >= up[window])
        self.factor = np.full_like(m.close, RATIO_ONE)

    def fill(self, s: int, wanted: FloatArray) -> None:
        """Set session s: the wanted factor on the plain price, inside the session's limits."""
        m = self.market
        before = self.factor[s - 1] if s else np.full(m.close.shape[1], RATIO_ONE)
        touched = (wanted < 1.0) | (before < RATIO_ONE)
        if not touched.any():
            return
        plain, limit = self.plain[s], self.limit[s]
        limited = touched & (limit != NULL) & (self.reference[s] != NULL)
        tick = np.where(limit != NULL, TICK, 1)
        reference = self.reference[s] * before // RATIO_ONE // tick * tick
        unit = TICK * RATIO_ONE
        room = np.where(limited, limit, 0)
        base = np.where(limited, reference, 0)
        up = (base * (RATIO_ONE + room) + unit // 2) // unit * TICK
        down = (base * (RATIO_ONE - room) + unit // 2) // unit * TICK
        close = (plain * np.rint(wanted * RATIO_ONE).astype(np.int64) // RATIO_ONE) // tick * tick
        halted = self.stage.panel.suspended[self.stage.first + s]
        close = np.where(halted, m.close[s - 1] if s else plain, close)
        free = limited & ~halted
        close = np.where(free & self.at_floor[s], down, close)
        close = np.where(free, np.clip(close, down, up), close)
        close = np.where(touched & (plain > 0), np.maximum(close, tick), plain)
        floor, top = free & (close <= down), free & (close >= up)
        flags = m.flags[s]
        flags[free] |= BUYABLE | SELLABLE
        flags[floor] &= np.uint8(255 - SELLABLE)
        flags[top] &= np.uint8(255 - BUYABLE)
        m.close[s] = close
        m.payout[s] = m.payout[s] * before // RATIO_ONE
        self.reference[s] = np.where(
            touched & (self.reference[s] != NULL), reference, self.reference[s]
        )
        self.factor[s] = np.where(plain > 0, close * RATIO_ONE // np.maximum(plain, 1), before)

    def stage_with(self) -> Stage:
        """The stage on these prices."""
        panel, window = self.stage.panel, slice(self.stage.first, self.stage.last + 1)
        close, pre = panel.close.copy(), panel.pre_close.copy()
        listed = close[window] != NULL
        close[window] = np.where(listed, self.market.close, NULL)
        known = pre[window] != NULL
        pre[window] = np.where(known, self.reference, NULL)
        return replace(
            self.stage, panel=replace(panel, close=close, pre_close=pre), market=self.market
        )


@dataclass
class _Part:
    who: Clients
    state: State


def feel_impact(
    stage: Stage,
    clients: int,
    *,
    strength: float,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[Stage, Impact]:
    """Let the whole book live once, session by session, and move the prices by its forced sales.

    Returns the stage with the moved prices: the same clients on it live the very same lives, so
    that their tables can be written block by block.

    Raises
    ------
    InputError
        If the market has no volumes, or the strength is out of range.
    """
    if not 0.0 <= strength <= 5.0:
        raise InputError(f"the impact's strength is {strength}; it must be from 0 to 5")
    daily, sigma = (x[stage.first : stage.last + 1] for x in depth(stage.panel))
    if strength > 0 and not daily.any():
        raise InputError("this market has no volumes, so forced sales cannot move its prices")
    prices = _Prices(stage)
    parts = []
    for low in range(0, clients, BLOCK):
        count = min(BLOCK, clients - low)
        parts.append(_Part(cast_of(stage, stage.people(low, count)), new_state(count)))
    jobs = [
        (part, at, min(at + CHUNK, len(part.who.number)))
        for part in parts
        for at in range(0, len(part.who.number), CHUNK)
    ]
    names = len(stage.panel.symbols)
    wanted = np.ones(names)
    keep = 0.5 ** (1.0 / HALF_LIFE_SESSIONS)
    forced_by = np.zeros((stage.sessions, names), dtype=np.int64)

    def live(job: tuple[_Part, int, int], s: int) -> IntArray:
        part, low, high = job
        forced = np.zeros(names, dtype=np.int64)
        none = Logs(
            np.empty((0, 14), dtype=np.int64), np.empty((0, 5), dtype=np.int64),
            np.zeros(3, dtype=np.int64), forced,
        )  # fmt: skip
        advance(
            prices.market, stage.terms, stage.seed, part.who, part.state, none, low, high, s, s + 1
        )
        return forced

    with ThreadPoolExecutor(max_workers=threads_or_all(threads)) as pool:
        for s in range(stage.sessions):
            prices.fill(s, wanted)
            for forced in pool.map(lambda job, now=s: live(job, now), jobs):
                forced_by[s] += forced
            debt = sum(int(part.state.totals[:, DEBT].sum()) for part in parts)
            worth = float((daily[s] * np.maximum(prices.market.close[s], 0)).sum()) / 100.0
            scale = worth * DEBT_IN_DAYS_OF_TURNOVER / debt if debt else 0.0
            push = pressure(strength, sigma[s], forced_by[s] * scale, daily[s])
            wanted = np.maximum((1.0 - (1.0 - wanted) * keep) * (1.0 - push), LEAST_FACTOR)
            if progress is not None:
                progress(s + 1, stage.sessions)
    return prices.stage_with(), Impact(forced_by, prices.factor)
