"""The structural limit: common paths, one leverage grid, laws and an outside count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.margin.scenarios import ScenarioSource, draw_days
from models.margin.structural import (
    LEVERAGE_GRID,
    limit_at,
    structural_risk,
    weights_of_positions,
)
from tests.lab.markets import N, rough_panel

PANEL = rough_panel()
SOURCE = ScenarioSource(PANEL)
AT = 400
SET = SOURCE.at(AT, paths=256, seed=3)
BRUTE = SOURCE.at(AT, paths=20_000, seed=91, tilted=False)


@st.composite
def books(draw, clients=6):
    symbol = np.full((clients, 15), -1, dtype=np.int64)
    share = np.zeros((clients, 15))
    listed = SET.names.tolist()
    for k in range(clients):
        names = draw(st.lists(st.sampled_from(listed), min_size=1, max_size=8, unique=True))
        part = np.array(draw(st.lists(st.integers(1, 9), min_size=len(names), max_size=len(names))))
        symbol[k, : len(names)], share[k, : len(names)] = names, part / part.sum()
    return symbol, share


def singles(names):
    """One book a name, all of it in that name."""
    symbol = np.asarray(names, dtype=np.int64)[:, None]
    return symbol, np.ones_like(symbol, dtype=np.float64)


@settings(max_examples=25, deadline=None)
@given(books())
def test_more_leverage_is_never_less_risk(given_books):
    risk = structural_risk(SET, *given_books)
    for curve in (risk.forced, risk.stressed, risk.blended, risk.short, risk.loss):
        assert np.all(np.diff(curve, axis=1) >= -1e-12)


@settings(max_examples=25, deadline=None)
@given(books(), st.floats(0.0, 0.3), st.floats(0.0, 0.3))
def test_a_larger_budget_never_allows_less_and_the_limit_keeps_within_it(given_books, one, other):
    risk = structural_risk(SET, *given_books).blended
    low, high = sorted((one, other))
    tight, loose = (limit_at(risk, b, LEVERAGE_GRID) for b in (low, high))
    assert np.all(tight <= loose + 1e-12)
    below = np.floor((tight - 1.0) / 0.05 + 1e-9).astype(int) - 1
    for k, g in enumerate(below):
        if g >= 0:
            assert risk[k, min(g, risk.shape[1] - 1)] <= low + 1e-9


def test_the_chance_is_that_of_walking_every_path_by_hand():
    symbol = np.array([[SET.names[0], SET.names[7], SET.names[20]]], dtype=np.int64)
    share = np.array([[0.5, 0.3, 0.2]])
    found = structural_risk(SET, symbol, share)
    path = np.einsum("j,jhp->hp", share[0], SET.value[SET.row[symbol[0]]].astype(np.float64))
    for k, leverage in enumerate(LEVERAGE_GRID):
        ratio = leverage * path / (leverage - 1.0)
        start = leverage / (leverage - 1.0)
        before = np.concatenate([np.full((1, path.shape[1]), start), ratio[:-1]])
        forced = ((ratio < 1.30) & (before < 1.30)).any(axis=0) | (ratio < 1.10).any(axis=0)
        # float32 values on a line's very edge may fall on either side
        edge = np.abs(ratio - 1.30).min() < 1e-5 or np.abs(ratio - 1.10).min() < 1e-5
        expected = float((SET.weight * forced).sum() / len(SET.weight))
        assert found.forced[0, k] == pytest.approx(expected, abs=5e-3 if edge else 1e-9)


@pytest.mark.parametrize("leverage", [1.5, 1.8, 2.2])
def test_importance_sampling_agrees_with_brute_force_within_its_standard_error(leverage):
    symbol, share = singles(SET.names[::3])
    k = int(np.argmin(np.abs(LEVERAGE_GRID - leverage)))
    brute = structural_risk(BRUTE, symbol, share)
    runs = [
        structural_risk(SOURCE.at(AT, paths=256, seed=s), symbol, share).forced[:, k]
        for s in range(12)
    ]
    one = structural_risk(SET, symbol, share)
    error = np.sqrt(np.mean(one.forced_se[:, k] ** 2) / 12 + np.mean(brute.forced_se[:, k] ** 2))
    # the names of a set share their paths: their mean errs about as one name does
    assert abs(np.mean(runs) - brute.forced[:, k].mean()) < 4.0 * error + 1e-4


def test_the_stated_standard_error_is_the_spread_over_scenario_sets():
    symbol, share = singles(SET.names[::2])
    k = int(np.argmin(np.abs(LEVERAGE_GRID - 2.0)))
    sets = [structural_risk(SOURCE.at(AT, paths=256, seed=s), symbol, share) for s in range(30)]
    spread = np.std([r.forced[:, k] for r in sets], axis=0, ddof=1)
    stated = np.mean([r.forced_se[:, k] for r in sets], axis=0)
    some = stated > 1e-3
    assert bool(some.any())
    assert 0.6 < float(np.median(spread[some] / stated[some])) < 1.6


def test_the_weights_are_likelihood_ratios_with_mean_one_and_bounded():
    _, weight = draw_days(SOURCE.market[60:AT], 20_000, 60, seed=5)
    assert weight.mean() == pytest.approx(1.0, abs=0.03)
    assert weight.max() <= 2.0
    _, plain = draw_days(SOURCE.market[60:AT], 100, 60, seed=5, tilted=False)
    assert np.all(plain == 1.0)


def test_tilting_makes_the_far_tail_surer():
    symbol, share = singles(SET.names[::3])
    k = int(np.argmin(np.abs(LEVERAGE_GRID - 1.6)))
    tilted, plain = (
        np.mean(
            [
                structural_risk(
                    SOURCE.at(AT, paths=256, seed=s, tilted=t), symbol, share
                ).forced_se[:, k].mean()
                for s in range(6)
            ]
        )
        for t in (True, False)
    )  # fmt: skip
    assert tilted < plain


def test_nothing_after_the_session_changes_the_scenario_set():
    early = ScenarioSource(PANEL.until(AT)).at(AT, paths=64, seed=1)
    late = SOURCE.at(AT, paths=64, seed=1)
    assert np.array_equal(early.value, late.value)
    assert np.array_equal(early.exit_value, late.exit_value)
    assert np.array_equal(early.weight, late.weight)


def test_a_set_of_some_names_holds_the_same_paths_of_them():
    some = SET.names[::4]
    part = SOURCE.at(AT, paths=256, seed=3, names=some)
    assert part.names.tolist() == some.tolist()
    assert np.array_equal(part.value, SET.value[SET.row[some]])
    assert np.array_equal(part.weight, SET.weight)
    assert np.array_equal(part.stress_weight, SET.stress_weight)


def test_the_stressed_paths_are_the_worst_twentieth_of_the_market():
    stressed = SET.stress_weight > 0
    assert SET.stress_weight.mean() == pytest.approx(1.0)
    share = SET.weight[stressed].sum() / SET.weight.sum()
    assert 0.05 <= share < 0.12
    market = SET.value.mean(axis=0).min(axis=0)
    assert market[stressed].mean() < market[~stressed].mean()


def test_no_step_of_a_path_passes_the_price_limit():
    limit = SOURCE.limits(AT)[SET.names]
    step = SET.value[:, 1:] / SET.value[:, :-1] - 1.0
    assert np.all(np.abs(step) <= limit[:, None, None] + 1e-5)


def test_a_locked_name_is_worth_no_more_at_its_exit_than_without_the_lock_on_falling_paths():
    falling = SET.value[:, -1, :] < SET.value.min(axis=1) + 1e-9
    assert np.all(SET.exit_value[:, -1, :][falling] <= SET.value[:, -1, :][falling] + 1e-6)


def test_diversification_never_raises_the_mean_chance_above_its_parts_at_low_leverage():
    names = SET.names[:15]
    k = int(np.argmin(np.abs(LEVERAGE_GRID - 1.8)))
    alone = structural_risk(SET, *singles(names)).forced[:, k].mean()
    symbol = names[None, :]
    together = structural_risk(SET, symbol, np.full(symbol.shape, 1 / 15)).forced[0, k]
    assert together <= alone


def test_a_name_unknown_to_the_scenarios_is_worth_nothing():
    symbol = np.array([[SET.names[0], N + 5]], dtype=np.int64)
    symbol[0, 1] = next(k for k in range(N) if SET.row[k] < 0) if (SET.row < 0).any() else -1
    risk = structural_risk(SET, symbol, np.array([[0.2, 0.8]]))
    k = int(np.argmin(np.abs(LEVERAGE_GRID - 2.0)))
    assert risk.forced[0, k] > 0.9


def test_the_number_of_threads_changes_no_bit():
    symbol, share = singles(SET.names)
    one, two = (structural_risk(SET, symbol, share, threads=t) for t in (1, 2))
    assert np.array_equal(one.forced, two.forced)
    assert np.array_equal(one.loss, two.loss)


def test_a_short_history_borrows_from_a_name_of_its_pool_and_says_which():
    first = 1
    pools = SOURCE.pools(AT, first)
    listed = SOURCE.listed[AT]
    for k in np.flatnonzero(listed):
        if pools.twin[k] != k:
            assert pools.own_sessions[pools.twin[k]] >= pools.own_sessions[k]
    young = int(np.flatnonzero((pools.own_sessions < 350) & listed)[0])
    assert pools.twin[young] != young


def test_raw_positions_become_shares_of_each_book():
    book = np.array([0, 0, 2, 2, 2])
    symbol, value = np.array([3, 4, 1, 2, 5]), np.array([300, 100, 0, 50, 150])
    names, share = weights_of_positions(book, symbol, value, 3)
    assert names.tolist() == [[3, 4], [-1, -1], [2, 5]]
    assert share.tolist() == [[0.75, 0.25], [0.0, 0.0], [0.25, 0.75]]
