"""Volatility of a security: EWMA at two speeds, and what it is expected to be over a horizon."""

from __future__ import annotations

from typing import Final

import numpy as np

from data_contracts.units import FloatArray

FAST_DECAY: Final = 0.94
SLOW_DECAY: Final = 0.99
"""RiskMetrics' daily decay (J.P. Morgan 1996), and one with a memory of about 100 sessions."""
STARTING: Final = 20
REVERSION: Final = 0.97
"""Share of the distance to the long-run variance that is left after a session: half in 23."""


def ewma_volatility(returns: FloatArray, decay: float) -> FloatArray:
    """Exponentially weighted daily volatility, shape (T, N), each row using returns up to that row.

    A missing return leaves the estimate as it was; it starts from the mean square of 20.
    """
    total, count = np.zeros(returns.shape[1]), np.zeros(returns.shape[1])
    variance = np.full(returns.shape[1], np.nan)
    out = np.full(returns.shape, np.nan)
    for t in range(len(returns)):
        r = returns[t]
        seen = ~np.isnan(r)
        square = np.where(seen, r * r, 0.0)
        starting = seen & (count < STARTING)
        total += np.where(starting, square, 0.0)
        count += starting
        variance = np.where(
            starting,
            total / np.maximum(count, 1),
            np.where(seen, decay * variance + (1.0 - decay) * square, variance),
        )
        out[t] = np.sqrt(variance)
    return out


def merged_locks(returns: FloatArray, locked: FloatArray | None) -> FloatArray:
    """Returns with each run of locked sessions and the first free one as a single move.

    A price limit cuts one move into several smaller ones and so biases volatility down. The merged
    move stands at the end of the run, the sessions before it are NaN.

    Parameters
    ----------
    locked : 1 where the name closed at a limit, shape (T, N); None leaves the returns as they are
    """
    if locked is None:
        return returns
    out = returns.copy()
    carried = np.zeros(returns.shape[1])
    for t in range(len(returns)):
        r = np.where(np.isnan(returns[t]), 0.0, returns[t])
        whole = (1.0 + carried) * (1.0 + r) - 1.0
        waits = (locked[t] > 0) & ~np.isnan(returns[t]) & (t < len(returns) - 1)
        out[t] = np.where(waits, np.nan, np.where(np.isnan(returns[t]), np.nan, whole))
        carried = np.where(waits | np.isnan(returns[t]), whole, 0.0)
    return out


def expected_volatility(
    now: FloatArray, long_run: FloatArray, horizon: int, reversion: float = REVERSION
) -> FloatArray:
    """Root mean variance over a horizon when variance returns to its long-run level.

    v(h) = L + (v - L) r^h for h = 0..H-1, so the mean is L + (v - L) (1 - r^H) / (H (1 - r)): the
    term structure of a GARCH(1,1) whose parameters sum to r (Bollerslev 1986).
    """
    share = (1.0 - reversion**horizon) / (horizon * (1.0 - reversion))
    return np.asarray(np.sqrt(long_run**2 + (now**2 - long_run**2) * share))
