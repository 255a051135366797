"""The oracle against worked examples, and that it shares nothing with what it judges."""

from __future__ import annotations

import ast
import datetime as dt
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from data_contracts.case import Book, Holding
from tests.law import oracle
from tests.models.builders import MARKETS, make_loan

HERE = Path(__file__).parent
CN = oracle.names_of(MARKETS["cn"], "cn")
US = oracle.names_of(MARKETS["us"], "us")


def test_the_oracle_imports_nothing_from_models():
    tree = ast.parse((HERE / "oracle.py").read_text(encoding="utf-8"))
    named = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.split(".")[0] for name in named} <= {
        "__future__", "data_contracts", "dataclasses", "datetime", "fractions", "functools",
        "typing",
    }  # fmt: skip
    load = (
        "import importlib.util, sys;"
        f"spec = importlib.util.spec_from_file_location('oracle', {str(HERE / 'oracle.py')!r});"
        "module = importlib.util.module_from_spec(spec); sys.modules['oracle'] = module;"
        "spec.loader.exec_module(module);"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('models', 'training')))"
    )
    root = HERE.parents[1]
    ran = subprocess.run(
        [sys.executable, "-c", load], capture_output=True, text=True, check=True, cwd=root
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("day", "most"),
    [
        ("2015-11-22", 2_000_000_00),
        ("2015-11-23", 1_000_000_00),
        ("2023-09-11", 1_250_000_00),
        ("2026-01-18", 1_250_000_00),
        ("2026-01-19", 1_000_000_00),
    ],
)
def test_a_million_of_cash_supports_what_the_exchanges_example_says(day, most):
    book, today = Book(1_000_000_00), dt.date.fromisoformat(day)
    assert oracle.law_allows(book, most, CN, "cn", today, False)
    assert not oracle.law_allows(book, most + 1, CN, "cn", today, False)


@pytest.mark.parametrize(
    ("opened", "today", "ratio"),
    [
        ("2015-11-22", "2015-11-24", 500_000),
        ("2015-11-23", "2015-11-24", 1_000_000),
        ("2022-01-04", "2023-09-08", 1_000_000),
        ("2022-01-04", "2023-09-11", 800_000),
        ("2026-01-16", "2026-01-20", 800_000),
        ("2026-01-19", "2026-01-20", 1_000_000),
    ],
)
def test_a_contract_keeps_the_ratio_of_its_opening_day(opened, today, ratio):
    days = [dt.date.fromisoformat(d) for d in (opened, today)]
    assert oracle.contract_ratio(*days) == ratio


def test_a_gain_counts_at_the_haircut_a_loss_in_full_and_interest_is_taken_off():
    today = dt.date(2024, 3, 18)
    loan = make_loan(80_000, symbol="AAA", quantity_shares=100, ratio_at_opening=800_000)
    held = (Holding("AAA", 100),)
    # worth 100,000: a gain of 20,000 at 65 %, less 80 % of 80,000
    assert oracle.available_margin(Book(0, held, (loan,)), CN, today) == (
        (13_000 - 64_000) * oracle.SCALE
    )
    lost = replace(loan, outstanding_amt=120_000, accrued_amt=7)
    assert oracle.available_margin(Book(0, held, (lost,)), CN, today) == (
        (-20_000 - 96_000 - 7) * oracle.SCALE
    )


def test_regulation_t_and_the_least_equity():
    day = dt.date(2024, 3, 18)
    assert oracle.law_allows(Book(2_000_00), 2_000_00, US, "us", day, False)
    assert not oracle.law_allows(Book(2_000_00), 2_000_01, US, "us", day, False)
    assert not oracle.law_allows(Book(1_999_99), 1, US, "us", day, False)
    # DDD may not be bought on margin: 123.45 a share, all of it equity
    held = Book(0, (Holding("DDD", 1_000),))
    assert not oracle.law_allows(held, 1, US, "us", day, False)
    for last, allowed in (("2026-06-03", False), ("2026-06-04", True)):
        day = dt.date.fromisoformat(last)
        assert oracle.law_allows(Book(10_000_00), 10_000_00, US, "us", day, True) is allowed
