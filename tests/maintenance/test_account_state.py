"""Lines, deadlines and distances of an account, and what may be ordered at each of them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from fractions import Fraction
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.case import Book, Holding
from models.maintenance.state import (
    LEVELS,
    REDUCING,
    Side,
    account,
    may_place,
    rooms,
    sale_to_reach,
)
from models.policy import load_pack
from tests.models.builders import MARKETS, POLICIES, decided, make_case, make_loan

CN, ONE = MARKETS["cn"], 10**6
COMING = (dt.date(2024, 3, 18), dt.date(2024, 3, 19))


def _account(shares: int, owed: int, **loan):
    book = Book(0, (Holding("AAA", shares),), (make_loan(owed, **loan),))
    return account(make_case(book=book), CN, POLICIES["cn"], COMING)


@pytest.mark.parametrize(
    ("owed", "level"),
    [
        (620_000, "clear"),
        (630_000, "observe"),
        (700_000, "warn"),
        (770_000, "call"),
        (920_000, "force"),
        (1_200_000, "force"),
    ],
)
def test_an_account_is_at_the_most_severe_line_that_it_is_below(owed, level):
    assert _account(1_000, owed).level == level


def test_on_its_line_an_account_is_not_below_it():
    made = _account(1_300, 1_000_000)
    assert (made.maintenance_ratio, made.level) == (1_300_000, "warn")


def test_a_call_is_to_be_met_by_the_next_session_and_below_the_last_line_today():
    assert _account(1_000, 770_000).deadline == COMING[0]
    assert _account(1_000, 950_000).deadline == CN.session
    assert _account(1_000, 620_000).deadline is None


def test_the_deposit_and_the_sale_of_each_line_just_bring_the_account_there():
    made = _account(1_000, 800_000, accrued_amt=7)
    for d in made.distances:
        assets, owed, line = 1_000_000, 800_007, Fraction(d.line_ratio, ONE)
        assert assets + d.deposit_amt >= line * owed
        if d.deposit_amt:
            assert assets + d.deposit_amt - 1 < line * owed
    cure = made.cure
    assert cure is not None
    assert cure.line_ratio == POLICIES["cn"]["target_line_ratio"]


def test_the_worked_example_of_a_sale_from_125_to_145_per_cent():
    # A = 1.25, D = 1, one per cent of cost: 0.46 of the debt, 37 % of the assets
    sold = sale_to_reach(1_250_000, 1_000_000, 1_450_000, 10_000)
    assert sold is not None
    assert round(sold / 1_000_000, 2) == 0.46
    assert round(sold / 1_250_000, 2) == 0.37


@given(
    st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1_020_000, 3_000_000),
    st.integers(0, 15_000),
)  # fmt: skip
def test_the_sale_brings_the_account_to_the_line_and_sells_no_more_than_rounding_asks(
    assets, owed, line, cost
):
    sold = sale_to_reach(assets, owed, line, cost)
    ratio = Fraction(line, ONE)
    gained = ratio * Fraction(ONE - cost, ONE) - 1
    short = ratio * owed - assets
    if sold is None:
        # selling everything is too little, or each sale costs more than it frees
        assert gained <= Fraction(1, ONE) or short / gained * (1 + 2 / (gained * ONE)) + 1 > assets
        return
    assert 0 <= sold <= assets
    assert assets - sold >= ratio * (owed - sold * Fraction(ONE - cost, ONE))
    if short > 0:
        # what each sold unit gains is held in 1e-6, rounded down against the account
        assert sold <= short / (gained - Fraction(1, ONE)) + 1


def test_cash_may_leave_down_to_the_withdrawal_line_and_no_further():
    book = Book(500_000, (Holding("AAA", 3_000),), (make_loan(1_000_000),))
    made = account(make_case(book=book), CN, POLICIES["cn"])
    assert made.withdrawable_amt == 500_000
    book = Book(500_000, (Holding("AAA", 2_600),), (make_loan(1_000_000),))
    assert account(make_case(book=book), CN, POLICIES["cn"]).withdrawable_amt == 100_000
    us = load_pack("us").on(dt.date(2024, 3, 18))
    assert account(make_case(book=book), MARKETS["us"], us).withdrawable_amt is None


def test_contracts_name_the_days_to_their_end():
    made = _account(1_000, 100, due_on=dt.date(2024, 3, 20))
    assert made.contracts_due == (("k1", 5),)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("side", get_args(Side))
def test_an_order_that_reduces_risk_is_never_blocked(side, level):
    allowed = may_place(side, level)
    if side in REDUCING:
        assert allowed
    else:
        assert allowed == (level in ("clear", "observe"))


def test_without_debt_there_is_no_distance_and_no_call():
    made = account(make_case(book=Book(100, (), ())), CN, POLICIES["cn"])
    assert (made.level, made.maintenance_ratio, made.cure) == ("clear", None, None)
    assert {d.fall_ratio for d in made.distances} == {None}
    assert {d.deposit_amt for d in made.distances} == {0}
    assert made.as_dict()["owed_amt"] == "0.00"


def test_the_room_under_every_limit_is_what_it_leaves_above_the_debt():
    body = decided(make_case()).body
    made = rooms(body)
    assert [r["term"] for r in made] == [s["term"] for s in body["cap_waterfall"]]
    assert {r["limit_amt"] is None for r in made} == {True, False}
    for r in made:
        if r["limit_amt"] is None:
            assert r["room_amt"] is None
        else:
            owed = Decimal(body["debt_amt"])
            assert Decimal(r["room_amt"]) == Decimal(r["limit_amt"]) - owed
