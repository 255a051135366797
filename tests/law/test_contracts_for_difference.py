"""Contracts for difference: what an account ties up, when it is closed, and who is exempt."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gearline
from data_contracts.case import (
    Book,
    Case,
    Holding,
    RelatedGroup,
    Request,
    case_from_json,
    case_to_json,
)
from data_contracts.decision import Decision
from data_contracts.errors import InputError
from models.decide import decide
from models.law import cfd
from models.liquidation.plan import Distressed, plan
from models.maintenance.state import Account, account
from models.maintenance.what_if import Deposit, PriceMove, Sell, what_if
from models.policy import load_pack
from models.policy.check import check_documents
from models.policy.document import shipped_documents
from models.price.rate import loss_given_default
from serving.commands.nights import pack_of_lake
from tests.law import oracle
from tests.models.builders import (
    BUNDLE,
    CLEAR,
    EFFECTIVE,
    MARKETS,
    make_case,
    make_frame,
    make_loan,
)
from training.commands import pack_of
from training.demo import check_demo

ONE = 10**6
EU, UK = (load_pack(name).on(EFFECTIVE) for name in ("eu-cfd", "uk-cfd"))
PRICE = 1_000_000
"""A hundred, in 0.0001."""
CALM = replace(
    MARKETS["us"],
    mic="XOFF",
    currency="EUR",
    board=("share", "fx_major", "index_minor", "crypto", "government_bond"),
    price=np.full(5, PRICE, dtype=np.int64),
    security_margin=np.full(5, 2_000, dtype=np.int64),
    gap_loss=np.full(5, 1_000, dtype=np.int64),
    margin_eligible=np.ones(5, dtype=bool),
    scenarios=np.zeros((4, 5), dtype=np.int32),
)
SHARE, FX, INDEX, CRYPTO, BOND = CALM.symbols


def _book(symbol: str, units: int, owed: int, cash: int = 0, ratio: int = 0) -> Book:
    loan = make_loan(
        owed, symbol=symbol, quantity_shares=units, ratio_at_opening=ratio, rule_pack="eu-cfd"
    )
    return Book(cash, (Holding(symbol, units),), (loan,))


def _case(book: Book, buys: str | None = None, **changes: Any) -> Case:
    currency = changes.pop("currency", "EUR")
    request = Request("nightly", "run-1", None, buys)
    return replace(make_case(book=book, request=request, **changes), currency=currency)


def _stands(book: Book, market: Any = CALM) -> Account:
    return account(_case(book), market, EU)


def _decided(case: Case, policy: Any = EU) -> Decision:
    market = replace(CALM, currency=policy.currency)
    case = replace(case, currency=policy.currency)
    return decide(
        case, make_frame(BUNDLE, [case.client_id], (12, 30, 1, 0)), BUNDLE, policy, market
    )


# --- the close-out ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owed", "level"),
    [
        # a thousand shares at 100 tie up 20,000.00; a line is rounded up to a millionth
        (6_999_997, "clear"),
        (7_000_001, "observe"),
        (8_000_000, "observe"),
        (8_000_001, "warn"),
        (8_499_996, "warn"),
        (8_500_001, "call"),
        (8_999_992, "call"),
        (9_000_001, "force"),
        (10_500_000, "force"),
    ],
)
def test_an_account_is_closed_when_a_cent_is_missing_to_half_of_its_margin(owed, level):
    assert _stands(_now(owed)).level == level


def _now(owed: int) -> Book:
    """A thousand shares at 100, opened below that; what is owed has grown by interest."""
    loan = make_loan(
        6_000_000, symbol=SHARE, quantity_shares=1_000, ratio_at_opening=0,
        accrued_amt=owed - 6_000_000,
    )  # fmt: skip
    return Book(0, (Holding(SHARE, 1_000),), (loan,))


@given(
    st.sampled_from(CALM.symbols),
    st.integers(1, 5_000),
    st.integers(0, 60_000_000),
    st.integers(0, 5_000_000),
    st.sampled_from([0, 33_334, 50_000, 200_000, 500_000, ONE]),
    st.sampled_from([EU, UK]),
)
def test_below_the_force_line_is_exactly_less_than_half_of_the_margin(
    symbol, units, owed, cash, ratio, policy
):
    book = _book(symbol, units, owed, cash, ratio)
    names = oracle.names_of(CALM, policy.pack)
    made = account(_case(book), CALM, policy)
    must = oracle.must_close(book, names, policy.pack, EFFECTIVE)
    funds = Fraction(made.assets_amt - made.owed_amt)
    margin = oracle.margin_of_contracts(book, names, policy.pack, EFFECTIVE)
    assert made.required_margin_amt is not None
    # a thirtieth is rounded up to a millionth, and so is every line
    more = margin * Fraction(33_335 * 30, ONE) + 8
    assert margin <= made.required_margin_amt <= more
    if must:
        assert made.level == "force"
    elif owed and 2 * funds >= more + Fraction(made.assets_amt, 10**5):
        assert made.level != "force"


def test_two_accounts_of_one_size_have_the_lines_of_their_classes():
    share, pair = _stands(_book(SHARE, 1_000, 8_000_000)), _stands(_book(FX, 1_000, 8_000_000))
    # half of a fifth, and half of a thirtieth, of the exposure
    assert share.distances[-1].line_ratio == 1_111_112
    assert pair.distances[-1].line_ratio == 1_016_950
    assert (share.margin_level_ratio, pair.margin_level_ratio) == (ONE, 5_999_880)


@pytest.mark.parametrize(
    ("symbol", "owed", "lost"),
    [
        (SHARE, 8_500_000, True),
        (FX, 9_800_000, True),
        (CRYPTO, 6_000_000, True),
        (SHARE, 7_000_000, False),
        (FX, 9_000_000, False),
    ],
)
def test_the_fall_to_the_close_out_is_never_overstated_and_exact_once_prices_are_below_opening(
    symbol, owed, lost
):
    book = _book(symbol, 1_000, owed)
    fall = _stands(book).distances[-1].fall_ratio
    assert fall is not None

    def closed(move: int) -> bool:
        case, market = what_if(_case(book), CALM, [PriceMove(move)])
        return account(case, market, EU).level == "force"

    assert not closed(-fall + 10)
    assert closed(-fall - 10) or not lost


@pytest.mark.parametrize("line", [0, 1, 2, 3])
def test_the_deposit_of_a_line_just_brings_the_account_there(line):
    book = _book(SHARE, 1_000, 9_200_000, ratio=50_000)
    made = _stands(book)
    paid = made.distances[line].deposit_amt
    level = EU[cfd.LEVELS[line]]

    def level_after(amount: int) -> int:
        after = account(what_if(_case(book), CALM, [Deposit(amount)])[0], CALM, EU)
        assert after.margin_level_ratio is not None
        return after.margin_level_ratio

    assert paid > 0
    assert level_after(paid) >= level
    assert level_after(paid - 1) < level


def test_closing_what_the_cure_says_restores_the_whole_margin():
    book = _now(9_100_000)
    cure = _stands(book).cure
    assert cure is not None
    assert cure.sale_amt is not None
    units = -(-cure.sale_amt // 10_000)
    assert _level_after_closing(book, units) >= ONE
    # beyond the cost of closing, which a what-if does not take, no more than that
    assert _level_after_closing(book, units - 20) < ONE


def _level_after_closing(book: Book, units: int) -> int:
    found = account(what_if(_case(book), CALM, [Sell(SHARE, units)])[0], CALM, EU)
    assert found.margin_level_ratio is not None
    return found.margin_level_ratio


def test_below_the_close_out_contracts_are_closed_at_once_and_a_call_has_until_the_next_session():
    coming = (EFFECTIVE,)
    called = account(_case(_now(8_700_000)), CALM, EU, coming)
    closed = account(_case(_now(9_100_000)), CALM, EU, coming)
    assert (called.level, called.deadline) == ("call", EFFECTIVE)
    assert (closed.level, closed.deadline) == ("force", CALM.session)


# --- the negative balance ----------------------------------------------------------------------


def test_nothing_is_recovered_beyond_the_funds_of_the_account():
    gap, line = np.array([300_000]), np.array([1_176_471])
    lost = int(loss_given_default(gap, EU, line)[0])
    kept = (ONE - 300_000) * (ONE - EU["liquidation_cost_ratio"]) // ONE
    assert lost == ONE - 1_176_471 * kept // ONE
    loose = EU.in_force | {
        "unsecured_recovery_ratio": replace(
            EU.in_force["unsecured_recovery_ratio"], values=(100_000,)
        )
    }
    assert int(loss_given_default(gap, replace(EU, in_force=loose), line)[0]) < lost


# --- who is exempt, and what may not be sold -----------------------------------------------------


def test_a_professional_client_has_no_limit_by_law_and_keeps_those_of_the_house():
    case = _case(Book(1_000_000), SHARE)
    retail = _decided(case).body
    free = _decided(replace(case, status=replace(CLEAR, professional=True))).body
    assert retail["cap_waterfall"][0]["limit_amt"] == "40000.00"
    assert free["cap_waterfall"][0]["limit_amt"] == "90000000000.00"
    assert free["binding"] != "statutory"
    assert retail["cap_waterfall"][1] == free["cap_waterfall"][1] | {
        "removed_amt": retail["cap_waterfall"][1]["removed_amt"]
    }


def test_in_a_related_group_a_professional_client_is_limited_as_the_retail_ones_are():
    group = RelatedGroup("g", (Book(0),), 1)
    case = _case(Book(1_000_000), SHARE, status=replace(CLEAR, professional=True), group=group)
    whole = next(t for t in _decided(case).body["cap_waterfall"] if t["term"] == "group")
    assert float(whole["limit_amt"]) <= 40_000


def test_a_crypto_asset_is_refused_to_retail_clients_of_the_united_kingdom_and_to_nobody_else():
    case = _case(Book(1_000_000), CRYPTO)
    professional = replace(case, status=replace(CLEAR, professional=True))

    def refused(decision: Decision) -> bool:
        return "not_financed" in {r["code"] for r in decision.body["reasons"]}

    assert refused(_decided(case, UK))
    assert _decided(case, UK).body["max_debt_amt"] == "0.00"
    assert not refused(_decided(professional, UK))
    assert not refused(_decided(case, EU))


def test_what_is_open_on_a_crypto_asset_stays_open_and_ties_up_its_margin():
    held = _book(CRYPTO, 100, 500_000, cash=100_000)
    body = _decided(_case(held, CRYPTO), UK).body
    assert body["max_debt_amt"] == "5000.00"  # what is owed: nothing new
    assert account(_case(held), CALM, UK).level == "observe"


def test_the_reason_names_the_rule_of_the_class_that_is_opened():
    for symbol, rule in ((FX, "fx_major"), (INDEX, "index_minor"), (CRYPTO, "crypto")):
        body = _decided(_case(Book(1_000_000, (Holding(symbol, 1),)), symbol)).body
        assert body["binding"] == "statutory"
        said = next(r for r in body["reasons"] if r["code"] == "bound_statutory")
        assert said["args"]["reference"] == EU.reference(f"margin_{rule}_ratio")


# --- form ---------------------------------------------------------------------------------------


def test_a_case_says_professional_only_where_it_is_true_and_is_read_back_as_written():
    retail = _case(Book(1_000_000))
    professional = replace(retail, status=replace(CLEAR, professional=True))
    assert "professional" not in case_to_json(retail)["status"]
    for case in (retail, professional):
        assert case_from_json(case_to_json(case)) == case


def test_a_pack_may_leave_out_only_what_the_house_profile_has():
    document, house = shipped_documents("eu-cfd")
    changed = document | {"leaves_out": [*document["leaves_out"], "no_such_rule"]}
    assert [(f.kind, f.parameter) for f in check_documents(changed, house)[1]] == [
        ("form", "no_such_rule")
    ]


def test_a_level_below_the_lawful_close_out_is_refused():
    document, house = shipped_documents("uk-cfd")
    loose = document["parameters"]["call_level_ratio"] | {
        "values": {document["first_date"]: {"value": "0.40", "reference": "x", "verified": True}}
    }
    changed = document | {"parameters": document["parameters"] | {"call_level_ratio": loose}}
    found = [f for f in check_documents(changed, house)[1] if f.kind == "loose"]
    assert found[0].detail == (
        "pack uk-cfd on 2018-08-01: observe, warn, call and close-out level must fall in that"
        " order, not [1500000, 1000000, 400000, 500000]"
    )


def test_what_works_on_books_of_shares_says_in_a_line_that_contracts_are_decided_one_by_one(
    tmp_path,
):
    asked = (
        lambda: check_demo(tmp_path / "out", "eu-cfd", None, 1_000),
        lambda: pack_of("EUR", None),
        lambda: pack_of_lake("GBP", None),
    )
    for ask in asked:
        with pytest.raises(InputError) as caught:
            ask()
        assert "`gearline decide CASE.json`" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_no_forced_sale_on_a_market_is_planned_for_contracts():
    with pytest.raises(InputError) as caught:
        plan([Distressed("a", _book(SHARE, 1_000, 9_500_000))], CALM, EU)
    assert "closed with their provider at once" in str(caught.value)


def test_a_case_file_of_a_contract_for_difference_is_decided_and_simulated(tmp_path, capsys):
    BUNDLE.write(tmp_path / "bundle")
    CALM.write(tmp_path / "market")
    case = _case(_book(SHARE, 1_000, 8_000_000, cash=100_000), FX)
    document = {
        "policy": "eu-cfd",
        "effective_on": EFFECTIVE.isoformat(),
        "bundle": "bundle",
        "market": "market",
        "case": case_to_json(case),
        "features": dict(zip(BUNDLE.names, (12, 30, 1, 0), strict=True)),
    }
    path = tmp_path / "case.json"
    path.write_bytes(orjson.dumps(document))
    assert gearline.main(["decide", str(path), "--json"]) == 0
    decided = orjson.loads(capsys.readouterr().out)
    assert decided["cap_waterfall"][0]["limit_amt"] == "108999.00"
    assert gearline.main(["simulate", str(path), "--price=all:-0.12", "--json"]) == 0
    told = orjson.loads(capsys.readouterr().out)
    now, after = told["now"]["account"], told["after"]["account"]
    assert (now["required_margin_amt"], now["level"]) == ("20000.00", "observe")
    # 12,000 of 21,000 are lost; below half of a margin that stays 20,000
    assert (after["margin_level_ratio"], after["level"]) == (450_000, "force")
    assert gearline.main(["simulate", str(path)]) == 0
    assert "equity 105.0 % of the margin of its contracts" in capsys.readouterr().out
