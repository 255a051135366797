"""Gates before any score, and the catalogue that puts reasons into words."""

from __future__ import annotations

import datetime as dt
import string
from dataclasses import replace
from typing import Any

import pytest

from data_contracts.case import Book, Holding
from data_contracts.decision import OUTCOMES
from data_contracts.errors import InputError
from models.decide.cases import case_columns
from models.decide.gates import gates
from models.reasons import CATALOGUE, render
from tests.models.builders import CLEAR, EFFECTIVE, MARKETS, POLICIES, decided, make_case, make_loan

DAY = dt.timedelta(days=1)
TABLE: list[tuple[dict[str, Any], str, list[str]]] = [
    ({}, "approve", []),
    ({"sanctioned": True}, "decline", ["gate_neutral", "gate_sanctioned"]),
    ({"aml_level": "medium"}, "approve", []),
    ({"aml_level": "high"}, "refer", ["gate_neutral", "gate_aml"]),
    ({"pep": True}, "refer", ["gate_neutral", "gate_pep"]),
    ({"pep": True, "sanctioned": True}, "decline", ["gate_neutral", "gate_sanctioned", "gate_pep"]),
    ({"margin_state": "called"}, "refer", ["gate_call_open"]),
    ({"margin_state": "overdue"}, "decline", ["gate_defaulted"]),
    ({"margin_state": "defaulted"}, "decline", ["gate_defaulted"]),
    ({"suitability_level": 3}, "approve", []),
    ({"suitability_level": 2}, "decline", ["gate_unsuitable"]),
    ({"suitability_level": None}, "refer", ["gate_kyc_missing"]),
    ({"kyc_expires_on": None}, "refer", ["gate_kyc_missing"]),
    ({"kyc_expires_on": EFFECTIVE}, "approve", []),
    ({"kyc_expires_on": EFFECTIVE - DAY}, "refer", ["gate_kyc_expired"]),
    ({"automated_decision_refused": True}, "refer", ["gate_human_requested"]),
    (
        {"automated_decision_refused": True, "margin_state": "overdue"},
        "decline",
        ["gate_defaulted", "gate_human_requested"],
    ),
]


@pytest.mark.parametrize(("status", "outcome", "codes"), TABLE, ids=lambda v: str(v)[:50])
def test_each_status_has_its_outcome_and_reasons(status, outcome, codes):
    case = make_case(status=replace(CLEAR, **status))
    gate = gates(case_columns([case], MARKETS["us"]), POLICIES["us"])
    closed = [code for code, rows in gate.closed.items() if rows[0]]
    assert (OUTCOMES[int(gate.outcome[0])], closed) == (outcome, codes)
    body = decided(case).body
    assert body["outcome"] == outcome
    assert [r["code"] for r in body["reasons"]][: len(codes)] == codes
    if outcome == "decline":
        assert body["max_debt_amt"] == "0.00"


@pytest.mark.parametrize("status", [{"sanctioned": True}, {"aml_level": "high"}, {"pep": True}])
def test_the_client_reads_one_neutral_text_and_no_hint(status):
    body = decided(make_case(status=replace(CLEAR, **status))).body
    read = [t for r in body["reasons"] if (t := render(r, "en", "client")) is not None]
    assert read[0] == "We cannot offer margin financing at this time."
    assert not any(w in t.lower() for t in read for w in ("sanction", "launder", "political"))
    hidden = [r["code"] for r in body["reasons"] if CATALOGUE[r["code"]].audience == "compliance"]
    assert len(hidden) == 1
    for code in hidden:
        assert render({"code": code, "args": {}}, "zh", "staff") is None
        assert render({"code": code, "args": {}}, "zh", "compliance")


def test_a_declined_client_is_told_the_gate_and_not_the_lenders_capital():
    body = decided(make_case(status=replace(CLEAR, margin_state="overdue"))).body
    assert (body["binding"], body["tier"]) == ("firm", "D")
    assert "bound_firm" not in [r["code"] for r in body["reasons"]]


def test_a_request_above_the_limit_is_referred_and_says_so():
    case = make_case()
    case = replace(case, request=replace(case.request, requested_debt_amt=10**11))
    body = decided(case).body
    said = [r for r in body["reasons"] if r["code"] == "request_above_limit"]
    assert body["outcome"] == "refer"
    assert render(said[0], "en", "client") == (
        f"The amount asked for, 1000000000.00, is above the limit of {body['max_debt_amt']}."
    )


def test_debt_above_the_limit_is_no_margin_call():
    body = decided(make_case(book=Book(0, (Holding("CCC", 10_000),), (make_loan(2_500_000),)))).body
    said = [r for r in body["reasons"] if r["code"] == "debt_above_limit"]
    assert body["outcome"] == "approve"
    assert "This is not a margin call." in str(render(said[0], "en", "client"))


def test_a_holding_without_price_and_an_empty_book_are_named():
    body = decided(make_case(book=Book(10**7, (Holding("NOPRICE", 5), Holding("ZZZ", 1)), ()))).body
    codes = [r["code"] for r in body["reasons"]]
    assert "unpriced_holding" in codes
    assert "provisional" in codes
    assert body["provisional"] is True


def test_below_the_least_equity_the_reason_names_that_rule():
    body = decided(make_case(book=Book(150_000, (), ()))).body
    bound = next(r for r in body["reasons"] if r["code"] == "bound_statutory")
    assert bound["args"]["reference"] == "NYSE Rule 431(b), FINRA Rule 4210(b)(4)"


def test_where_the_house_margin_ratio_binds_the_reason_names_it():
    flat = MARKETS["cn"].scenarios * 0
    market = {"scenarios": flat, "security_margin": MARKETS["cn"].security_margin // 10}
    gap = {"gap_loss": MARKETS["cn"].gap_loss // 100}
    held = Book(0, (Holding("AAA", 100_000), Holding("BBB", 19_000)), ())
    body = decided(make_case(book=held), "cn", (0, 60, 1, 0), **market, **gap).body
    assert (body["tier"], body["binding"]) == ("1", "structural")
    bound = next(r for r in body["reasons"] if r["code"].startswith("bound_"))
    assert bound["code"] == "bound_house_ratio"
    assert render(bound, "en", "client") == (
        "The lender asks for a margin ratio of 105.0 %: Published broker formula of 2018-06-01:"
        " max(1.7 - haircut, 1)."
    )


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_text_exists_in_both_languages_with_the_same_arguments(code):
    entry = CATALOGUE[code]

    def arguments(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert entry.en
    assert any("\u4e00" <= c <= "\u9fff" for c in entry.zh)
    assert arguments(entry.en) == arguments(entry.zh)


def test_a_feature_is_shown_by_its_name_in_the_readers_language():
    said = {"code": "factor_leverage", "args": {"feature": "debt", "value": None, "attribution": 5}}
    assert render(said, "zh", "client", {"debt": "负债率"}) == "负债相对资产较高（负债率）。"
    assert render(said, "en", "client") == "Borrowing is high against assets (debt)."


def test_an_unknown_reason_or_reader_is_refused():
    with pytest.raises(InputError) as caught:
        render({"code": "gate_new", "args": {}}, "en", "client")
    assert str(caught.value) == (
        "there is no reason 'gate_new'; the decision is of a later version"
    )
    with pytest.raises(InputError) as caught:
        render({"code": "gate_aml", "args": {}}, "en", "everyone")
    assert str(caught.value) == (
        "there is no reader 'everyone'; readers are client, staff, compliance"
    )
