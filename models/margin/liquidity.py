"""What selling costs: half the spread and a square-root impact of all that the firm would sell."""

from __future__ import annotations

from typing import Final

import numpy as np

from data_contracts.units import FloatArray

IMPACT: Final = 1.0
"""Y in cost = Y sigma sqrt(q / ADV); the exponent is measured as 0.489 +- 0.0015 over all Tokyo
stocks (Sato and Kanazawa 2024), Y is of order one."""
HALF_SPREAD: Final = 0.001
MOST_COST: Final = 0.5
ROOM: Final = 0.10
"""Share of a session's volume that a seller may take."""


def impact_cost(sigma: FloatArray, sale: FloatArray, volume: FloatArray) -> FloatArray:
    """Share of value lost by selling ``sale`` shares against ``volume`` a session.

    ``sale`` is the firm's expected aggregate sale of the name, not one client's lot: clients who
    hold the same names are sold out together (Bian, He, Shue and Zhou 2018). A name without volume
    costs the most; without a known sale only half the spread.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(sale > 0, np.where(volume > 0, sale / volume, np.inf), 0.0)
    cost = HALF_SPREAD + IMPACT * np.nan_to_num(sigma, nan=MOST_COST) * np.sqrt(share)
    return np.asarray(np.minimum(cost, MOST_COST))


def sessions_to_sell(sale: FloatArray, volume: FloatArray, room: float = ROOM) -> FloatArray:
    """Sessions that the firm's sale takes at ``room`` of the volume, at least 1 and at most 20."""
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.where(sale > 0, np.where(volume > 0, sale / (room * volume), np.inf), 0.0)
    return np.asarray(np.clip(np.ceil(wanted), 1.0, 20.0))
