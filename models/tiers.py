"""Tiers with hysteresis, and what a tier means for a limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_contracts.units import BoolArray, IntArray

DEFAULT_TIER = 8
"""Tier D inside integer columns; written ``"D"`` in a decision."""


@dataclass(frozen=True)
class TierColumns:
    """Tier in force, and the candidate that waits with the sessions it has waited."""

    tier: IntArray
    candidate: IntArray
    candidate_sessions: IntArray


def tiers_with_hysteresis(
    raw: IntArray,
    has_previous: BoolArray,
    previous: IntArray,
    previous_candidate: IntArray,
    previous_sessions: IntArray,
    sessions_since: IntArray,
    needed_sessions: int,
    at_once: BoolArray,
    defaulted: BoolArray,
) -> TierColumns:
    """A new tier is taken once the score has pointed the same way for ``needed_sessions``.

    Only the direction must persist, not the exact tier: otherwise a worse score could reset the
    count and keep a better tier. ``at_once`` (a breach) skips the wait for a worse tier.
    """
    direction = np.sign(raw - previous)
    same_way = direction == np.sign(previous_candidate - previous)
    waited = np.where(same_way, previous_sessions, 0) + sessions_since
    waited = np.where(direction == 0, 0, waited)
    moves = ~has_previous | (waited >= needed_sessions) | (at_once & (direction > 0))
    tier = np.where(moves, raw, previous)
    sessions = np.where(moves, 0, waited)
    return TierColumns(np.where(defaulted, DEFAULT_TIER, tier), raw, sessions)
