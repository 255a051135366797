"""What one overweight name adds to the margin, and that it only ever tightens."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.case import Book, Holding, RelatedGroup
from data_contracts.units import RATIO_ONE
from models.decide import decide_columns
from models.decide.body import bodies
from models.margin.book import book_columns
from models.margin.concentration import (
    concentration_margin,
    concentration_margin_ratio,
    largest_share,
)
from models.margin.limits import book_limits
from models.reasons import render
from tests.models.builders import (
    BUNDLE,
    MARKETS,
    POLICIES,
    books,
    decided,
    make_case,
    make_frame,
    under,
)

US, MARKET = POLICIES["us"], MARKETS["us"]
SPREAD = Book(0, (Holding("AAA", 5_237), Holding("BBB", 1_000), Holding("DDD", 424)))
ALONE = Book(0, (Holding("AAA", 15_000),))


def _add_on(share: int) -> int:
    return int(concentration_margin(np.array([share]), US)[0])


def test_everything_in_one_name_adds_a_quarter_of_seven_tenths_and_a_third_each_next_to_none():
    columns = book_columns([ALONE, SPREAD, Book(10**9), Book(5, (Holding("NOPRICE", 7),))], MARKET)
    assert largest_share(columns).tolist() == [RATIO_ONE, 333_392, 0, 0]
    add_on = concentration_margin(largest_share(columns), US)
    assert add_on.tolist() == [175_000, 8_348, 0, 0]


@given(st.integers(0, RATIO_ONE))
def test_the_add_on_is_the_line_s_value_rounded_up_and_the_floats_are_that_line(share):
    line = max(Fraction(share, RATIO_ONE) - Fraction(3, 10), Fraction(0)) / 4
    assert _add_on(share) == ceil(line * RATIO_ONE)
    given_ratio = np.array([share / RATIO_ONE])
    assert concentration_margin_ratio(given_ratio, US)[0] == pytest.approx(float(line), abs=1e-12)


@given(st.integers(0, RATIO_ONE - 1_000), st.integers(1, 1_000))
def test_a_little_more_of_a_name_never_costs_a_jump(share, more):
    step = _add_on(share + more) - _add_on(share)
    assert 0 <= step <= more * 250_000 // RATIO_ONE + 1


@settings(max_examples=100, deadline=None)
@given(books(), st.sampled_from(["us", "cn"]))
def test_the_add_on_only_tightens_and_moves_no_other_term(book, kind):
    market, policy = MARKETS[kind], POLICIES[kind]
    columns = book_columns([book], market)
    off = under(policy, concentration_margin_slope_ratio=0)
    on, without = book_limits(columns, market, policy), book_limits(columns, market, off)
    assert on.structural[0] <= without.structural[0]
    both = without.portfolio_margin[0] + on.concentration_margin[0]
    assert on.portfolio_margin[0] == min(both, RATIO_ONE)
    for name in ("statutory", "line", "concentration", "house"):
        assert getattr(on, name)[0] == getattr(without, name)[0]


def test_the_document_shows_the_add_on_and_a_reason_names_it_where_the_limit_rests_on_it():
    # tier 6: its share of what the holdings support is less than the law allows
    alone, spread = (decided(make_case(book=b), values=(40, 0, 1, 0)).body for b in (ALONE, SPREAD))
    assert alone["structural"]["concentration_margin_ratio"] == 175_000
    assert spread["structural"]["concentration_margin_ratio"] == 8_348
    said = {r["code"]: r for r in spread["reasons"]}
    assert spread["binding"] in ("structural", "behavioural")
    assert said["concentration_margin"]["args"] == {"points": "0.8", "weight": "33.3"}
    assert render(said["concentration_margin"], "en", "client") == (
        "The largest holding is 33.3 % of the holdings, which adds 0.8 points to the equity they"
        " need."
    )
    assert "33.3" in str(render(said["concentration_margin"], "zh", "client"))


def test_where_another_term_binds_the_add_on_is_no_reason():
    made = decided(make_case(book=ALONE), headroom_amt=0).body
    assert made["binding"] == "firm"
    assert made["structural"]["concentration_margin_ratio"] == 175_000
    assert "concentration_margin" not in {r["code"] for r in made["reasons"]}


def test_an_applicant_without_positions_has_none():
    made = decided(make_case(book=Book(10**8))).body
    assert made["structural"]["concentration_margin_ratio"] == 0
    assert "concentration_margin" not in {r["code"] for r in made["reasons"]}


def test_a_related_group_is_charged_for_what_it_holds_together():
    """Two members with one name each are one book of two names, and pay for that share only."""
    other = Book(0, (Holding("BBB", 2_864),))
    case = make_case(
        book=Book(0, (Holding("AAA", 15_000),)), group=RelatedGroup("g", (other,), None)
    )
    by_slope = []
    for slope in (250_000, 0):
        policy = under(US, concentration_margin_slope_ratio=slope, tier_cap_ratio=[RATIO_ONE] * 7)
        d = decided_under(case, policy)
        group, own = (
            next(s["limit_amt"] for s in d["cap_waterfall"] if s["term"] == t)
            for t in ("group", "structural")
        )
        by_slope.append((float(group), float(own), d["structural"]["concentration_margin_ratio"]))
    (group, own, add_on), (free, own_free, nothing) = by_slope
    assert (add_on, nothing) == (175_000, 0)
    assert group < free
    assert own < own_free
    # half and half: 5 points of the pooled book, 17.5 of the member's own
    assert group / free > own / own_free


def decided_under(case, policy):
    frame = make_frame(BUNDLE, [case.client_id], [(12, 30, 1, 0)])
    return next(iter(bodies(decide_columns([case], frame, BUNDLE, policy, MARKET))))
