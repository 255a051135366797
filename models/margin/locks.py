"""What a price limit hides: the loss of sessions in which nobody could sell."""

from __future__ import annotations

from typing import Final

import numpy as np

from data_contracts.units import BoolArray, FloatArray, IntArray

RUN_QUANTILE: Final = 0.99
MOST_RUN: Final = 10


def locked_down(returns: FloatArray, limit: FloatArray) -> BoolArray:
    """Whether a close stood at the lower limit, shape (T, N); NaN limits lock nothing.

    Limit prices are rounded to the tick, so a return within 0.2 percentage points counts.
    """
    with np.errstate(invalid="ignore"):
        found: BoolArray = returns <= -(limit - 0.002)
    return found & ~np.isnan(returns) & ~np.isnan(limit)


def run_lengths(locked: BoolArray) -> IntArray:
    """Lengths of all runs of locked sessions, of all names one after another."""
    padded = np.zeros((locked.shape[0] + 2, locked.shape[1]), dtype=np.int8)
    padded[1:-1] = locked
    change = np.diff(padded, axis=0).T
    start = np.argwhere(change == 1)
    stop = np.argwhere(change == -1)
    return np.asarray(stop[:, 1] - start[:, 1], dtype=np.int64)


def lock_sessions(locked: BoolArray, board: IntArray, least: int) -> IntArray:
    """Sessions to reckon with per board: the 99 % quantile of the run lengths, shape (boards,).

    Never below ``least``, the sessions from a call to its sale; a board without a run takes that of
    all; at most ten.
    """
    everyone = run_lengths(locked)
    out = np.full(int(board.max()) + 1 if len(board) else 1, least, dtype=np.int64)
    for k in range(len(out)):
        runs = run_lengths(locked[:, board == k])
        runs = runs if len(runs) >= 100 else everyone
        if len(runs):
            out[k] = max(least, int(np.ceil(np.quantile(runs, RUN_QUANTILE))))
    return np.minimum(out, MOST_RUN)


def lock_loss(limit: FloatArray, sessions: IntArray) -> FloatArray:
    """1 - (1 - limit)^k: the fall over k locked sessions; 0 without a limit."""
    given = np.where(np.isnan(limit), 0.0, np.clip(limit, 0.0, 1.0))
    return np.asarray(1.0 - (1.0 - given) ** sessions)
