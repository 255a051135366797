"""Lines that follow the security margins along a path, with and without the anti-procyclical layer.

The packs' own lines are fixed ratios: falling prices alone make a call. A lender whose lines counted
collateral at its margins would also call because margins rise. This asks how many such calls the
layer spares: the same path is walked with margins that stay (the pack), that move as they are
computed (``raw``), and that move by the layer's steps (``damped``).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from data_contracts.units import RATIO_ONE, FloatArray, IntArray
from models.margin.procyclical import damped
from models.margin.security import FILTERED_WEIGHT, LEAST_MARGIN, MOST_RESCALING
from models.margin.volatility import FAST_DECAY
from training.stress.scenario import PricePath

KINDS: Final = ("fixed", "damped", "raw")
MOST_INDUCED: Final = 0.70
"""The layer shall leave at most this share of the calls that undamped margins induce."""


def margins_along(
    path: PricePath, last_price: IntArray, margin: FloatArray, volatility: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Margins of each name in each session of a path, undamped and damped, (sessions, names).

    The filtered three quarters of a margin move with the fast volatility of the name, at most
    doubled, as in ``models.margin.security``; the stressed quarter stays. A session's margins know
    its close.

    Parameters
    ----------
    last_price : before the path, 0.0001; 0 for a name without a price
    margin, volatility : of the last session, shares of value and daily
    """
    variance = volatility**2
    previous = np.clip(margin, LEAST_MARGIN, 1.0)
    start = previous.copy()
    before = last_price.astype(np.float64)
    raw, held = [], []
    for price in path.price:
        known = (price > 0) & (before > 0)
        move = np.where(known, price / np.where(known, before, 1.0) - 1.0, 0.0)
        variance = FAST_DECAY * variance + (1.0 - FAST_DECAY) * move**2
        grown = np.sqrt(variance) / np.where(volatility > 0, volatility, np.inf)
        scale = np.clip(np.maximum(grown, 1.0), 1.0, MOST_RESCALING)
        asked = np.minimum(start * (1.0 - FILTERED_WEIGHT + FILTERED_WEIGHT * scale), 1.0)
        previous = damped(asked, np.full(len(asked), LEAST_MARGIN), previous)
        raw.append(asked)
        held.append(previous)
        before = np.where(price > 0, price, before).astype(np.float64)
    return np.stack(raw), np.stack(held)


def counted_by(margins: FloatArray, margin: FloatArray, haircut: IntArray) -> IntArray:
    """What the lines count of each name when they follow margins, 1e-6, (sessions, names).

    At today's margin it is the book's own haircut, so that a margin that does not move changes
    nothing.
    """
    room = 1.0 - np.clip(margin, LEAST_MARGIN, 1.0)
    kept = np.where(room > 0, (1.0 - margins) / np.where(room > 0, room, 1.0), 1.0)
    counted = np.rint(np.clip(kept, 0.0, 1.0) * haircut).astype(np.int64)
    return np.ascontiguousarray(np.minimum(counted, RATIO_ONE))
