"""The cap and its waterfall: hard terms, soft terms, the step between two nights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.units import (
    MAX_AMT,
    MILLI_ONE,
    MINOR_PER_UNIT,
    NULL,
    RATIO_ONE,
    BoolArray,
    IntArray,
)
from models.margin.limits import NO_LIMIT

CAP_TERMS: Final = (
    "statutory", "line", "concentration", "group", "firm", "structural", "behavioural",
    "step", "override",
)  # fmt: skip
"""In waterfall order; of two equal terms the earlier binds."""


@dataclass(frozen=True)
class CapColumns:
    """Caps of N clients.

    Attributes
    ----------
    cap, soft : int64, shape (N,), minor units in whole currency units; ``soft`` is what the next
        night's step refers to
    limits, removed : int64, shape (N, 9), each term's limit (``NO_LIMIT`` where it does not apply)
        and what it took off; ``limits[:, 0] - removed.sum(axis=1) == cap``
    binding : int64, shape (N,), position in ``CAP_TERMS`` of the term that bound
    leverage_milli : assets over equity at that debt, ``NULL`` without equity
    """

    cap: IntArray
    soft: IntArray
    limits: IntArray
    removed: IntArray
    binding: IntArray
    leverage_milli: IntArray


def _whole(terms: IntArray) -> IntArray:
    """Terms rounded down to whole currency units, never below zero."""
    whole: IntArray = np.where(
        terms >= NO_LIMIT, NO_LIMIT, np.maximum(terms, 0) // MINOR_PER_UNIT * MINOR_PER_UNIT
    )
    return whole


def cap_waterfall(
    *,
    statutory: IntArray,
    line: IntArray,
    concentration: IntArray,
    group: IntArray,
    firm: IntArray,
    structural: IntArray,
    behavioural: IntArray,
    override: IntArray,
    loosened: BoolArray,
    equity: IntArray,
    previous_soft: IntArray,
    sessions_since: IntArray,
    step_up_ratio: int,
    step_down_ratio: int,
    breached: BoolArray,
) -> CapColumns:
    """cap = min(hard, clamp(min(structural, behavioural), previous - down, previous + up)).

    The lower end of the clamp lifts both soft terms, its upper end is the term ``step``; a breach
    has no lower end. Hard terms are never stepped. Where a person ``loosened`` the limit, the three
    soft terms do not apply and the override stands in their place: it passes no hard term.
    """
    has_previous = previous_soft != NULL
    last = np.where(has_previous, previous_soft, 0)
    rise = last * np.minimum(step_up_ratio * sessions_since, RATIO_ONE) // RATIO_ONE
    # limits are whole units: a smaller step would be rounded away every night, for ever
    up = last + np.maximum(rise, MINOR_PER_UNIT)
    # from zero a client could never rise by a share of the last limit
    up = np.where(has_previous & (last > 0), up, NO_LIMIT)
    down = last - last * np.minimum(step_down_ratio * sessions_since, RATIO_ONE) // RATIO_ONE
    lowest = np.where(has_previous & ~breached, down, 0)
    lifted_structural = np.maximum(structural, lowest)
    lifted_behavioural = np.maximum(behavioural, lowest)
    terms = np.stack(
        [
            statutory,
            line,
            concentration,
            group,
            firm,
            lifted_structural,
            lifted_behavioural,
            up,
            override,
        ],
        axis=1,
    )
    soft = _whole(terms[:, 5:8]).min(axis=1)
    terms[:, 5:8] = np.where(loosened[:, None], NO_LIMIT, terms[:, 5:8])
    terms = _whole(terms)
    running = np.minimum.accumulate(terms, axis=1)
    removed = np.zeros_like(terms)
    removed[:, 1:] = running[:, :-1] - running[:, 1:]
    taken = removed > 0
    positions = np.arange(terms.shape[1])
    binding = np.where(taken, positions[None, :], 0).max(axis=1)
    cap = running[:, -1]
    leverage = np.where(equity > 0, (equity + cap) * MILLI_ONE // np.maximum(equity, 1), NULL)
    return CapColumns(cap, np.minimum(soft, MAX_AMT), terms, removed, binding, leverage)
