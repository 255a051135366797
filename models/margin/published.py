"""From prices to the scenario set that a night publishes: drawn in floats, quantised once."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from data_contracts.snapshot import SUSPENDED, ScenarioPaths
from data_contracts.units import NULL, RATIO_ONE, FloatArray, IntArray
from features.panel import PricePanel
from models.margin.scenarios import (
    HORIZON_SESSIONS,
    ScenarioSource,
    draw_days,
    stress_weight_of,
    year_rise,
)

SEED: Final = 0
"""One seed for every night: the same draws meet the next session, so that a limit does not move
with the drawing."""

LARGEST_MOVE: Final = 1_000.0


def published_paths(panel: PricePanel, t: int, paths: int, seed: int = SEED) -> ScenarioPaths:
    """The joint paths of all names as of row t, as ``ScenarioSource.at`` draws them."""
    source = ScenarioSource(panel)
    moves, names, days, _ = source.moves(t, HORIZON_SESSIONS)
    market = source.market[days]
    drawn, weight = draw_days(market, paths, HORIZON_SESSIONS, seed)
    stressed = stress_weight_of(market, drawn, weight)
    rise = year_rise(source.market, t)
    return replace(
        quantised(moves, names, len(panel.symbols), source.limits(t), drawn, weight, stressed),
        year_rise=NULL if rise is None else round(min(rise, LARGEST_MOVE) * RATIO_ONE),
    )


def quantised(
    moves: npt.NDArray[np.float32],
    names: IntArray,
    symbols: int,
    limit: FloatArray,
    days: npt.NDArray[np.int32],
    weight: FloatArray,
    stress_weight: FloatArray,
) -> ScenarioPaths:
    """A drawn scenario set as the integers that are published.

    Parameters
    ----------
    moves : shape (M, D), of the names at the places ``names`` of ``symbols``; NaN is a suspension.
        A name without moves keeps its value: it has no price and is worth nothing already.
    limit : shape (N,), ratios; weights of mean 1, shape (P,)
    """
    out = np.full((symbols, moves.shape[1]), SUSPENDED, dtype=np.int32)
    seen = ~np.isnan(moves)
    # nobody loses more than all; rounded to the nearest, so that sixty of them do not drift
    micro = np.rint(
        np.clip(np.where(seen, moves, 0.0), -1.0, LARGEST_MOVE).astype(np.float64) * 1e6
    )
    out[names] = np.where(seen, micro, SUSPENDED).astype(np.int32)

    def micros(values: FloatArray) -> IntArray:
        return np.rint(values * RATIO_ONE).astype(np.int64)

    return ScenarioPaths(out, micros(limit), days, micros(weight), micros(stress_weight))
