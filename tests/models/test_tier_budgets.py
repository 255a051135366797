"""The chance that a tier allows sets the path limit: what a score may do to it, and what not."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.case import Book, Holding, RelatedGroup
from data_contracts.snapshot import SUSPENDED, MarketSnapshot
from data_contracts.units import NULL, RATIO_ONE
from models.decide import decide_columns
from models.decide.body import bodies
from models.margin.book import book_columns
from models.margin.limits import NO_LIMIT, book_limits
from models.margin.paths import BASE_TIER, TIERS, path_risk, stretch_of
from models.margin.paths_kernel import stretched
from tests.models.builders import (
    BUNDLE,
    MARKETS,
    POLICIES,
    SYMBOLS,
    books,
    cases,
    feature_rows,
    make_case,
    make_frame,
    make_market,
    make_paths,
    under,
)

TIER = np.arange(1, TIERS + 2)
BOOKS = st.lists(
    st.tuples(st.sampled_from(SYMBOLS[:4]), st.integers(1, 5_000)),
    min_size=1,
    max_size=4,
    unique_by=lambda p: p[0],
)
BUDGETS = st.lists(st.integers(0, 300_000), min_size=7, max_size=7).map(
    lambda v: sorted(v, reverse=True)
)
POLICY_VALUES = st.fixed_dictionaries(
    {
        "structural_chance_by_tier_ratio": BUDGETS,
        "structural_stretch_ratio": st.integers(RATIO_ONE, 2 * RATIO_ONE),
        "concentration_margin_slope_ratio": st.integers(0, RATIO_ONE),
        # from a joint margin of next to nothing to one above the paths'
        "structural_multiple_ratio": st.sampled_from([1, RATIO_ONE, 3_500_000]),
        "diversification_floor_ratio": st.sampled_from([0, 300_000, 600_000]),
    }
)
PATHS = make_paths(5, paths=256, seed=2)
MARKET_OF = {kind: replace(m, paths=PATHS) for kind, m in MARKETS.items()}


def at_every_tier(book, kind, policy):
    """The limits of one book at tier 1 to 7 and D."""
    market = MARKET_OF[kind]
    columns = book_columns([book] * len(TIER), market)
    return book_limits(columns, market, policy, tier=TIER)


@settings(max_examples=150, deadline=None)
@given(BOOKS, st.integers(0, 10**9), st.sampled_from(["us", "cn"]), POLICY_VALUES)
def test_no_tier_lifts_the_structural_debt_above_the_stretch_of_the_base_and_caps_fall_along_tiers(
    held, cash, kind, values
):
    policy = under(POLICIES[kind], **values)
    book = Book(cash, tuple(Holding(s, q) for s, q in sorted(held)))
    made = at_every_tier(book, kind, policy)
    debt = [int(v) for v in made.structural]
    most = Fraction(debt[BASE_TIER - 1] * policy["structural_stretch_ratio"], RATIO_ONE)
    assert all(d <= most for d in debt)
    assert debt == sorted(debt, reverse=True)
    assert debt[7] == debt[6]
    margin = made.portfolio_margin.tolist()
    assert margin == sorted(margin)


@settings(max_examples=100, deadline=None)
@given(books(), st.sampled_from(["us", "cn"]))
def test_no_tier_moves_the_law_the_line_or_the_concentration_terms(book, kind):
    made = at_every_tier(book, kind, POLICIES[kind])
    for name in (
        "statutory", "line", "concentration", "house", "concentration_margin", "portfolio_gap",
        "maintenance", "equity",
    ):  # fmt: skip
        assert len(set(getattr(made, name).tolist())) == 1, name


@settings(max_examples=50, deadline=None)
@given(BOOKS)
def test_the_base_tier_has_the_limit_that_the_base_chance_gives_to_all(held):
    book = Book(0, tuple(Holding(s, q) for s, q in sorted(held)))
    us = POLICIES["us"]
    chance = us.vector("structural_chance_by_tier_ratio")[BASE_TIER - 1]
    alike = under(us, structural_chance_by_tier_ratio=[chance] * TIERS)
    own, same = (at_every_tier(book, "us", p) for p in (us, alike))
    assert chance == 50_000
    assert set(same.structural.tolist()) == {int(own.structural[BASE_TIER - 1])}
    assert own.paths.base_margin.tolist() == same.paths.margin.tolist()


@given(st.integers(1, RATIO_ONE), st.integers(0, RATIO_ONE), st.integers(RATIO_ONE, 2 * RATIO_ONE))
@settings(max_examples=300, deadline=None)
def test_the_stretched_margin_is_the_least_whose_debt_is_within_the_stretch(base, add_on, stretch):
    found = int(stretched(base, add_on, stretch, RATIO_ONE))

    def debt(margin):
        both = min(margin + add_on, RATIO_ONE)
        return Fraction(RATIO_ONE - both, max(both, 1))

    assert found <= base
    most = debt(base) * Fraction(stretch, RATIO_ONE)
    assert debt(found) <= most
    # rounded up by two digits at most
    if found < base and found > 2:
        assert debt(found - 2) > most


def test_the_stretch_binds_a_good_tier_and_the_chance_stated_is_that_of_the_margin_it_leaves():
    wide = under(
        POLICIES["us"],
        structural_chance_by_tier_ratio=[400_000, 70_000, 60_000, 50_000, 40_000, 30_000, 20_000],
        concentration_margin_slope_ratio=0,
    )
    columns = book_columns([Book(0, (Holding("AAA", 100), Holding("BBB", 40)))], MARKET_OF["us"])
    free = path_risk(columns, MARKET_OF["us"], under(wide, structural_stretch_ratio=10**8))
    held = path_risk(columns, MARKET_OF["us"], wide)
    base = int(held.margin[0, BASE_TIER - 1])
    assert free.margin[0, 0] < held.margin[0, 0] < base
    debt = [Fraction(RATIO_ONE - m, m) for m in (int(held.margin[0, 0]), base)]
    assert debt[0] <= Fraction(11, 10) * debt[1] < debt[0] + Fraction(1, 10_000)
    assert held.chance[0, BASE_TIER - 1] < held.chance[0, 0] < free.chance[0, 0]


def document(case, values, policy, market):
    frame = make_frame(BUNDLE, [case.client_id], [values])
    return next(iter(bodies(decide_columns([case], frame, BUNDLE, policy, market))))


def term(body, name):
    found = next(s["limit_amt"] for s in body["cap_waterfall"] if s["term"] == name)
    return NO_LIMIT if found is None else int(found.replace(".", ""))


@settings(max_examples=100, deadline=None)
@given(st.data(), feature_rows, BUDGETS)
def test_whatever_the_score_a_decision_keeps_within_the_stretch_and_its_hard_terms(
    data, values, budgets
):
    case = replace(data.draw(cases()), previous=None)
    us = POLICIES["us"]
    policy = under(us, structural_chance_by_tier_ratio=budgets)
    base = under(us, structural_chance_by_tier_ratio=[budgets[BASE_TIER - 1]] * TIERS)
    market = MARKET_OF["us"]
    ours, theirs = (document(case, values, p, market) for p in (policy, base))
    most = term(theirs, "structural") * Fraction(us["structural_stretch_ratio"], RATIO_ONE)
    # terms are stated in whole units, rounded down
    assert term(ours, "structural") <= most + 110
    for name in ("statutory", "line", "concentration", "firm"):
        assert term(ours, name) == term(theirs, name)
    assert ours["structural"]["base_margin_ratio"] == theirs["structural"]["margin_ratio"]


FALLING = make_paths(5, 256, seed=3)
STEEP = make_market(
    "us",
    paths=replace(
        FALLING,
        moves=np.where(FALLING.moves == SUSPENDED, SUSPENDED, np.minimum(FALLING.moves, 0) * 2),
    ),
)
"""Nobody ever gains: what the paths ask for is more than the law does."""
BEST, WORST = (5, 60, 1, 0), (40, 0, 1, 5)


def test_a_better_score_lifts_the_structural_term_and_a_worse_one_lowers_it():
    light = under(POLICIES["us"], structural_multiple_ratio=1, diversification_floor_ratio=0)
    best, worst = (document(make_case(), v, light, STEEP) for v in (BEST, WORST))
    assert (best["tier"], worst["tier"]) == ("1", "7")
    assert term(best, "structural") > term(worst, "structural")
    for one, budget in ((best, 80_000), (worst, 20_000)):
        s = one["structural"]
        assert s["budget_ratio"] == budget
        assert s["chance_ratio"] <= budget
    assert best["structural"]["base_margin_ratio"] == worst["structural"]["base_margin_ratio"]
    assert best["structural"]["margin_ratio"] <= best["structural"]["base_margin_ratio"]
    assert worst["structural"]["margin_ratio"] >= best["structural"]["base_margin_ratio"]


def test_a_related_group_has_the_chance_of_its_worst_member():
    light = under(
        POLICIES["us"],
        structural_multiple_ratio=1,
        diversification_floor_ratio=0,
        tier_cap_ratio=[RATIO_ONE] * 7,
    )
    other = Book(0, (Holding("CCC", 3_000),))
    by_worst = [
        document(make_case(group=RelatedGroup("g", (other,), worst)), BEST, light, STEEP)
        for worst in (None, 4, 7)
    ]
    assert [b["tier"] for b in by_worst] == ["1", "4", "7"]
    limits = [term(b, "group") for b in by_worst]
    assert limits[0] > limits[2]
    assert limits == sorted(limits, reverse=True)


def test_a_client_in_default_has_the_worst_tier_s_chance_and_no_share_of_the_limit():
    made = at_every_tier(Book(0, (Holding("AAA", 500),)), "us", POLICIES["us"])
    assert made.paths.budget.tolist() == [
        80_000, 70_000, 60_000, 50_000, 40_000, 30_000, 20_000, 20_000,
    ]  # fmt: skip
    assert made.paths.margin[7] == made.paths.margin[6]


def test_without_a_scenario_set_no_tier_has_a_chance_nor_a_margin_of_the_paths():
    bare = make_market("us", paths=None)
    books_of = book_columns([Book(0, (Holding("AAA", 500),))] * 2, bare)
    made = book_limits(books_of, bare, POLICIES["us"], tier=np.array([1, 7]))
    assert (made.paths.budget == NULL).all()
    assert made.structural[0] == made.structural[1]


@pytest.mark.parametrize("kind", ["us", "cn"])
def test_the_packs_state_seven_chances_that_fall_and_the_base_is_five_per_cent(kind):
    values = POLICIES[kind].vector("structural_chance_by_tier_ratio")
    assert list(values) == sorted(set(values), reverse=True)
    assert (len(values), values[BASE_TIER - 1]) == (TIERS, 50_000)
    assert POLICIES[kind]["structural_stretch_ratio"] == 1_100_000


def test_after_a_run_up_no_tier_relaxes_the_base_tiers_limit():
    policy = POLICIES["us"]
    held = Book(0, (Holding(SYMBOLS[0], 400), Holding(SYMBOLS[1], 300)), ())
    found = {}
    for rise in (-200_000, 0, 250_000, 499_999, 500_000, 3_000_000, NULL):
        paths = replace(PATHS, year_rise=rise)
        market = replace(MARKET_OF["us"], paths=paths)
        found[rise] = stretch_of(market, policy)
        columns = book_columns([held] * len(TIER), market)
        limits = book_limits(columns, market, policy, tier=TIER)
        base = limits.structural[BASE_TIER - 1]
        assert np.all(limits.structural <= base * found[rise] // RATIO_ONE)
        if found[rise] == RATIO_ONE:
            assert np.all(limits.structural <= base)
    # a tenth in calm, half of it after a rise of a quarter, nothing from a half on or unknown
    assert found == {
        -200_000: 1_100_000, 0: 1_100_000, 250_000: 1_050_000, 499_999: 1_000_000,
        500_000: 1_000_000, 3_000_000: 1_000_000, NULL: 1_000_000,
    }  # fmt: skip
    assert stretch_of(replace(MARKET_OF["us"], paths=None), policy) == RATIO_ONE


def test_the_markets_year_is_hashed_and_comes_back_from_disk(tmp_path):
    kept = replace(MARKET_OF["us"], paths=replace(PATHS, year_rise=123_456))
    kept.write(tmp_path / "night")
    back = MarketSnapshot.read(tmp_path / "night")
    assert back.paths is not None
    assert back.paths.year_rise == 123_456
    assert back.sha256 == kept.sha256
    unknown = replace(kept, paths=replace(PATHS, year_rise=NULL))
    assert unknown.sha256 != kept.sha256
