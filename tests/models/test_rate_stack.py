"""The rate: components that sum, exact expected loss, step and budget bounds."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.price.rate import (
    FREE_STACK,
    RATE_COMPONENTS,
    RateColumns,
    expected_loss_amt,
    exposure_at_default,
    loss_given_default,
    rates,
    risk_components,
    utilisation_bps,
)
from tests.models.builders import MARKETS, POLICIES

NONE = -(2**63)
POLICY, MARKET = POLICIES["us"], MARKETS["us"]
FLOOR, CEILING = 360, 1500
probabilities = st.one_of(st.integers(1, 10**9), st.integers(10**8, 3 * 10**8))
losses = st.integers(20_000, 10**6)


def _one(value: int) -> np.ndarray:
    return np.array([value], dtype=np.int64)


def _rate(
    pd: int = 5_000_000, lgd: int = 20_000, tier: int = 3, previous: int = NONE, month: int = 0,
    quarter: int = 0, since: int = 1, **market: Any,
) -> RateColumns:  # fmt: skip
    return rates(
        pd=_one(pd),
        lgd=_one(lgd),
        tier=_one(tier),
        previous_rate=_one(previous),
        month_change_bps=_one(month),
        quarter_changes=_one(quarter),
        sessions_since=_one(since),
        market=replace(MARKET, **market),
        policy=POLICY,
    )


@given(
    probabilities, losses, st.integers(1, 8), st.one_of(st.just(NONE), st.integers(0, 2000)),
    st.integers(-60, 60), st.integers(0, 3), st.sampled_from([1, 4, 100]), st.integers(0, 2000),
)  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_components_sum_and_every_bound_holds(
    pd, lgd, tier, previous, month, quarter, since, funding
):
    made = _rate(pd, lgd, tier, previous, month, quarter, since, funding_bps=funding)
    parts, rate = made.components[0].tolist(), int(made.rate_bps[0])
    assert sum(parts) == rate
    assert funding + 60 <= rate <= max(CEILING, funding + 60)
    assert all(p >= 0 for p in parts[:7])
    if previous == NONE:
        assert (parts[8], made.month_change_bps[0], made.quarter_changes[0]) == (0, month, quarter)
        return
    moved = rate - parts[9] - previous
    assert abs(moved) <= min(10 * since, 50)
    assert moved <= max(50 - month, 0)
    assert moved >= -max(50 + month, 0)
    if quarter >= 2:
        assert moved == 0
    assert made.month_change_bps[0] == month + rate - previous
    assert made.quarter_changes[0] == quarter + (rate != previous)


@given(probabilities, losses)
@settings(max_examples=300, deadline=None)
def test_expected_loss_and_capital_are_exact_and_rounded_up(pd, lgd):
    expected, capital = (int(c[0]) for c in risk_components(_one(pd), _one(lgd), POLICY))
    p, g = Fraction(pd, 10**9), Fraction(lgd, 10**6)
    stressed = min(6 * p, Fraction(1))
    charge = (stressed - p) * g * Fraction(1200, 10_000)
    assert expected == ceil(p * g * 10_000)
    assert expected + capital == ceil((p * g + charge) * 10_000)
    assert capital >= 0


@given(probabilities, probabilities, losses)
@settings(max_examples=400, deadline=None)
def test_a_higher_pd_never_lowers_expected_loss_and_capital_together(one, two, lgd):
    low, high = sorted((one, two))
    first = sum(int(c[0]) for c in risk_components(_one(low), _one(lgd), POLICY))
    assert first <= sum(int(c[0]) for c in risk_components(_one(high), _one(lgd), POLICY))


@given(probabilities, losses, st.integers(0, 9 * 10**12))
@settings(max_examples=200, deadline=None)
def test_expected_loss_in_money_is_exact(pd, lgd, ead):
    exact = Fraction(pd * lgd * ead, 10**15)
    assert expected_loss_amt(_one(pd), _one(lgd), _one(ead))[0] == ceil(exact)


@given(st.integers(0, 10**6))
def test_loss_given_default_is_what_a_sale_after_the_gap_leaves_bare(gap):
    line = Fraction(POLICY["call_line_ratio"], 10**6)
    proceeds = line * (1 - Fraction(gap, 10**6)) * Fraction(99, 100)
    exact = max(Fraction(2, 100), max(1 - proceeds, Fraction(0)) * Fraction(9, 10)) * 10**6
    got = int(loss_given_default(_one(gap), POLICY)[0])
    # the cover is rounded down twice before the loss is rounded up
    assert exact <= got <= exact + 4


@given(st.integers(0, 9 * 10**12), st.integers(0, 9 * 10**12))
def test_exposure_is_debt_and_half_of_what_may_be_drawn(debt, cap):
    exact = debt + Fraction(max(cap - debt, 0), 2)
    assert exposure_at_default(_one(debt), _one(cap), POLICY)[0] == ceil(exact)


@pytest.mark.parametrize(
    ("used", "bps"), [(0, 0), (425_000, 10), (850_000, 20), (925_000, 95), (1_000_000, 170)]
)
def test_utilisation_adds_a_kinked_slope(used, bps):
    assert utilisation_bps(used, POLICY) == bps


def test_utilisation_beyond_the_quota_counts_as_full():
    assert utilisation_bps(3_000_000, POLICY) == 170


def test_along_tiers_the_stack_never_falls():
    stacks = [int(_rate(tier=t).components[0, :FREE_STACK].sum()) for t in range(1, 9)]
    assert stacks == sorted(stacks)
    assert stacks[0] < stacks[6] == stacks[7]


def test_the_rate_moves_by_ten_a_session_fifty_a_month_and_twice_a_quarter():
    target = int(_rate().rate_bps[0])
    assert _rate(previous=target - 100).rate_bps[0] == target - 90
    assert _rate(previous=target + 100, since=3).rate_bps[0] == target + 70
    assert _rate(previous=target - 100, since=30).rate_bps[0] == target - 50
    assert _rate(previous=target - 100, month=44).rate_bps[0] == target - 94
    assert _rate(previous=target - 100, month=50).rate_bps[0] == target - 100
    assert _rate(previous=target - 100, quarter=2).rate_bps[0] == target - 100


def test_floor_and_ceiling_hold_even_against_the_step():
    high = _rate(pd=10**9, lgd=10**6)
    assert (high.rate_bps[0], high.components[0, 9] < 0) == (CEILING, True)
    low = _rate(previous=100)
    assert (low.rate_bps[0], low.components[0, 9]) == (FLOOR, 250)
    dear = _rate(funding_bps=1600)
    assert dear.rate_bps[0] == 1660
    assert RATE_COMPONENTS[8:] == ("step", "clip")
