"""The expected loss of a client, over a year, over the life of the exposure, or after default.

Default comes at a constant hazard h with 1 - exp(-365 h) = PD; money is worth exp(-r t) after t days
at the decision's own rate (IFRS 9 B5.5.44, CAS 22 art. 47: the effective interest rate, here simple
and ACT/360, compounded once a year). Over T days the expected loss is

    LGD x EAD x integral of h exp(-(h + r) t) from 0 to T = LGD x EAD x h / (h + r) x (1 - exp(-(h + r) T))

so with no discounting a year costs PD x LGD x EAD, the decision's own figure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from data_contracts.units import BPS_ONE, PROB_ONE, RATIO_ONE, FloatArray, IntArray
from training.provisions.rules import Outlook, Rules
from training.provisions.staging import Facts

YEAR_DAYS: Final = 365
MOST_PD: Final = 1.0 - 1e-9
"""The hazard of a certain default is finite at the quantum of a PD."""


def _moved(facts: Facts, scenario: Outlook) -> tuple[FloatArray, FloatArray]:
    """PD and LGD in an outcome, of one."""
    pd = facts.pd / PROB_ONE
    odds = scenario.pd_odds / RATIO_ONE
    moved = odds * pd / (1.0 - pd + odds * pd)
    lgd = np.minimum(facts.lgd / RATIO_ONE * (scenario.lgd / RATIO_ONE), 1.0)
    return np.minimum(moved, MOST_PD), lgd


def share_lost_to_default(pd: FloatArray, rate_bps: IntArray, days: IntArray) -> FloatArray:
    """Discounted chance of default within some days, shape (N,), 0 to 1."""
    hazard = -np.log1p(-pd) / YEAR_DAYS
    interest = np.log1p(np.maximum(rate_bps, 0) / BPS_ONE * 365 / 360) / YEAR_DAYS
    both = hazard + interest
    part = np.divide(hazard, both, out=np.zeros_like(both), where=both > 0)
    return part * -np.expm1(-both * days)


def in_outcome(facts: Facts, stage: IntArray, scenario: Outlook) -> FloatArray:
    """Expected loss of each client in one outcome, minor units, not rounded.

    Stage 1 over a year or a shorter life, stage 2 over the life, stage 3 as if the default were
    today: at least what assets do not cover after unsecured recovery (IFRS 9 5.4.1, B5.5.33).
    """
    pd, lgd = _moved(facts, scenario)
    days = np.where(stage == 1, np.minimum(facts.life_days, YEAR_DAYS), facts.life_days)
    severity = lgd * facts.ead
    bare = np.maximum(-facts.equity, 0) * (1.0 - facts.unsecured_recovery / RATIO_ONE)
    going = severity * share_lost_to_default(pd, facts.rate_bps, days)
    found = np.where(stage == 3, np.maximum(severity, bare), going)
    return np.where(facts.ead > 0, found, 0.0)


def expected_loss(facts: Facts, stage: IntArray, rules: Rules) -> IntArray:
    """Weighted over the outcomes and rounded to minor units, int64, shape (N,)."""
    total = np.zeros(len(facts))
    for scenario in rules.scenarios:
        total += scenario.weight / RATIO_ONE * in_outcome(facts, stage, scenario)
    return np.rint(total).astype(np.int64)


def all_in(facts: Facts, stage: IntArray, rules: Rules, scenario: Outlook) -> int:
    """The book's loss if one outcome were certain, minor units."""
    certain = replace(rules, scenarios=(replace(scenario, weight=RATIO_ONE),))
    return int(expected_loss(facts, stage, certain).sum())
