"""Rules of lending at the same credit: scales, bounds that no head relaxes, intervals."""

from __future__ import annotations

import datetime as dt
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.errors import InputError
from models.margin.structural import LEVERAGE_GRID
from tests.lab.markets import rough_panel
from training.frontier.compare import change, limits_of, loss_change
from training.frontier.heads import Line, auc, fit_line
from training.frontier.policies import (
    BOUNDS,
    CONCENTRATION_SLOPE,
    MOST,
    STRETCH,
    Static,
    by_capacity,
    by_margin,
    by_risk,
    calm,
    concentration_margin,
    lock_limit,
    log_odds_of,
    solve,
    with_margin,
)
from training.frontier.teaching import Learnt, at_leverage, families_of, risk_curve
from training.frontier.vintage import Openings, half_of
from training.frontier.windows import (
    EARLIER,
    WINDOWS,
    Vintage,
    before,
    history_end,
    part_of,
    year_rises,
)
from training.lab.openings import (
    DEBT_DAYS_AMT,
    FIGURES,
    FORCED,
    LOAN_DAYS_OF_EQUITY,
    SHORT_AMT,
    Fates,
)

CLIENTS = 240


def made_book(seed: int = 0) -> Openings:
    """Clients with chances that rise with leverage, in two months."""
    rng = np.random.default_rng(seed)
    steep = rng.uniform(2.0, 7.0, CLIENTS)[:, None]
    forced = 1.0 / (1.0 + np.exp(-(LEVERAGE_GRID[None, :] - 2.6) * steep))
    values: dict[str, Any] = {f.name: rng.uniform(0.1, 1.0, CLIENTS) for f in fields(Openings)}
    values |= {
        "month": np.arange(CLIENTS) // (CLIENTS // 2),
        "number": np.arange(CLIENTS),
        "desired": np.clip(1.8 * np.exp(0.25 * rng.standard_normal(CLIENTS)), 1.05, 3.0),
        "forced": forced.astype(np.float32),
        "stressed": np.minimum(3.0 * forced, 1.0).astype(np.float32),
        "short": (0.01 * forced).astype(np.float32),
        "features": np.zeros((CLIENTS, 43), dtype=np.int64),
        "var": rng.uniform(0.01, 0.05, CLIENTS),
        "es": rng.uniform(0.01, 0.05, CLIENTS),
    }
    return Openings(**values)


class Shift:
    """A head that says the same of everybody, or what it is given."""

    def __init__(self, value):
        self.value = value

    def of(self, book):
        return np.broadcast_to(self.value, len(book.number)).astype(float)

    def usage(self, book):
        return np.ones(len(book.number))


def learnt(value=0.0, form="chance"):
    heads = {"learned": Shift(value), "perfect": Shift(0.0), "systemic": Shift(0.0)}
    return Learnt(Static(), form, Line(-1.0, 0.8), heads, {})


BOOK = made_book()
CALM, HOT = np.zeros(2), np.full(2, 0.6)


@pytest.mark.parametrize("policy", sorted(BOUNDS))
@pytest.mark.parametrize("level", [1.4, 1.6, 1.8, 2.0])
def test_every_rule_lends_as_much_at_opening_as_the_uniform_limit(policy, level):
    families = families_of(BOOK, learnt(), CALM)
    found = limits_of(BOOK, families, policy, level)
    for month in (0, 1):
        mine = BOOK.month == month
        lent = np.minimum(found.limit, BOOK.desired)[mine].mean()
        if not found.too_small[month]:
            assert lent == pytest.approx(np.minimum(level, BOOK.desired)[mine].mean(), abs=2e-3)


@pytest.mark.parametrize("policy", sorted(BOUNDS))
def test_a_looser_scale_never_lowers_a_limit(policy):
    family = families_of(BOOK, learnt(), CALM)[0][policy]
    scales = np.linspace(*BOUNDS[policy], 40)
    limits = np.stack([family(s) for s in scales])
    assert np.all(np.diff(limits, axis=0) >= -1e-12)
    assert np.all((limits >= 1.0) & (limits <= MOST))


