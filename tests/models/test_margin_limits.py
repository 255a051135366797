"""The debt that books support, against an oracle and against plain arithmetic."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data_contracts.case import Book, Holding
from data_contracts.errors import InputError
from data_contracts.units import NULL
from models.law.china import available_margin
from models.margin.book import book_columns
from models.margin.exact import over, part, part_up
from models.margin.limits import (
    NO_LIMIT,
    BookLimits,
    book_limits,
    supported,
    tail_loss,
)
from tests.models import oracle
from tests.models.builders import MARKETS, POLICIES, SYMBOLS, books, make_loan, make_market, under

CN, US = MARKETS["cn"], MARKETS["us"]
ONE = 10**6
LARGEST = 9 * 10**12


def _available(book: Book) -> int:
    return int(available_margin(book_columns([book], CN), CN, POLICIES["cn"])[0])


def _limits(book: Book, kind: str = "us") -> BookLimits:
    market = MARKETS[kind]
    return book_limits(book_columns([book], market), market, POLICIES[kind])


@given(st.integers(-LARGEST, LARGEST), st.integers(1, 10 * ONE))
@settings(max_examples=300, deadline=None)
def test_products_and_quotients_are_exact_up_to_the_largest_amounts(amount, ratio):
    a = np.array([amount], dtype=np.int64)
    assert part(a, ratio)[0] == floor(Fraction(amount * ratio, ONE))
    assert part_up(a, ratio)[0] == ceil(Fraction(amount * ratio, ONE))
    assume(abs(amount) <= LARGEST * ratio // ONE)
    assert over(a, ratio)[0] == floor(Fraction(amount * ONE, ratio))


@given(st.integers(-LARGEST, LARGEST), st.integers(1, ONE))
@settings(max_examples=200, deadline=None)
def test_supported_debt_leaves_the_asked_equity(equity, margin):
    debt = int(supported(np.array([equity]), margin)[0])
    free = max(equity, 0)
    assert debt == floor(Fraction(free * (ONE - margin), margin))
    assert (free + debt) * margin <= free * ONE


@given(books())
@settings(max_examples=300, deadline=None)
def test_available_margin_follows_the_exchanges_text_and_rounds_against_the_client(book):
    exact = oracle.available_margin(book, CN)
    # a minor unit of rounding a holding, and five a contract
    parts = len(book.positions) + 5 * len(book.contracts) + 1
    assert exact - parts <= _available(book) <= exact


@pytest.mark.parametrize(
    ("opened", "stated", "bound"),
    [
        (dt.date(2015, 6, 12), 500_000, 50_000),
        (dt.date(2015, 6, 12), 800_000, 80_000),
        (dt.date(2020, 6, 12), 800_000, 80_000),  # by agreement, since September 2023
        (dt.date(2020, 6, 12), 1_000_000, 100_000),
        (dt.date(2020, 6, 12), 500_000, 80_000),  # never below the law of its day
        (dt.date(2024, 1, 2), 1_200_000, 120_000),
    ],
)
def test_a_contract_keeps_its_own_margin_ratio_and_at_least_that_of_its_day(opened, stated, bound):
    loan = make_loan(
        100_000, symbol="AAA", quantity_shares=100, ratio_at_opening=stated, opened_on=opened
    )
    book = Book(1_000_000, (Holding("AAA", 100),), (loan,))
    assert _available(book) == 1_000_000 - bound


def test_a_contract_older_than_the_pack_is_refused():
    loan = make_loan(1, opened_on=dt.date(2009, 1, 5))
    with pytest.raises(InputError) as caught:
        _available(Book(0, (), (loan,)))
    assert str(caught.value) == (
        "a contract was opened on 2009-01-05; policy pack 'cn' is known from 2010-03-31;"
        " correct opened_on or extend the pack"
    )


def test_a_gain_counts_at_the_haircut_and_a_loss_in_full():
    for outstanding, counted in ((80_000, 13_000), (120_000, -20_000)):
        loan = make_loan(outstanding, symbol="AAA", quantity_shares=100)
        bound = outstanding * 8 // 10
        assert _available(Book(0, (Holding("AAA", 100),), (loan,))) == counted - bound


def test_shares_that_were_sold_back_nothing():
    loan = make_loan(80_000, symbol="AAA", quantity_shares=100)
    lost = -80_000 - 64_000
    assert _available(Book(0, (), (loan,))) == lost
    half = Book(0, (Holding("AAA", 50),), (loan,))
    assert _available(half) == 50_000 + lost
    twice = Book(0, (Holding("AAA", 100),), (loan, replace(loan, contract_id="k2")))
    assert _available(twice) == 2 * (50_000 + lost)


@pytest.mark.parametrize(
    ("symbol", "counted"),
    [("AAA", 65_000), ("BBB", 70_000), ("CCC", 0), ("NOPRICE", 0), ("UNKNOWN", 0)],
)
def test_a_haircut_is_never_above_the_exchanges_maximum(symbol, counted):
    market = replace(CN, price=np.array([10_000, 10_000, 10_000, 10_000, NULL]))
    book = Book(0, (Holding(symbol, 1_000),), ())
    got = available_margin(book_columns([book], market), market, POLICIES["cn"])[0]
    assert got == counted


def test_an_unpublished_haircut_is_the_ordinary_maximum_and_no_collateral_is_none():
    market = replace(CN, haircut=np.array([NULL] * 5))
    for symbol, counted in (("AAA", 65_000), ("CCC", 0)):
        market = replace(market, price=np.array([10_000] * 5))
        book = Book(0, (Holding(symbol, 1_000),), ())
        got = available_margin(book_columns([book], market), market, POLICIES["cn"])[0]
        assert got == counted
    closed = replace(market, collateral_eligible=np.zeros(5, dtype=bool))
    book = Book(7, (Holding("AAA", 1_000),), ())
    assert available_margin(book_columns([book], closed), closed, POLICIES["cn"])[0] == 7


def test_one_million_of_cash_supports_what_the_exchanges_example_says():
    cash = Book(100_000_000, (), ())
    assert _limits(cash, "cn").statutory[0] == 125_000_000


@given(books(), st.sampled_from(["us", "cn"]))
@settings(max_examples=300, deadline=None)
def test_the_statutory_limit_is_the_oracles_within_rounding_and_no_limit_is_negative(book, kind):
    try:
        made = _limits(book, kind)
    except InputError:
        assume(False)
    exact = min(max(oracle.statutory_limit(book, MARKETS[kind], kind), 0), LARGEST)
    slack = 3 * (len(book.positions) + 5 * len(book.contracts) + 2)
    assert exact - slack <= made.statutory[0] <= exact
    for name in ("statutory", "line", "concentration", "structural"):
        limit = getattr(made, name)[0]
        assert 0 <= limit <= LARGEST or limit == NO_LIMIT


def test_regulation_t_lends_as_much_as_there_is_equity():
    book = Book(0, (Holding("AAA", 1_000),), (make_loan(200_000),))
    assert _limits(book).statutory[0] == 800_000


def test_regulation_t_takes_shares_that_cannot_be_margined_in_full():
    # 100,000 of cash, 12,345 of shares that need 100 %
    assert _limits(Book(100_000_00, (Holding("DDD", 100),), ())).statutory[0] == 100_000_00


def test_nothing_is_lent_below_two_thousand_dollars():
    assert _limits(Book(199_999, (), ())).statutory[0] == 0
    assert _limits(Book(200_000, (), ())).statutory[0] == 200_000


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=5),
    st.integers(1, 40),
    st.sampled_from([10_000, 50_000, 500_000, 1_000_000]),
    st.integers(0, 2**31),
)
@settings(max_examples=150, deadline=None)
def test_tail_loss_is_the_mean_of_the_worst_scenarios(shares, count, tail, seed):
    moves = np.random.default_rng(seed).integers(-ONE, ONE, size=(count, 5)).astype(np.int32)
    market = replace(make_market("us", scenarios=moves), price=np.array([10_007] * 5))
    held = tuple(Holding(s, q) for s, q in zip(SYMBOLS, shares, strict=False))
    empty = Book(5, (), ())
    got = tail_loss(book_columns([empty, Book(0, held, ()), empty], market), market, tail)
    value = [q * 10_007 // 100 for q in shares]
    results = sorted(sum(int(m) * v for m, v in zip(row, value, strict=False)) for row in moves)
    worst = max(1, ceil(Fraction(count * tail, ONE)))
    expected = ceil(Fraction(max(-sum(results[:worst]), 0), worst * ONE))
    assert got.tolist() == [0, expected, 0]


def test_tail_loss_of_ninety_billion_does_not_wrap():
    moves = np.full((500, 5), -ONE, dtype=np.int32)
    market = make_market("us", scenarios=moves)
    book = Book(0, (Holding("AAA", LARGEST // 1_000),), ())
    columns = book_columns([book], market)
    assert tail_loss(columns, market, 10_000)[0] == LARGEST
    made = book_limits(columns, market, POLICIES["us"])
    assert (made.portfolio_margin[0], made.structural[0]) == (ONE, 0)


def test_no_limit_is_above_the_largest_amount_of_a_client():
    flat = make_market("us", scenarios=np.zeros((1, 5), dtype=np.int32))
    flat = replace(flat, security_margin=np.array([1] * 5), gap_loss=np.array([0] * 5))
    book = Book(LARGEST // 2, (Holding("AAA", LARGEST // 2_000),), ())
    uncharged = under(POLICIES["us"], concentration_margin_from_ratio=ONE)
    made = book_limits(book_columns([book], flat), flat, uncharged)
    assert [int(made.statutory[0]), int(made.line[0]), int(made.structural[0])] == [LARGEST] * 3


def test_without_holdings_the_reference_portfolio_is_used():
    made = _limits(Book(1_000_000, (), ()))
    assert (made.portfolio_margin[0], made.portfolio_gap[0]) == (550_000, 250_000)


def test_a_security_without_a_margin_needs_all_equity():
    market = make_market("us", security_margin=np.array([NULL] * 5))
    market = replace(market, gap_loss=np.array([NULL] * 5))
    book = Book(0, (Holding("AAA", 1_000),), ())
    made = book_limits(book_columns([book], market), market, POLICIES["us"])
    assert (made.portfolio_gap[0], made.line[0]) == (ONE, 0)
    assert made.portfolio_margin[0] >= 600_000


def test_at_the_line_limit_one_gap_just_reaches_the_call_line():
    book = Book(0, (Holding("AAA", 100_000),), ())
    made = _limits(book)
    debt, equity = int(made.line[0]), int(made.equity[0])
    after = Fraction((equity + debt) * (ONE - 200_000), ONE)
    call = Fraction(POLICIES["us"]["call_line_ratio"], ONE)
    assert after >= call * debt
    assert after < call * (debt + 100)


@pytest.mark.parametrize(
    ("cash", "line"), [(100_000, None), (99_999, Fraction(9, 5)), (42_000, Fraction(12, 5))]
)
def test_a_concentrated_book_must_stay_above_the_line_of_its_share(cash, line):
    made = _limits(Book(cash, (Holding("AAA", 100),), ()))
    if line is None:
        assert made.concentration[0] == NO_LIMIT
    else:
        assert made.concentration[0] == floor(int(made.equity[0]) / (line - 1))


def test_a_book_beyond_the_largest_amount_is_refused_by_name():
    rich = Book(LARGEST, (Holding("AAA", 1),), ())
    with pytest.raises(InputError) as caught:
        book_columns([Book(0), rich], US, ["client a", "client b"])
    assert str(caught.value) == ("client b: assets or debt exceed 90 billion; decide on it by hand")
    with pytest.raises(InputError) as caught:
        book_columns([Book(0, (Holding("BBB", 10**12),), ())], US)
    assert str(caught.value) == (
        "1000000000000 shares of BBB are worth more than 90 billion;"
        " correct the quantity or the price"
    )
