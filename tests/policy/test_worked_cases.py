"""The worked cases of ``worked.yaml``: production and the oracle both say what the case says."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from data_contracts.case import Book, Holding, Loan
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, parse_decimal
from models.margin.book import book_columns
from models.margin.limits import book_limits
from models.policy import load_pack
from tests.law import oracle

CURRENCY = {"cn": "CNY", "us": "USD", "eu-cfd": "EUR", "uk-cfd": "GBP"}
CASES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "worked.yaml").read_text(encoding="utf-8")
)


def _ratio(text: str | None) -> int:
    return NULL if text is None else parse_decimal(text, 6, "ratio")


def _market(case: dict[str, Any]) -> MarketSnapshot:
    names = dict(sorted(case.get("names", {}).items()))
    each, n = list(names.values()), len(names)
    return MarketSnapshot(
        session=case["day"] - dt.timedelta(days=1),
        mic="XSHG" if case["pack"] == "cn" else "XNYS",
        currency=CURRENCY[case["pack"]],
        symbols=tuple(names),
        board=tuple(x.get("board", "main") for x in each),
        price=np.array([parse_decimal(x["price"], 4, "price") for x in each], dtype=np.int64),
        price_limit=np.full(n, NULL),
        haircut=np.array([_ratio(x.get("haircut")) for x in each], dtype=np.int64),
        security_margin=np.full(n, 100_000),
        gap_loss=np.full(n, 100_000),
        expected_sale_shares=np.full(n, NULL),
        margin_eligible=np.array([x.get("eligible", True) for x in each], dtype=bool),
        collateral_eligible=np.array([x.get("collateral", True) for x in each], dtype=bool),
        special_treatment=np.array([x.get("special_treatment", False) for x in each], dtype=bool),
        suspended=np.zeros(n, dtype=bool),
        scenarios=np.zeros((1, n), dtype=np.int32),
        funding_bps=300,
        net_capital_amt=10**14,
        headroom_amt=10**14,
        utilisation=0,
        tier_shift_bps=(0,) * 7,
        financing_ratio=np.array([_ratio(x.get("financed")) for x in each], dtype=np.int64),
    )


def _book(case: dict[str, Any]) -> Book:
    def amt(text: str) -> int:
        return int(parse_decimal(text, 2, "amount"))

    return Book(
        amt(case.get("cash", "0.00")),
        tuple(Holding(s, q) for s, q in case.get("holds", {}).items()),
        tuple(
            Loan(
                contract_id=f"k{k}",
                symbol=c.get("name"),
                kind="financing",
                opened_on=c["opened"],
                due_on=None,
                quantity_shares=c.get("shares"),
                outstanding_amt=amt(c["borrowed"]),
                accrued_amt=amt(c.get("interest", "0.00")),
                ratio_at_opening=_ratio(c["ratio"]),
                rate_bps=600,
                rule_pack=case["pack"],
            )
            for k, c in enumerate(case.get("contracts", []))
        ),
    )


def _of_contracts(case: dict[str, Any], book: Book, market: MarketSnapshot, most: int) -> None:
    """The oracle allows the most debt, and no more: a unit above it, or above what is owed."""
    names, opens = oracle.names_of(market, case["pack"]), case.get("buys")
    args = (names, case["pack"], case["day"], False)
    assert oracle.law_allows(book, most, *args, opens=opens), case["says"]
    if opens is not None and not oracle.sold_to_retail(names[opens].board, *args[1:3]):
        return
    # a thirtieth is rounded up to a millionth: two parts in a hundred thousand are left to the law
    thirtieth = opens is not None and oracle.leverage(names[opens].board, *args[1:3]) == 30
    over = max(most, oracle.owed(book)) + (most // 40_000 if thirtieth else 0) + 1
    assert not oracle.law_allows(book, over, *args, opens=opens), case["says"]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['pack']} {c['day']} {c['says'][:60]}")
def test_the_most_debt_by_law_is_what_the_worked_case_says(case):
    market, book = _market(case), _book(case)
    most = parse_decimal(case["most_debt"], 2, "most_debt")
    trader = bool(case.get("day_trader"))
    buying = market.index[case["buys"]] if "buys" in case else NULL
    limits = book_limits(
        book_columns([book], market),
        market,
        load_pack(case["pack"]).on(case["day"]),
        buying=np.array([buying], dtype=np.int64),
        day_trader=np.array([trader]),
    )
    assert limits.statutory[0] == most, case["says"]
    if case["pack"] in oracle.CONTRACTS:
        _of_contracts(case, book, market, most)
    elif "buys" not in case:
        names = oracle.names_of(market, case["pack"])
        args = (names, case["pack"], case["day"], trader)
        assert oracle.law_allows(book, most, *args), case["says"]
        assert not oracle.law_allows(book, most + 1, *args), case["says"]
