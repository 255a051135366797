"""Which pairs of columns may interact: FAST's ranking on the residual of the main effects.

For each pair a coarse two-way table of gradients and hessians is summed, and the pair is ranked by
the best gain of one cut on each column into four quadrants (Lou, Caruana, Gehrke & Hooker 2013,
"Accurate intelligible models with pairwise interactions"), less what the same cuts gain alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from data_contracts.units import FloatArray, IntArray

COARSE_BINS: Final = 16
MOST_ROWS: Final = 50_000


def coarse_bins(column: FloatArray, category: bool, gradient: FloatArray) -> tuple[IntArray, int]:
    """Bins of about equal size, missing first; a category's levels in order of their gradient."""
    missing = np.isnan(column)
    if category:
        levels, at = np.unique(column[~missing], return_inverse=True)
        mean = np.bincount(at, weights=gradient[~missing]) / np.maximum(np.bincount(at), 1)
        rank = np.argsort(np.argsort(mean, kind="stable"), kind="stable")
        position = rank[at] * COARSE_BINS // max(len(levels), COARSE_BINS)
    else:
        known = column[~missing]
        edges = (
            np.unique(np.quantile(known, np.linspace(0, 1, COARSE_BINS + 1)[1:-1], method="lower"))
            if len(known)
            else known
        )
        position = np.searchsorted(edges, known, side="left")
    number = np.zeros(len(column), dtype=np.int64)
    number[~missing] = 1 + position
    return number, int(number.max()) + 1


def _gain(g: FloatArray, h: FloatArray, l2: float) -> FloatArray:
    return np.asarray(g * g / (h + l2))


def pair_gain(g: FloatArray, h: FloatArray, l2: float) -> float:
    """Best gain of one cut on each axis of a two-way table over the same cuts alone."""
    gs, hs = g.cumsum(0).cumsum(1), h.cumsum(0).cumsum(1)
    total_g, total_h = gs[-1, -1], hs[-1, -1]
    a_g, a_h = gs[:-1, :-1], hs[:-1, :-1]
    row_g, row_h = gs[:-1, -1:], hs[:-1, -1:]
    col_g, col_h = gs[-1:, :-1], hs[-1:, :-1]
    d_g, d_h = total_g - row_g - col_g + a_g, total_h - row_h - col_h + a_h
    four = (
        _gain(a_g, a_h, l2)
        + _gain(row_g - a_g, row_h - a_h, l2)
        + _gain(col_g - a_g, col_h - a_h, l2)
        + _gain(d_g, d_h, l2)
    )
    rows = _gain(row_g, row_h, l2) + _gain(total_g - row_g, total_h - row_h, l2)
    cols = _gain(col_g, col_h, l2) + _gain(total_g - col_g, total_h - col_h, l2)
    best = four - rows - cols + _gain(total_g, total_h, l2)
    return float(best.max()) if best.size else 0.0


def ranked_pairs(
    columns: FloatArray,
    categorical: tuple[int, ...],
    gradient: FloatArray,
    hessian: FloatArray,
    count: int,
    l2: float,
) -> list[tuple[int, int]]:
    """The ``count`` pairs of columns with the largest gain, best first."""
    if len(columns) > MOST_ROWS:
        chosen = np.linspace(0, len(columns) - 1, MOST_ROWS).astype(np.int64)
        columns, gradient, hessian = columns[chosen], gradient[chosen], hessian[chosen]
    bins = [coarse_bins(columns[:, k], k in categorical, gradient) for k in range(columns.shape[1])]
    gains: dict[tuple[int, int], float] = {}
    for i in range(len(bins)):
        for j in range(i + 1, len(bins)):
            (a, m), (b, n) = bins[i], bins[j]
            cell = a * n + b
            g = np.bincount(cell, weights=gradient, minlength=m * n).reshape(m, n)
            h = np.bincount(cell, weights=hessian, minlength=m * n).reshape(m, n)
            gains[i, j] = pair_gain(g.astype(np.float64), h.astype(np.float64), l2)
    return sorted(gains, key=lambda p: (-gains[p], p))[:count]
