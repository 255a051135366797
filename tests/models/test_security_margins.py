"""Security margins: each term against a hand count or a law, and what nobody may change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.margin.liquidity import impact_cost, sessions_to_sell
from models.margin.locks import lock_loss, lock_sessions, run_lengths
from models.margin.procyclical import MOST_FALL, MOST_RISE, damped, procyclicality
from models.margin.security import OWN, POOL, FirmTerms, MarketHistory
from models.margin.tails import expected_shortfall
from models.margin.volatility import ewma_volatility, expected_volatility, merged_locks
from models.policy import load_pack
from tests.lab.markets import rough_panel

PANEL = rough_panel()
HISTORY = MarketHistory(PANEL)
POLICY = load_pack("cn").on(PANEL.sessions[400].astype("datetime64[D]").item())
AT = 400
returns_of = st.lists(st.floats(-0.2, 0.2), min_size=30, max_size=80)


@settings(max_examples=50, deadline=None)
@given(returns_of, st.sampled_from([0.94, 0.99]))
def test_ewma_volatility_is_that_of_pandas_from_the_twentieth_return_on(returns, decay):
    r = np.array(returns)
    ours = ewma_volatility(r[:, None], decay)[:, 0]
    start = np.mean(r[:20] ** 2)
    squares = pd.Series(np.concatenate([[start], r[20:] ** 2]))
    theirs = np.sqrt(squares.ewm(alpha=1 - decay, adjust=False).mean().to_numpy())
    assert ours[19:] == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_the_expected_variance_is_the_mean_of_its_term_structure():
    now, long_run, keep, horizon = 0.04, 0.02, 0.97, 60
    path, v = [], now**2
    for _ in range(horizon):
        path.append(v)
        v = long_run**2 + keep * (v - long_run**2)
    ours = expected_volatility(np.array([now]), np.array([long_run]), horizon, keep)[0]
    assert ours == pytest.approx(np.sqrt(np.mean(path)), rel=1e-12)


def test_a_run_of_locked_sessions_and_the_next_is_one_move():
    r = np.array([[0.01], [-0.1], [-0.1], [-0.04], [0.02]])
    locked = np.array([[0.0], [1.0], [1.0], [0.0], [0.0]])
    merged = merged_locks(r, locked)[:, 0]
    assert np.isnan(merged[1:3]).all()
    assert merged[3] == pytest.approx(0.9 * 0.9 * 0.96 - 1.0)
    assert (merged[0], merged[4]) == pytest.approx((0.01, 0.02))


def test_run_lengths_are_counted_name_by_name():
    locked = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], dtype=bool)
    assert sorted(run_lengths(locked).tolist()) == [1, 2, 3]
    assert lock_sessions(locked, np.array([0, 0]), 2).tolist() == [3]


@pytest.mark.parametrize(
    ("limit", "sessions", "loss"),
    [(0.1, 2, 0.19), (0.2, 2, 0.36), (0.3, 1, 0.3), (0.05, 3, 0.142625)],
)
def test_the_lock_loss_is_so_many_limits_one_after_another(limit, sessions, loss):
    assert lock_loss(np.array([limit]), np.array([sessions]))[0] == pytest.approx(loss)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.005, 0.1), st.floats(0, 1e7), st.floats(0, 1e7), st.floats(1e3, 1e8))
def test_a_larger_sale_never_costs_less_and_quadruple_size_doubles_the_impact(s, one, more, volume):
    sigma, v = np.array([s]), np.array([volume])
    small, large = (impact_cost(sigma, np.array([q]), v)[0] for q in (one, one + more))
    assert small <= large + 1e-15
    base, four = (impact_cost(sigma, np.array([q * volume]), v)[0] for q in (0.01, 0.04))
    assert four - 0.001 == pytest.approx(2 * (base - 0.001), rel=1e-9)


def test_a_sale_takes_as_many_sessions_as_its_share_of_volume_says():
    takes = sessions_to_sell(np.array([0.0, 9.0, 25.0, 1e9]), np.full(4, 100.0))
    assert takes.tolist() == [1.0, 1.0, 3.0, 20.0]


@settings(max_examples=100, deadline=None)
@given(st.floats(0.1, 1), st.floats(0.1, 1), st.floats(0.1, 1), st.integers(1, 10))
def test_the_damped_margin_moves_within_its_steps_and_never_lies_below_the_floor(
    raw, floor, last, sessions
):
    [m] = damped(np.array([raw]), np.array([floor]), np.array([last]), sessions)
    assert m >= floor
    assert m >= last - MOST_FALL * sessions - 1e-12
    assert m <= max(floor, last + MOST_RISE * sessions, last - MOST_FALL * sessions) + 1e-12


def test_procyclicality_of_a_step_is_the_step():
    asked = np.ones((60, 3))
    asked[30:] = 1.5
    found = procyclicality(asked)
    assert (found.largest_rise, found.peak_over_trough, found.account_rise_95) == (0.5, 0.5, 0.5)
    slow = np.linspace(1.0, 1.6, 61)[:, None]
    assert procyclicality(slow).largest_rise == pytest.approx(0.2)


def test_a_more_volatile_name_never_gets_a_lower_margin():
    base = MarketHistory(PANEL)
    before = base.margins(AT, POLICY)
    wild = MarketHistory(PANEL)
    moves = base.returns.copy()
    k = 6
    moves[:, k] = np.clip(1.6 * moves[:, k], -0.3, 0.3)
    wild.__dict__["returns"] = moves
    wild.__dict__["locked"] = base.locked
    after = wild.margins(AT, POLICY)
    assert after.raw[k] >= before.raw[k]
    assert after.filtered[k] > before.filtered[k]


def test_a_wider_price_limit_never_lowers_gap_and_margin():
    wider = PANEL.price_limit.copy()
    wider[:, :16] = 300_000
    tight = HISTORY.margins(AT, POLICY)
    loose = MarketHistory(replace(PANEL, price_limit=wider))
    loose.__dict__["locked"] = HISTORY.locked  # what happened stays; what may happen grows
    found = loose.margins(AT, POLICY)
    assert np.all(found.gap >= tight.gap - 1e-12)
    assert np.all(found.raw >= tight.raw - 1e-12)


def test_what_the_whole_firm_would_sell_raises_the_margin():
    nothing = HISTORY.margins(AT, POLICY)
    sale = np.nan_to_num(HISTORY.volume(AT)) * 0.5
    found = HISTORY.margins(AT, POLICY, sale_shares=sale)
    assert np.all(found.raw >= nothing.raw - 1e-12)
    assert float((found.liquidity - nothing.liquidity).mean()) > 0.01


def test_margins_never_lie_below_the_ten_year_floor_and_the_floor_names_its_source():
    found = HISTORY.margins(AT, POLICY)
    assert np.all(found.margin >= np.minimum(found.floor, 1.0) - 1e-12)
    listed_late = 10  # no price in the first 120 sessions, so fewer than 250 weeks of its own
    early = HISTORY.margins(300, POLICY)
    assert early.floor_source[listed_late] == POOL
    assert found.floor_source[0] == OWN


def test_opening_asks_for_no_less_than_the_margin_and_snapshots_carry_it():
    found = HISTORY.margins(AT, POLICY)
    assert np.all(found.opening >= found.margin - 1e-12)
    firm = FirmTerms(10**12, 10**12, 0)
    snapshot = HISTORY.snapshot(AT, POLICY, firm, 300)
    assert snapshot.security_margin.tolist() == np.ceil(found.opening * 1e6).astype(int).tolist()


def test_a_new_listing_and_special_treatment_ask_for_more():
    found = HISTORY.margins(150, POLICY)
    assert found.listing[10] > 0
    assert found.listing[0] == 0
    assert HISTORY.margins(AT, POLICY).margin[5] >= 0.30


def test_the_next_session_changes_no_margin_of_this_one():
    cut = MarketHistory(PANEL.until(AT)).margins(AT, POLICY)
    whole = HISTORY.margins(AT, POLICY)
    for name in cut.__dataclass_fields__:
        assert np.array_equal(getattr(cut, name), getattr(whole, name)), name


def test_the_expected_shortfall_is_the_mean_of_the_worst():
    moves = np.arange(-50, 50, dtype=np.float64)[:, None] / 100
    assert expected_shortfall(moves, 0.05)[0] == pytest.approx(
        np.mean([0.5, 0.49, 0.48, 0.47, 0.46])
    )
    assert np.isnan(expected_shortfall(np.full((5, 1), np.nan), 0.1)[0])
