"""What-if and counterfactuals run through the whole of ``decide``."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data_contracts.case import Book, Holding, Override, Request
from data_contracts.errors import InputError
from data_contracts.units import NULL
from models.maintenance.counterfactuals import counterfactuals, reaches
from models.maintenance.state import account
from models.maintenance.what_if import AskLess, Deposit, PriceMove, Repay, Sell, what_if
from tests.models.builders import (
    BUNDLE,
    CLEAR,
    MARKETS,
    POLICIES,
    TYPICAL,
    cases,
    currency_of,
    feature_rows,
    make_case,
    make_frame,
    make_loan,
)

US = MARKETS["us"]


def _equity(book: Book) -> int:
    made = account(make_case(book=book), US, POLICIES["us"])
    return made.assets_amt - made.owed_amt


def test_a_sale_repays_the_contract_of_its_name_first_and_keeps_equity():
    loans = (
        make_loan(400_000, contract_id="old"),
        make_loan(300_000, contract_id="own", symbol="AAA", quantity_shares=1_000, accrued_amt=500),
    )
    book = Book(0, (Holding("AAA", 1_000),), loans)
    after, market = what_if(make_case(book=book), US, [Sell("AAA", 500)])
    assert market is US
    assert [(c.contract_id, c.outstanding_amt) for c in after.book.contracts] == [("old", 200_500)]
    assert after.book.positions == (Holding("AAA", 500),)
    assert _equity(after.book) == _equity(book)
    whole, _ = what_if(make_case(book=book), US, [Sell("AAA", 1_000)])
    assert (whole.book.cash_amt, whole.book.contracts) == (299_500, ())


def test_deposit_repayment_and_price_move_change_what_they_say():
    book = Book(50_000, (Holding("AAA", 1_000),), (make_loan(400_000),))
    case = make_case(book=book)
    paid, _ = what_if(case, US, [Deposit(10_000), Repay(60_000)])
    assert (paid.book.cash_amt, paid.book.contracts[0].outstanding_amt) == (0, 340_000)
    _, market = what_if(case, US, [PriceMove(-300_000, "AAA")])
    assert market.price[0] == 70_000
    assert (market.price[1:] == US.price[1:]).all()
    _, market = what_if(case, US, [PriceMove(-1_000_000)])
    assert set(market.price.tolist()) == {0, NULL}
    assert market.sha256 != US.sha256


@pytest.mark.parametrize(
    ("lever", "said"),
    [
        (Sell("AAA", 1_001), "1001 shares of AAA cannot be sold; the account holds 1000"),
        (Deposit(-60_000), "more is withdrawn than the account has in cash"),
        (Repay(60_000), "more is repaid than the account has in cash"),
        (PriceMove(1, "ZZZ"), "the snapshot has no ZZZ; name one of its symbols"),
    ],
)
def test_more_than_there_is_cannot_be_moved(lever, said):
    book = Book(50_000, (Holding("AAA", 1_000),), (make_loan(400_000),))
    with pytest.raises(InputError) as caught:
        what_if(make_case(book=book), US, [lever])
    assert str(caught.value) == said


def _ways(case, kind="us", values=TYPICAL):
    args = (make_frame(BUNDLE, [case.client_id], values), BUNDLE, POLICIES[kind], MARKETS[kind])
    return counterfactuals(case, *args), args


@given(st.data(), st.sampled_from(["us", "cn"]), feature_rows)
@settings(max_examples=60, deadline=None)
def test_every_counterfactual_reaches_what_it_says(data, kind, values):
    case = data.draw(cases(kind=kind))
    asked = data.draw(st.integers(1, 10**10))
    case = replace(case, request=Request("simulation", "what-if", asked))
    try:
        ways, args = _ways(case, kind, values)
    except InputError as error:
        assume("90 billion" not in str(error))
        raise
    assert not (ways.found and ways.nothing)
    for way in ways.found:
        assert reaches(way, case, *args)
    for document in ways.as_dict()["ways"]:
        assert document["outcome"] == "approve"


def test_a_request_above_the_limit_can_be_lowered_or_backed_by_a_deposit():
    case = make_case(request=Request("simulation", "w", 10**8))
    ways, args = _ways(case)
    levers = {type(w.lever) for w in ways.found}
    assert {AskLess, Deposit} <= levers
    deposit = next(w.lever.amount_amt for w in ways.found if isinstance(w.lever, Deposit))
    less, _ = what_if(case, args[-1], [Deposit(deposit - 100)])
    made, _ = _ways(less)
    assert made.found, "one currency unit less is not approved"


def test_a_book_is_helped_by_selling_the_name_that_falls_hardest():
    held = Book(1_000_000, (Holding("BBB", 1_500), Holding("CCC", 60_000)))
    case = make_case(book=held, request=Request("simulation", "w", 21_000_000))
    ways, _ = _ways(case, "us", (0, 60, 1, 0))
    sales = [w.lever for w in ways.found if isinstance(w.lever, Sell)]
    assert [s.symbol for s in sales] == ["CCC"]
    assert 0 < sales[0].quantity_shares < 60_000


def test_where_nothing_can_be_done_the_rule_that_binds_is_named():
    asked = Request("simulation", "w", 10**9)
    tight = make_case(request=asked, override=Override(0, "p", "d"))
    ways, _ = _ways(tight)
    assert (ways.found, ways.nothing) == ((), ("bound_override",))
    unsuitable = make_case(request=asked, status=replace(CLEAR, suitability_level=1))
    assert _ways(unsuitable)[0].nothing == ("gate_unsuitable",)


def test_a_client_reads_no_hint_of_what_compliance_knows():
    for status in ({"sanctioned": True}, {"pep": True}, {"aml_level": "high"}):
        case = make_case(request=Request("simulation", "w", 10**9), status=replace(CLEAR, **status))
        assert _ways(case)[0].nothing == ("gate_neutral",)


def test_an_approved_case_needs_nothing():
    case = make_case(request=Request("simulation", "w", 100))
    ways, _ = _ways(replace(case, currency=currency_of("us")))
    assert ways.as_dict() == {"ways": [], "nothing": []}
