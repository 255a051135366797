"""Joint paths of all securities: the common scenario set that every client is simulated on.

Filtered historical simulation (Barone-Adesi, Giannopoulos and Vosper 1999) in blocks of sessions,
so that runs of limit-down closes and suspensions stay together. A day's return of a name is
rescaled by its volatility expected over the horizon over its volatility on that day, the factor
capped (filtering over-reacts to a step in volatility: Gurrola-Perez and Murphy 2015). A name that
was not listed on a day borrows that day from a name of its pool (board and size) that was; the pool
is recorded. Days of crashes are drawn more often than they came, and paths carry the likelihood
ratio as a weight (importance sampling with a defensive mixture: Hesterberg 1995).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from data_contracts.units import NULL, RATIO_ONE, BoolArray, FloatArray, IntArray
from features.panel import PricePanel
from models.compiled import compiled
from models.margin.volatility import (
    FAST_DECAY,
    SLOW_DECAY,
    ewma_volatility,
    expected_volatility,
)

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]

HORIZON_SESSIONS: Final = 60
PATHS: Final = 512
BLOCK_SESSIONS: Final = 10
LONG_WINDOW_SESSIONS: Final = 2520
LEAST_OWN_HISTORY: Final = 250
MOST_RESCALING: Final = 2.0
TURNOVER_SESSIONS: Final = 60
SIZES: Final = 3
TILT_IN_DEVIATIONS: Final = 0.6
"""Tilted blocks are exp(-tilt x standardised block return) times likelier."""
TILTED_SHARE: Final = 0.5
LARGEST_LIMIT: Final = 0.95
STRESSED_SHARE: Final = 0.05
STRESS_PATHS: Final = 20
YEAR_SESSIONS: Final = 243


@dataclass(frozen=True)
class Pools:
    """Which pool stands in for what a name lacks at a session.

    Attributes
    ----------
    pool : int64, shape (N,), board x 3 + third of turnover
    twin : int64, shape (N,), the name whose days are borrowed; the name itself with ten years
    own_sessions : int64, shape (N,), sessions with a return of its own in the window
    """

    pool: IntArray
    twin: IntArray
    own_sessions: IntArray


@dataclass(frozen=True)
class ScenarioSet:
    """P joint paths of N names over H sessions, as of one session.

    Attributes
    ----------
    value : float32, shape (N, H, P), value of a unit held
    exit_value : float32, shape (N, H, P), value at the first session from then on when the name can
        be sold (neither suspended nor at its lower limit); what is locked to the end gives its last
        value less one more limit
    weight : float64, shape (P,), likelihood ratios, mean about 1
    stress_weight : float64, shape (P,), the weights of the paths on which the market falls
        furthest, the worst twentieth, scaled to mean 1
    names : int64, shape (M,), place of each row in the panel; ``row`` is the inverse, -1 for none
    """

    value: Float32Array
    exit_value: Float32Array
    weight: FloatArray
    stress_weight: FloatArray
    names: IntArray
    row: IntArray

    @property
    def effective_paths(self) -> float:
        """(sum w)^2 / sum w^2 (Kish)."""
        return float(self.weight.sum() ** 2 / (self.weight**2).sum())


@compiled
def _walk(
    moves: Float32Array,
    limit: Float32Array,
    days: Int32Array,
    low: int,
    high: int,
    value: Float32Array,
    exit_value: Float32Array,
) -> None:
    """Walk names ``low`` to ``high`` along the paths; moves beyond a limit are carried over."""
    paths, horizon = days.shape
    locked = np.zeros(horizon, dtype=np.uint8)
    for i in range(low, high):
        most = limit[i]
        for p in range(paths):
            level, carried = np.float32(1.0), np.float32(0.0)
            for h in range(horizon):
                x = moves[i, days[p, h]]
                if np.isnan(x):
                    locked[h] = 1
                else:
                    wanted = carried + x
                    done = min(max(wanted, -most), most)
                    carried = wanted - done
                    level *= np.float32(1.0) + done
                    locked[h] = 1 if done <= -most else 0
                value[i, h, p] = level
            last = level * (np.float32(1.0) - most)
            for k in range(horizon):
                h = horizon - 1 - k
                if locked[h] == 0:
                    last = value[i, h, p]
                exit_value[i, h, p] = last


def year_rise(market: FloatArray, t: int) -> float | None:
    """The equal-weighted market's rise over the 243 sessions up to row t; None with fewer.

    Parameters
    ----------
    market : returns, one a session of the panel; the first has none
    """
    if t < YEAR_SESSIONS:
        return None
    returns = np.nan_to_num(np.asarray(market[t - YEAR_SESSIONS + 1 : t + 1], dtype=np.float64))
    return float(np.expm1(np.log1p(returns).sum()))


def draw_days(
    market: FloatArray, paths: int, horizon: int, seed: int, tilted: bool = True
) -> tuple[Int32Array, FloatArray]:
    """Days of each path, (P, H) positions in the window, and the weight of each path.

    Half of the paths (none with ``tilted`` false) draw blocks after falls more often:
    q_b proportional to exp(-tilt z_b), z_b the block's standardised market return. With p_b = 1/B,
    a path of blocks b_1..b_k weighs 1 / (1 - s + s prod q_b / p_b), s the tilted share.
    """
    rng = np.random.default_rng(seed)
    starts = len(market) - BLOCK_SESSIONS + 1
    of_path = -(-horizon // BLOCK_SESSIONS)
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(market))])
    block = total[BLOCK_SESSIONS:] - total[:-BLOCK_SESSIONS]
    z = np.clip((block - block.mean()) / max(block.std(), 1e-12), -4.0, 4.0)
    likelier = np.exp(-TILT_IN_DEVIATIONS * z)
    likelier /= likelier.mean()
    u = rng.random((paths, of_path))
    drawn = (u * starts).astype(np.int64)
    weight = np.ones(paths)
    if tilted:
        towards = np.arange(paths) < round(paths * TILTED_SHARE)
        cumulative = np.cumsum(likelier) / starts
        steep = np.minimum(np.searchsorted(cumulative, u), starts - 1)
        drawn = np.where(towards[:, None], steep, drawn)
        ratio = np.exp(np.log(likelier)[drawn].sum(axis=1))
        weight = 1.0 / (1.0 - TILTED_SHARE + TILTED_SHARE * ratio)
    days = (drawn[:, :, None] + np.arange(BLOCK_SESSIONS)).reshape(paths, -1)[:, :horizon]
    return days.astype(np.int32), weight


def stress_weight_of(market: FloatArray, drawn: Int32Array, weight: FloatArray) -> FloatArray:
    """Weights of the paths on which the market falls furthest, scaled to mean 1.

    The worst ``STRESSED_SHARE`` of all paths by weight, at least ``STRESS_PATHS``.
    """
    path = np.cumsum(np.log1p(market)[drawn], axis=1).min(axis=1)
    order = np.argsort(path, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    count = max(int(np.searchsorted(share, STRESSED_SHARE)) + 1, min(STRESS_PATHS, len(path)))
    kept = np.zeros(len(weight))
    kept[order[:count]] = weight[order[:count]]
    return np.asarray(kept * len(kept) / kept.sum())


class ScenarioSource:
    """Returns and volatilities of a panel, once; ``at(t)`` sees rows up to t only."""

    def __init__(self, panel: PricePanel) -> None:
        self.panel = panel
        self.boards = tuple(sorted(set(panel.board)))
        self.board = np.array([self.boards.index(x) for x in panel.board], dtype=np.int64)

    @cached_property
    def returns(self) -> Float32Array:
        """Simple returns, shape (T, N); NaN where undefined or suspended."""
        return self.panel.simple_returns().astype(np.float32)

    @cached_property
    def fast(self) -> Float32Array:
        """EWMA volatility of the last weeks, shape (T, N)."""
        return ewma_volatility(self.returns.astype(np.float64), FAST_DECAY).astype(np.float32)

    @cached_property
    def slow(self) -> Float32Array:
        """EWMA volatility of the last months, shape (T, N)."""
        return ewma_volatility(self.returns.astype(np.float64), SLOW_DECAY).astype(np.float32)

    @cached_property
    def volatility(self) -> Float32Array:
        """The larger of the two, shape (T, N)."""
        return np.fmax(self.fast, self.slow)

    @cached_property
    def listed(self) -> BoolArray:
        """Whether a name has a price, shape (T, N)."""
        found: BoolArray = (self.panel.close != NULL) & (self.panel.close > 0)
        return found

    @cached_property
    def market(self) -> FloatArray:
        """Equal-weighted mean return, shape (T,); 0 on the first session."""
        seen = ~np.isnan(self.returns)
        total = np.where(seen, self.returns, 0.0).sum(axis=1, dtype=np.float64)
        return np.asarray(total / np.maximum(seen.sum(axis=1), 1))

    @cached_property
    def _turnover(self) -> FloatArray:
        known = (self.panel.volume_shares != NULL) & self.listed
        traded = np.where(known, self.panel.close * 1e-4 * self.panel.volume_shares, 0.0)
        return np.cumsum(traded, axis=0)

    def turnover(self, t: int) -> FloatArray:
        """Mean traded value a session over the last 60, currency units, shape (N,)."""
        first = max(t - TURNOVER_SESSIONS, 0)
        span = self._turnover[t] - self._turnover[first]
        return np.asarray(span / max(t - first, 1))

    def pools(self, t: int, first: int) -> Pools:
        """Pools of the names as of row t, for a window that begins at row ``first``."""
        n = len(self.panel.symbols)
        own = (~np.isnan(self.returns[first : t + 1])).sum(axis=0).astype(np.int64)
        traded, alive = self.turnover(t), self.listed[t]
        size = np.zeros(n, dtype=np.int64)
        for k in range(len(self.boards)):
            mine = alive & (self.board == k)
            rank = np.argsort(np.argsort(traded[mine], kind="stable"), kind="stable")
            size[mine] = rank * SIZES // max(int(mine.sum()), 1)
        pool = self.board * SIZES + size
        twin = np.arange(n, dtype=np.int64)
        longest = np.lexsort((np.arange(n), -own))
        for k in np.unique(pool[alive]):
            short = np.flatnonzero(alive & (pool == k) & (own < t + 1 - first))
            rich = longest[(pool[longest] == k) & (own[longest] >= LEAST_OWN_HISTORY)]
            if len(rich) < 10:  # a young board: any name of its size
                rich = longest[
                    (pool[longest] % SIZES == k % SIZES) & (own[longest] >= LEAST_OWN_HISTORY)
                ]
            if len(rich) == 0:
                rich = longest[:1]
            # the names with the longest history, in turn, so that a pool keeps its variety
            rich = rich[: max(len(rich) // 4, 1)]
            twin[short] = rich[np.arange(len(short)) % len(rich)]
        return Pools(pool, twin, own)

    def moves(
        self, t: int, horizon: int, wanted: IntArray | None = None
    ) -> tuple[Float32Array, IntArray, IntArray, Pools]:
        """Rescaled moves of the names listed at t, or of those wanted, on each day, (M, D).

        Returns
        -------
        The moves (NaN for a suspension), names, days (rows of the panel) and pools.
        """
        first = max(1, t + 1 - LONG_WINDOW_SESSIONS)
        pools = self.pools(t, first)
        names = np.flatnonzero(self.listed[t])
        with np.errstate(all="ignore"):
            usual = self.volatility[t - 1][names]
            pooled = np.nanmedian(np.where(usual > 0, usual, np.nan))
        if wanted is not None:
            names = names[np.isin(names, wanted)]
        days = np.arange(first, t + 1)
        twin = pools.twin[names]
        mine, theirs = self.returns[first : t + 1][:, names], self.returns[first : t + 1][:, twin]
        before = self.volatility[first - 1 : t]
        own_before, their_before = before[:, names], before[:, twin]
        was_there = self.listed[first : t + 1][:, names] & (own_before > 0)
        now, slow = self.fast[t][names], self.slow[t][names]
        level = np.where(np.isnan(slow), pooled, slow).astype(np.float64)
        now = np.where(np.isnan(now), level, now).astype(np.float64)
        ahead = expected_volatility(now, level, horizon).astype(np.float32)
        move = np.where(was_there, mine, theirs)
        sigma = np.where(was_there, own_before, their_before)
        with np.errstate(all="ignore"):
            factor = ahead[None, :] / sigma
        factor = np.where(np.isfinite(factor), factor, np.float32(1.0))
        np.clip(factor, 1.0 / MOST_RESCALING, MOST_RESCALING, out=factor)
        # a day on which neither the name nor its twin traded is a suspension only if the name was
        # listed; else the market's mean move stands in
        nobody = ~was_there & np.isnan(theirs)
        market = self.market[first : t + 1].astype(np.float32)
        move = np.where(nobody, market[:, None], move * factor)
        return np.ascontiguousarray(move.T.astype(np.float32)), names, days, pools

    def limits(self, t: int) -> FloatArray:
        """Price limit of each name as a ratio; one that has none gets 0.95, shape (N,)."""
        given = self.panel.price_limit[t]
        return np.where(given == NULL, LARGEST_LIMIT, np.minimum(given / RATIO_ONE, LARGEST_LIMIT))

    def at(
        self,
        t: int,
        *,
        paths: int = PATHS,
        horizon: int = HORIZON_SESSIONS,
        seed: int = 0,
        tilted: bool = True,
        names: IntArray | None = None,
    ) -> ScenarioSet:
        """The scenario set of row t, for all listed names or those of ``names`` that are."""
        move, alive, days, _ = self.moves(t, horizon, names)
        drawn, weight = draw_days(self.market[days], paths, horizon, seed, tilted)
        shape = (len(alive), horizon, paths)
        value, leave = np.empty(shape, np.float32), np.empty(shape, np.float32)
        limit = self.limits(t)[alive].astype(np.float32)
        _walk(move, limit, drawn, 0, len(alive), value, leave)
        row = np.full(len(self.panel.symbols), -1, dtype=np.int64)
        row[alive] = np.arange(len(alive))
        return ScenarioSet(
            value, leave, weight, stress_weight_of(self.market[days], drawn, weight), alive, row
        )
