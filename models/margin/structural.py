"""The structural limit: what leverage a book of shares survives on the common scenario set.

Per client and path the smallest value its holdings reach is turned into the leverage from which on
the account would be sold by force; the share of paths (by weight) below a leverage is the chance of
a forced sale at it. So all leverages share their random numbers, and the chance rises with leverage
by construction. The lender's loss is evaluated on a grid of leverages, with sales at the first
session at which each name can be sold and a square-root impact; along the grid a path's loss never
falls.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.units import FloatArray, IntArray
from models.compiled import compiled
from models.margin.scenarios import Float32Array, ScenarioSet

STRESS_SHARE: Final = 0.25
"""Weight of the stressed chance (EMIR RTS 153/2013 art. 28, tool (b))."""
LEVERAGE_GRID: Final = np.round(np.arange(1.05, 3.2001, 0.05), 2)
"""Assets over equity at which risks are evaluated."""
_CHUNK: Final = 64


@dataclass(frozen=True)
class StructuralRisk:
    """Risks of n books over the horizon at each leverage of the grid, float64, shape (n, G).

    Attributes
    ----------
    forced, forced_se : chance of a forced sale without a cure, and its standard error
    stressed : the same on the paths of the worst markets (``ScenarioSet.stress_weight``)
    short, short_se : chance that the sale does not cover the debt, and its standard error
    loss : expected loss of the lender over opening equity
    """

    forced: FloatArray
    forced_se: FloatArray
    stressed: FloatArray
    short: FloatArray
    short_se: FloatArray
    loss: FloatArray

    @property
    def blended(self) -> FloatArray:
        """Three quarters of the chance and a quarter of the stressed one, shape (n, G)."""
        return np.asarray((1.0 - STRESS_SHARE) * self.forced + STRESS_SHARE * self.stressed)


@compiled
def _risk(
    value: Float32Array,
    leave: Float32Array,
    weight: FloatArray,
    stress: FloatArray,
    row: IntArray,
    symbol: IntArray,
    share: FloatArray,
    cost: FloatArray,
    grid: FloatArray,
    call: float,
    force: float,
    deadline: int,
    low: int,
    high: int,
    total: Float32Array,
    out: FloatArray,
) -> None:
    """Books ``low`` to ``high``; ``total`` (H, P) is room to work in, ``out`` (n, 6, G) filled."""
    horizon, paths, g = total.shape[0], total.shape[1], len(grid)
    for i in range(low, high):
        known = np.float32(0.0)
        for h in range(horizon):
            for p in range(paths):
                total[h, p] = np.float32(0.0)
        for j in range(symbol.shape[1]):
            if symbol[i, j] < 0:
                continue
            r, w = row[symbol[i, j]], np.float32(share[i, j])
            if r < 0:
                continue  # nothing is known of it: worth nothing
            known += w
            for h in range(horizon):
                for p in range(paths):
                    total[h, p] += w * value[r, h, p]
        for p in range(paths):
            # the leverage from which on the path ends in a forced sale
            critical, before = 1e9, float(known)
            for h in range(horizon):
                v = float(total[h, p])
                called_at = before if before > v else v
                if called_at < critical * call:
                    critical = called_at / call
                if v < critical * force:
                    critical = v / force
                before = v
            # assets L v over debt (L - 1) below a line c: v / c < 1 - 1 / L
            least = 1.0 / max(1.0 - critical, 1e-9) if critical < 1.0 else 1e9
            worst_loss, w = 0.0, weight[p]
            for k in range(g):
                lev = grid[k]
                if lev <= least:
                    continue
                out[i, 0, k] += w
                out[i, 1, k] += w * w
                out[i, 5, k] += stress[p]
                debt = lev - 1.0
                owed = 1.0 - 1.0 / lev
                sold = horizon - 1
                called = -1
                for h in range(horizon):
                    v = total[h, p]
                    if v < owed * force:
                        sold = h
                        break
                    if v < owed * call:
                        if called < 0:
                            called = h
                        elif h >= called + deadline:
                            sold = h
                            break
                    else:
                        called = -1
                sold = min(sold + 1, horizon - 1)
                got = 0.0
                for j in range(symbol.shape[1]):
                    if symbol[i, j] >= 0 and row[symbol[i, j]] >= 0:
                        r = row[symbol[i, j]]
                        got += share[i, j] * (1.0 - cost[i, j]) * leave[r, sold, p]
                worst_loss = max(worst_loss, debt - lev * got)
                if worst_loss > 0.0:
                    out[i, 2, k] += w
                    out[i, 3, k] += w * w
                    out[i, 4, k] += w * worst_loss


def structural_risk(
    scenarios: ScenarioSet,
    symbol: IntArray,
    share: FloatArray,
    *,
    cost: FloatArray | None = None,
    call: float = 1.30,
    force: float = 1.10,
    deadline: int = 1,
    grid: FloatArray = LEVERAGE_GRID,
    threads: int = 2,
) -> StructuralRisk:
    """Risks of books given as symbols (panel positions, -1 for none) and shares of assets.

    Parameters
    ----------
    symbol, share : shape (n, K); shares of a row sum to at most 1, the rest is worth nothing
    cost : shape (n, K), share of value lost to spread and impact when sold by force; default 1 %
    call, force : maintenance ratios of the lines; ``deadline`` sessions lie between call and sale
    """
    n, paths = len(symbol), len(scenarios.weight)
    given = np.full(share.shape, 0.01) if cost is None else cost
    out = np.zeros((n, 6, len(grid)))
    horizon = scenarios.value.shape[1]

    def part(low: int) -> None:
        room = np.empty((horizon, paths), dtype=np.float32)
        _risk(
            scenarios.value, scenarios.exit_value, scenarios.weight, scenarios.stress_weight,
            scenarios.row, symbol, share, given, grid, call, force, deadline, low,
            min(low + _CHUNK, n), room, out,
        )  # fmt: skip

    with ThreadPoolExecutor(max_workers=threads) as pool:
        list(pool.map(part, range(0, n, _CHUNK)))
    forced, short = out[:, 0] / paths, out[:, 2] / paths

    def error(second: FloatArray, mean: FloatArray) -> FloatArray:
        return np.asarray(np.sqrt(np.maximum(second / paths - mean**2, 0.0) / paths))

    return StructuralRisk(
        forced=forced,
        forced_se=error(out[:, 1], forced),
        stressed=out[:, 5] / paths,
        short=short,
        short_se=error(out[:, 3], short),
        loss=out[:, 4] / paths,
    )


def limit_at(risk: FloatArray, budget: FloatArray | float, grid: FloatArray) -> FloatArray:
    """The largest leverage whose risk stays within a budget, shape (n,), linear between points.

    Below the first point of the grid the risk is taken to fall to zero at leverage 1.

    Parameters
    ----------
    risk : shape (n, G), not falling along the grid
    """
    n = len(risk)
    allowed = np.broadcast_to(np.asarray(budget, dtype=np.float64), (n,))
    x = np.concatenate([[1.0], grid])
    y = np.concatenate([np.zeros((n, 1)), np.maximum.accumulate(risk, axis=1)], axis=1)
    within = (y <= allowed[:, None]).sum(axis=1)
    at = np.clip(within, 1, len(x) - 1)
    rows = np.arange(n)
    low, high = y[rows, at - 1], y[rows, at]
    share = np.clip((allowed - low) / np.maximum(high - low, 1e-15), 0.0, 1.0)
    found = x[at - 1] + share * (x[at] - x[at - 1])
    return np.asarray(np.where(within == 0, 1.0, np.where(within >= len(x), x[-1], found)))


def weights_of_positions(
    book: IntArray, symbol: IntArray, value: IntArray, books: int
) -> tuple[IntArray, FloatArray]:
    """Raw positions as rows of (symbol, share of holdings), one row a book, padded with -1.

    Parameters
    ----------
    book, symbol, value : flat, sorted by book; positions of a name in one book may repeat; values
        in minor units, those of 0 or less left out
    """
    kept = value > 0
    book, symbol, value = book[kept], symbol[kept], value[kept]
    count = np.bincount(book, minlength=books)
    most = int(count.max()) if len(count) else 0
    place = np.arange(len(book)) - np.repeat(np.cumsum(count) - count, count)
    out = np.full((books, max(most, 1)), -1, dtype=np.int64)
    share = np.zeros(out.shape)
    total = np.bincount(book, weights=value.astype(np.float64), minlength=books)
    out[book, place] = symbol
    share[book, place] = value / total[book]
    return out, share