@settings(max_examples=20, deadline=None)
@given(
    st.floats(-8, 8), st.sampled_from(["chance", "marginal"]), st.floats(1.3, 2.2), st.floats(-1, 1)
)
def test_no_head_passes_the_lock_and_concentration_terms_nor_a_tenth_more_debt(
    value, form, level, rise
):
    shifts = value * np.linspace(-1, 1, CLIENTS // 2)
    book = BOOK.take(BOOK.month == 0)
    families = families_of(book, learnt(shifts, form), np.array([rise]))
    ours = limits_of(book, families, "learned", level).limit
    alone = limits_of(book, families, "structural", level).limit
    narrow = concentration_margin(book)
    static = families[0]["static"]
    anchor = with_margin(static, narrow)
    scale, _ = solve(anchor, book.desired, level, *BOUNDS["static"])
    for limit in (ours, alone):
        assert np.all(limit - 1.0 <= STRETCH * (anchor(scale) - 1.0) + 1e-9)
        assert np.all(limit <= np.maximum(lock_limit(book), 1.0) + 1e-9)
        assert np.all(limit <= np.maximum(1.0 / (1.0 / MOST + narrow), 1.0) + 1e-9)
    passed = (STRETCH - 1.0) * float(calm(np.array([rise]))[0])
    assert np.all(ours - 1.0 <= (1.0 + passed) * (alone - 1.0) + 1e-6)


def test_after_a_year_of_rising_prices_heads_only_lower_limits():
    shifts = 4.0 * np.linspace(-1, 1, CLIENTS // 2)
    book = BOOK.take(BOOK.month == 0)
    book = replace(book, short=np.zeros_like(book.short))
    limit = {
        name: limits_of(book, families_of(book, learnt(shifts), year[:1]), "learned", 1.8).limit
        for name, year in (("calm", CALM), ("hot", HOT))
    }
    alone = limits_of(book, families_of(book, learnt(shifts), HOT[:1]), "structural", 1.8).limit
    assert np.all(limit["hot"] <= alone + 1e-6)
    assert np.any(limit["calm"] > alone + 1e-3)
    assert calm(np.array([-0.3, 0.0, 0.25, 0.5, 2.0])).tolist() == [1.0, 1.0, 0.5, 0.0, 0.0]


def test_a_years_rise_is_that_of_the_sessions_known_before_the_month():
    market = np.full(400, 0.001)
    market[0] = np.nan
    months = tuple(Vintage("2019-01", np.arange(k + 1, k + 20), k) for k in (100, 242, 243, 300))
    rises = year_rises(market, months)
    assert np.isnan(rises[:2]).all()
    assert calm(rises[:2]).tolist() == [0.0, 0.0]
    assert rises[2:] == pytest.approx(np.full(2, 1.001**243 - 1.0))
    later = market.copy()
    later[301:] = -0.5
    assert np.array_equal(year_rises(later, months), rises, equal_nan=True)


def test_a_head_that_says_the_same_of_everybody_changes_nothing():
    families = families_of(BOOK, learnt(1.7), CALM)
    with_head = limits_of(BOOK, families, "learned", 1.8).limit
    base = limits_of(BOOK, families, "base", 1.8).limit
    assert np.abs(with_head - base).max() < 0.05


def test_a_riskier_client_never_gets_the_higher_limit():
    families = families_of(BOOK, learnt(), CALM)[0]["structural"]
    book = BOOK.take(BOOK.month == 0)
    worse = replace(
        book,
        forced=np.minimum(book.forced * 1.5, 1.0),
        stressed=np.minimum(book.stressed * 1.1, 1.0),
    )
    family = families_of(worse, learnt(), CALM)[0]["structural"]
    for scale in (-5.0, -3.0, -1.0):
        assert np.all(family(scale) <= families(scale) + 1e-9)


def test_concentration_and_locks_only_ever_lower_a_limit():
    wide = replace(BOOK, largest=np.full(CLIENTS, 0.2))
    narrow = replace(BOOK, largest=np.full(CLIENTS, 0.9))
    assert np.all(concentration_margin(wide) == 0.0)
    assert concentration_margin(narrow) == pytest.approx(
        np.full(CLIENTS, 0.6 * CONCENTRATION_SLOPE)
    )
    at = with_margin(by_capacity(np.ones(2)), np.array([0.0, 0.15]), np.array([1.7, MOST]))
    assert at(1.0) == pytest.approx([1.7, 1.0 / (0.5 + 0.15)])
    locked = replace(BOOK, short=np.minimum(BOOK.short * 10, 1.0))
    assert np.all(lock_limit(locked) <= lock_limit(BOOK) + 1e-12)


def test_a_level_that_is_no_leverage_is_refused():
    with pytest.raises(InputError, match="a level is a leverage above 1"):
        solve(by_capacity(np.ones(3)), np.ones(3), 0.9, 0.0, 3.0)


def test_families_by_hand():
    assert by_capacity(np.array([0.5, 2.0]))(1.0).tolist() == [1.5, 3.0]
    assert by_margin(np.array([0.5, 0.1]))(0.25).tolist() == [1.0, 2.5]
    risk = np.broadcast_to(np.linspace(0, 1, len(LEVERAGE_GRID)), (2, len(LEVERAGE_GRID)))
    limit = by_risk(risk)(float(np.log(0.5)))
    assert limit[0] == pytest.approx(np.interp(0.5, risk[0], LEVERAGE_GRID), abs=1e-9)


def test_the_curve_read_at_a_leverage_is_linear_between_its_points():
    curve = np.arange(len(LEVERAGE_GRID), dtype=float)[None, :]
    assert at_leverage(curve, np.array([LEVERAGE_GRID[7]]))[0] == pytest.approx(7.0)
    assert at_leverage(curve, np.array([LEVERAGE_GRID[7] + 0.025]))[0] == pytest.approx(7.5)


def test_smoothed_log_odds_rise_with_leverage_and_the_budget_on_the_margin_too():
    odds = log_odds_of(BOOK.forced)
    assert np.all(np.diff(odds, axis=1) >= -1e-9)
    assert np.all(risk_curve(odds, "marginal") >= -1e-9)


def fates(forced, loan, short=0.0):
    out = np.zeros((len(forced), FIGURES))
    out[:, FORCED], out[:, LOAN_DAYS_OF_EQUITY], out[:, SHORT_AMT] = forced, loan, short
    out[:, DEBT_DAYS_AMT] = 1e6 * np.asarray(loan)
    return Fates(out)


def static_frontier(clients=20_000):
    rng = np.random.default_rng(4)
    u = rng.random(clients)
    return u, {
        level: fates(u < chance, np.full(clients, loan))
        for level, chance, loan in ((1.4, 0.01, 40.0), (1.8, 0.04, 80.0), (2.0, 0.08, 100.0))
    }


def test_the_static_rule_itself_changes_nothing():
    _, static = static_frontier()
    found = change(static[1.8], static, 1)
    assert found.value == pytest.approx(0.0, abs=1e-9)
    assert abs(found.low or 0.0) < 0.08
    assert abs(found.high or 0.0) < 0.08


def test_a_fifth_fewer_at_the_same_loans_is_found_with_an_interval_around_it():
    u, static = static_frontier()
    fewer = fates(u < 0.032, np.full(len(u), 80.0))
    found = change(fewer, static, 1)
    assert found.value == pytest.approx(-0.2, abs=0.03)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high < 0


def test_who_lends_less_is_compared_with_the_static_rule_that_lends_as_little():
    u, static = static_frontier()
    # half way between the first two levels the reference has sqrt(0.01 x 0.04) = 2 %
    half_way = fates(u < 0.02, np.full(len(u), 60.0))
    assert change(half_way, static, 1).value == pytest.approx(0.0, abs=0.05)


def test_outside_the_static_rules_range_nothing_is_compared():
    u, static = static_frontier()
    assert change(fates(u < 0.01, np.full(len(u), 30.0)), static, 1).value is None
    assert change(fates(u < 0.10, np.full(len(u), 130.0)), static, 1).value is None


def test_a_rule_that_loses_more_is_flagged_and_one_that_loses_the_same_is_not():
    u, static = static_frontier()
    worse = fates(u < 0.04, np.full(len(u), 80.0), short=np.where(u < 0.02, 1e6, 0.0))
    value, low, high = loss_change(worse, static[1.8], 1)
    assert 0 < low < value < high
    assert loss_change(static[1.8], static[1.8], 1) == (0.0, 0.0, 0.0)


def test_the_line_recovers_what_made_the_labels():
    rng = np.random.default_rng(5)
    s = rng.normal(-3, 1.5, 60_000)
    label = (rng.random(60_000) < 1 / (1 + np.exp(-(0.4 + 0.7 * s)))).astype(int)
    line = fit_line(s, label)
    assert line.alpha == pytest.approx(0.4, abs=0.1)
    assert line.beta == pytest.approx(0.7, abs=0.05)
    with pytest.raises(InputError, match="at least 50 are needed"):
        fit_line(s[:10], np.zeros(10, dtype=int))


def test_the_area_under_the_curve_counts_pairs():
    score, label = np.array([1.0, 2.0, 2.0, 3.0]), np.array([0, 0, 1, 1])
    assert auc(score, label) == pytest.approx((1 + 1 + 0.5 + 1) / 4)


def test_only_earlier_windows_teach():
    for window in WINDOWS:
        assert all(w.last < window.first for w in before(window))
    assert before(EARLIER) == ()
    assert [w.name for w in before(WINDOWS[-1])] == ["2007..2014H1", "2015-04..07", "2016"]


def test_a_history_never_spans_a_gap_in_the_data():
    panel = rough_panel()
    days = panel.sessions.copy()
    days[300:] = days[300:] + np.timedelta64(150, "D")
    gapped = replace(panel, sessions=days)
    assert history_end(gapped, 299, 60) == 299
    assert history_end(gapped, 320, 60) == 299
    assert history_end(gapped, 400, 60) == 400
    assert days[300].item() - days[299].item() > dt.timedelta(days=100)


def test_two_halves_of_the_names_are_the_whole():
    panel = rough_panel()
    one, other = (half_of(panel, k, 7).collateral_eligible for k in (0, 1))
    assert not np.any(one & other)
    assert np.array_equal(one | other, panel.collateral_eligible)


def test_a_cut_of_the_panel_keeps_names_with_a_price_there():
    panel = rough_panel()
    cut, names = part_of(panel, 0, 100)
    assert len(cut.symbols) == len(names) == cut.close.shape[1]
    assert "S010" not in cut.symbols  # listed from session 120 on
    assert np.array_equal(cut.close, panel.close[:101][:, names])
