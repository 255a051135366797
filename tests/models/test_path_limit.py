"""What a book survives on the night's scenario set, and how the limit takes it in."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.case import Book, Holding
from data_contracts.importers import write_sample_market
from data_contracts.snapshot import SUSPENDED
from data_contracts.units import NULL, RATIO_ONE
from features.panel import load_panel
from models.margin.book import book_columns
from models.margin.limits import book_limits
from models.margin.paths import BASE_TIER, UNDEFINED, UNIT, PathRisk, path_risk, walked
from models.margin.published import SEED, published_paths
from models.margin.scenarios import ScenarioSource
from models.margin.security import FirmTerms, MarketHistory
from models.margin.structural import STRESS_SHARE, structural_risk
from tests.models.builders import SYMBOLS, make_market, make_paths, make_policy, under

MARKET, POLICY = make_market("us"), make_policy("us")
BOOKS = st.lists(
    st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 5_000)),
    min_size=1,
    max_size=5,
    unique_by=lambda p: p[0],
)


def a_book(held, cash=0):
    return Book(cash, tuple(Holding(s, q) for s, q in sorted(held)), ())


def followed(held, market=MARKET):
    """Value of a book along each path, share of today's, by the rule's text: shape (P, H)."""
    paths = market.paths
    worth = {s: q * int(market.price[market.index[s]]) for s, q in held}
    worth = {s: v for s, v in worth.items() if v > 0}
    total = sum(worth.values())
    out = np.zeros((paths.paths, paths.sessions))
    for symbol, value in worth.items():
        row = market.index[symbol]
        most = paths.limit[row] / 1e6
        for p in range(paths.paths):
            level, carried = 1.0, 0.0
            for h in range(paths.sessions):
                move = int(paths.moves[row, paths.days[p, h]])
                if move != SUSPENDED:
                    wanted = carried + move / 1e6
                    done = min(max(wanted, -most), most)
                    carried = wanted - done
                    level *= 1.0 + done
                out[p, h] += value / total * level
    return out


def sold(values, debt_share, policy=POLICY):
    """Which paths end in a forced sale at a debt over assets, session by session."""
    call, force = policy["call_line_ratio"] / 1e6, policy["force_line_ratio"] / 1e6
    deadline = policy["call_deadline_sessions"]
    out = np.zeros(len(values), dtype=bool)
    for p, path in enumerate(values):
        below = deadline if debt_share * call > 1.0 else 0
        for v in path:
            if v < debt_share * call:
                below += 1
            else:
                below = 0
            if v < debt_share * force or below > deadline:
                out[p] = True
    return out


def weights(market=MARKET):
    return (1 - STRESS_SHARE) * market.paths.weight + STRESS_SHARE * market.paths.stress_weight


CHANCES = POLICY.vector("structural_chance_by_tier_ratio")
BASE = BASE_TIER - 1


@settings(max_examples=25, deadline=None)
@given(BOOKS)
def test_the_limit_is_the_most_debt_whose_paths_sold_weigh_no_more_than_the_tier_s_chance(held):
    policy = under(POLICY, structural_stretch_ratio=100 * RATIO_ONE)
    found = path_risk(book_columns([a_book(held)], MARKET), MARKET, policy)
    values = followed(held)
    if not values.any():
        assert (found.margin[0] == NULL).all()
        return
    w = weights()
    # integers round values down by at most a few 1 / 16,384, always against the client
    near = 8 / UNIT
    for margin, most in zip(found.margin[0], CHANCES, strict=True):
        share = 1.0 - margin / 1e6
        assert w[sold(values, share - near)].sum() / len(w) <= most + 1
        assert w[sold(values, share + near)].sum() / len(w) > most


def test_the_chance_and_its_standard_error_are_those_of_the_weighted_paths():
    held = [("AAA", 100), ("BBB", 70)]
    found = path_risk(book_columns([a_book(held)], MARKET), MARKET, POLICY)
    w = weights() / 1e6
    values = followed(held)
    for tier in range(7):
        out = w * sold(values, 1.0 - found.margin[0, tier] / 1e6 - 8 / UNIT)
        mean = out.mean()
        error = np.sqrt(np.mean(out**2) - mean**2) / np.sqrt(len(w))
        assert found.chance[0, tier] / 1e6 == pytest.approx(mean, abs=3e-6)
        assert found.error[0, tier] / 1e6 == pytest.approx(error, abs=3e-6)
    assert found.paths == 64


def test_a_path_that_stays_below_the_call_line_for_the_deadline_is_sold_and_one_that_cures_is_not():
    deadline = POLICY["call_deadline_sessions"]
    falls = [-300_000] + [0] * deadline + [428_571] * 2
    cures = [-300_000] + [0] * (deadline - 1) + [428_571] * 3
    assert deadline >= 1
    for path, margin in ((falls, 1.0 - 0.7 / 1.4286), (cures, 1.0 - 0.7 / 1.1765)):
        moves = np.array([path] * 5, dtype=np.int32)
        one = replace(
            make_paths(5),
            moves=moves,
            limit=np.full(5, RATIO_ONE),
            days=np.arange(len(path), dtype=np.int32)[None, :],
            weight=np.array([RATIO_ONE]),
            stress_weight=np.array([RATIO_ONE]),
        )
        market = make_market("us", paths=one)
        call, force = POLICY["call_line_ratio"], POLICY["force_line_ratio"]
        found = path_risk(book_columns([a_book([("AAA", 100)])], market), market, POLICY)
        line = call if path is falls else force
        at_call = 1.0 - 1e6 / call  # debt that is called today already
        expected = max(1.0 - 0.7e6 / line, at_call if deadline == 1 and path is cures else 0.0)
        assert found.margin[0, BASE] / 1e6 == pytest.approx(expected, abs=2e-4), margin


@settings(max_examples=25, deadline=None)
@given(BOOKS, st.sampled_from([10_000, 50_000, 200_000]), st.integers(0, 10_000_000))
def test_the_path_limit_only_ever_tightens_and_its_absence_never_loosens(held, chance, cash):
    policy = under(POLICY, structural_chance_by_tier_ratio=[chance] * 7)
    books = book_columns([a_book(held, cash)], MARKET)
    on = book_limits(books, MARKET, policy)
    off = book_limits(books, replace(MARKET, paths=None), policy)
    assert on.structural[0] <= off.structural[0]
    add_on = on.concentration_margin[0]
    joint, paths = off.portfolio_margin[0] - add_on, on.paths.margin[0]
    assert on.portfolio_margin[0] == min(max(joint, paths) + add_on, RATIO_ONE)
    assert bool(on.by_paths[0]) == (paths > joint)
    assert UNDEFINED[off.paths.why[0]] == "no_scenario_set"


def test_a_book_without_positions_has_no_path_limit_and_says_so():
    empty, unknown = Book(10_000_00), a_book([("ZZZ", 5), ("NOPRICE", 7)])
    held = a_book([("AAA", 3)])
    books = book_columns([empty, held, unknown, empty], MARKET)
    found = path_risk(books, MARKET, POLICY).at(np.array([1, 2, 3, 8]), POLICY)
    for column in (found.base_margin, found.budget, found.chance, found.error):
        assert (column == NULL).tolist() == [True, False, True, True]
    assert (found.margin == NULL).tolist() == [True, False, True, True]
    assert [UNDEFINED[k] for k in found.why] == [
        "no_positions",
        None,
        "no_positions",
        "no_positions",
    ]
    none = PathRisk.undefined(2).at(None, POLICY)
    assert [UNDEFINED[k] for k in none.why] == ["no_scenario_set"] * 2


@settings(max_examples=20, deadline=None)
@given(st.lists(BOOKS, min_size=2, max_size=6), st.integers(1, 5))
def test_a_book_s_path_limit_depends_on_no_other_book_nor_on_its_size(books, times):
    together = path_risk(book_columns([a_book(h) for h in books], MARKET), MARKET, POLICY)
    for k, held in enumerate(books):
        larger = a_book([(s, q * times) for s, q in held])
        alone = path_risk(book_columns([larger], MARKET), MARKET, POLICY)
        # values are rounded to the minor unit, shares to 1 / 65,536
        assert np.abs(alone.margin[0] - together.margin[k]).max() <= 200


def test_a_value_never_falls_by_more_than_the_limit_and_a_cut_off_move_is_carried_over():
    paths = replace(
        make_paths(1, paths=1, sessions=4),
        moves=np.array([[-250_000, 0, SUSPENDED, 0]], dtype=np.int32),
        limit=np.array([100_000]),
        days=np.array([[0, 2, 1, 3]], dtype=np.int32),
    )
    value = walked(paths)[0, :, 0] / UNIT
    assert value == pytest.approx([0.9, 0.9, 0.81, 0.81 * 0.95], abs=1e-4)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    write_sample_market(folder / "market")
    return load_panel(folder / "market")


def test_the_published_paths_are_those_of_the_structural_limit_of_the_benches(sample):
    t = sample.session_index(np.datetime64("2021-12-27"))
    paths = published_paths(sample, t, 256)
    drawn = ScenarioSource(sample).at(t, paths=256, seed=SEED)
    value = walked(paths).astype(np.float64) / UNIT
    wanted = np.minimum(drawn.value, 32_767 / UNIT)
    assert np.abs(value[drawn.names] - wanted).max() < 5e-4
    assert paths.weight == pytest.approx(drawn.weight * 1e6, abs=1)
    assert paths.stress_weight == pytest.approx(drawn.stress_weight * 1e6, abs=1)


def test_the_limit_in_integers_lies_where_the_simulated_chance_in_floats_passes_the_policy_s(
    sample,
):
    t = sample.session_index(np.datetime64("2021-12-27"))
    # the benches' model sells at the second close below the call line
    policy = under(make_policy("us", dt.date(2021, 12, 28)), call_deadline_sessions=1)
    firm = FirmTerms(10**15, 10**14, 500_000)
    market = MarketHistory(sample).snapshot(t, policy, firm, 300)
    assert market.paths is not None
    drawn = ScenarioSource(sample).at(t, paths=market.paths.paths, seed=SEED)
    rng = np.random.default_rng(4)
    n = 40
    symbol = np.array([rng.choice(drawn.names, 6, replace=False) for _ in range(n)])
    shares = rng.integers(1, 500, symbol.shape)
    books = [
        a_book([(sample.symbols[s], int(q)) for s, q in zip(row, held, strict=True)])
        for row, held in zip(symbol, shares, strict=True)
    ]
    found = path_risk(book_columns(books, market), market, policy)
    value = shares * sample.close[t, symbol] // 100
    share = value / value.sum(axis=1, keepdims=True)
    leverage = 1e6 / found.margin[:, BASE]
    for k in range(n):
        grid = np.array([leverage[k] * 0.995, leverage[k] * 1.005])
        risk = structural_risk(
            drawn,
            symbol[k : k + 1],
            share[k : k + 1],
            grid=grid,
            call=policy["call_line_ratio"] / 1e6,
            force=policy["force_line_ratio"] / 1e6,
        )
        low, high = risk.blended[0]
        assert low <= CHANCES[BASE] / 1e6 < high


def test_more_paths_bring_the_limits_of_different_drawings_together(sample):
    t = sample.session_index(np.datetime64("2021-12-27"))
    policy = make_policy("us", dt.date(2021, 12, 28))
    held = [(s, 10) for s in sample.symbols[:6]]
    base = MarketHistory(sample).snapshot(t, policy, FirmTerms(10**15, 10**14, 0), 300)
    spread = []
    for paths in (64, 1024):
        margins = []
        for seed in range(6):
            market = replace(base, paths=published_paths(sample, t, paths, seed))
            margins.append(
                path_risk(book_columns([a_book(held)], market), market, policy).margin[0, BASE]
            )
        spread.append(np.std(margins))
    assert spread[1] < spread[0]
