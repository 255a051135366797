"""In which stage a client stands, and why: a pure function of facts and rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.units import NULL, RATIO_ONE, BoolArray, IntArray
from models.tiers import DEFAULT_TIER
from training.provisions.rules import Rules


@dataclass(frozen=True)
class Facts:
    """What provisioning reads of N clients, int64, shape (N,).

    Attributes
    ----------
    client_ids : ascending within a bucket
    pd : one year, 1e-9; lgd : 1e-6; ead, debt, equity : minor units; rate_bps : of the decision
    maintenance : assets over debt, 1e-6, ``NULL`` without debt
    tier : 1 (best) to 7, 8 for default
    days_called : days since the call that is open, -1 for none
    opening_pd, opening_tier : as decided when the oldest open contract was made, ``NULL`` unknown
    life_days : how long the lender is exposed, at least 1
    call_line, unsecured_recovery : of the pack in force, 1e-6
    """

    client_ids: tuple[str, ...]
    pd: IntArray
    lgd: IntArray
    ead: IntArray
    debt: IntArray
    equity: IntArray
    rate_bps: IntArray
    maintenance: IntArray
    tier: IntArray
    days_called: IntArray
    opening_pd: IntArray
    opening_tier: IntArray
    life_days: IntArray
    call_line: int
    unsecured_recovery: int

    def __len__(self) -> int:
        return len(self.client_ids)


REASONS: Final = (
    "in_default",
    "insolvent",
    "days_under_line_stage_3",
    "called",
    "days_under_line_stage_2",
    "tiers_down",
    "pd_increase",
    "no_increase",
)
"""In the order they are asked; the first that holds is the client's."""
STAGE_OF_REASON: Final = (3, 3, 3, 2, 2, 2, 2, 1)


@dataclass(frozen=True)
class Staged:
    """``stage`` is 1, 2 or 3; ``reason`` a position in ``REASONS``."""

    stage: IntArray
    reason: IntArray


def staged(facts: Facts, rules: Rules) -> Staged:
    """The stage of each client and the first reason for it.

    A client without debt is stage 1 unless in default: a limit that nobody has drawn is not
    credit-impaired by a ratio.
    """
    owes = (facts.debt > 0) & (facts.maintenance != NULL)
    ratio = np.where(owes, facts.maintenance, 0)
    known: BoolArray = facts.opening_pd != NULL
    before = np.where(known, facts.opening_pd, 0)
    risen = (facts.pd - before) * RATIO_ONE >= rules.pd_increase * 1_000_000_000
    multiplied = facts.pd * 1000 >= before * (rules.pd_multiple // 1000)
    holds = np.stack(
        [
            facts.tier >= DEFAULT_TIER,
            owes & (ratio < rules.insolvent_below),
            (facts.debt > 0) & (facts.days_called > rules.days_stage_3),
            (owes & (ratio < facts.call_line)) | ((facts.debt > 0) & (facts.days_called >= 0)),
            (facts.debt > 0) & (facts.days_called > rules.days_stage_2),
            known & (facts.tier - np.where(known, facts.opening_tier, 0) >= rules.tiers_down),
            known & risen & multiplied,
            np.ones(len(facts), dtype=bool),
        ]
    )
    reason: IntArray = holds.argmax(axis=0).astype(np.int64)
    return Staged(np.array(STAGE_OF_REASON, dtype=np.int64)[reason], reason)
