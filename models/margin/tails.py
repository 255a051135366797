"""Tail losses of single securities: filtered, unscaled and in the market's worst weeks."""

from __future__ import annotations

import numpy as np

from data_contracts.units import FloatArray, IntArray


def expected_shortfall(moves: FloatArray, tail: float) -> FloatArray:
    """Mean loss of the worst tail of each column, ignoring NaN; NaN for an empty column.

    The mean of the worst ``ceil(n x tail)`` of n moves, never negative (Acerbi and Tasche 2002).
    """
    ordered = np.sort(moves, axis=0)
    valid = (~np.isnan(ordered)).sum(axis=0)
    worst = np.maximum(np.ceil(valid * tail), 1).astype(int)
    summed = np.cumsum(np.where(np.isnan(ordered), 0.0, ordered), axis=0)
    if len(moves) == 0:
        return np.full(moves.shape[1], np.nan)
    mean = summed[np.minimum(worst, len(moves)) - 1, np.arange(moves.shape[1])] / worst
    return np.where(valid > 0, np.maximum(-mean, 0.0), np.nan)


def rescaled(moves: FloatArray, before: FloatArray, now: FloatArray, most: float) -> FloatArray:
    """Moves times volatility now over volatility before them, the factor within 1/most and most."""
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = now[None, :] / before
    factor = np.where(np.isfinite(factor), factor, 1.0)
    return np.asarray(moves * np.clip(factor, 1.0 / most, most))


def pooled(values: FloatArray, pool: IntArray, board: IntArray, usable: FloatArray) -> FloatArray:
    """The median of the usable values of each name's pool; of its board, or of all, without any.

    Parameters
    ----------
    usable : true where a value may stand for others, shape (N,)
    """
    ok = usable.astype(bool) & ~np.isnan(values)
    everyone = float(np.median(values[ok])) if bool(ok.any()) else 1.0
    out = np.full(len(values), everyone)
    for groups in (board, pool):
        for k in np.unique(groups):
            of = ok & (groups == k)
            if int(of.sum()) >= 5:
                out[groups == k] = np.median(values[of])
    return out
