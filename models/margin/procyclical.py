"""The anti-procyclicality layer, and the figures that procyclicality is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.units import FloatArray

MOST_RISE: Final = 0.02
MOST_FALL: Final = 0.005
"""A margin rises by at most two points a session and falls by at most half a point."""
WINDOW_SESSIONS: Final = 20


def damped(
    raw: FloatArray, floor: FloatArray, previous: FloatArray | None, sessions: int = 1
) -> FloatArray:
    """m <- max(floor, min(raw, previous + rise), previous - fall), shape (N,).

    The floor is the ten-year unscaled shortfall, so that a margin has no far way up when a crisis
    comes (EMIR RTS 153/2013 art. 28, tool (c)); a name without a previous margin takes its own.
    """
    if previous is None:
        return np.maximum(raw, floor)
    known = ~np.isnan(previous)
    last = np.where(known, previous, raw)
    held = np.minimum(raw, last + MOST_RISE * sessions)
    return np.asarray(np.maximum(np.maximum(floor, held), last - MOST_FALL * sessions))


@dataclass(frozen=True)
class Procyclicality:
    """How a requirement moved over time (Murphy, Vasios and Vause 2014).

    Attributes
    ----------
    largest_rise : most added within 20 sessions, in units of the requirement
    peak_over_trough : highest over lowest, less one
    account_rise_95 : 95th percentile over accounts of their own largest rise
    """

    largest_rise: float
    peak_over_trough: float
    account_rise_95: float


def procyclicality(required: FloatArray, step: int = 1) -> Procyclicality:
    """Figures of a requirement of shape (T, N), T rows ``step`` sessions apart, per account.

    The first two are of the mean over accounts.
    """
    window = max(WINDOW_SESSIONS // step, 1)

    def rise(series: FloatArray) -> FloatArray:
        best = np.zeros(series.shape[1])
        for lag in range(1, window + 1):
            best = np.maximum(best, (series[lag:] - series[:-lag]).max(axis=0, initial=0.0))
        return best

    mean = required.mean(axis=1, keepdims=True)
    return Procyclicality(
        float(rise(mean)[0]),
        float(mean.max() / mean.min() - 1.0),
        float(np.quantile(rise(required), 0.95)),
    )
