"""The statutory limits of the markets of these tests, from the oracle of ``tests/law``."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction
from math import floor

from data_contracts.case import Book
from data_contracts.snapshot import MarketSnapshot
from tests.law import oracle

EFFECTIVE = dt.date(2024, 3, 18)
CN_RATIO = Fraction(8, 10)


def available_margin(book: Book, market: MarketSnapshot) -> Fraction:
    """保证金可用余额 in minor units."""
    names = oracle.names_of(market, "cn")
    return Fraction(oracle.available_margin(book, names, EFFECTIVE), oracle.SCALE)


def owed(book: Book) -> int:
    """Principal of the contracts and cash below zero."""
    return oracle.owed(book)


def statutory_limit(book: Book, market: MarketSnapshot, kind: str) -> int:
    """The most debt, minor units, that law and exchange allow; may be negative."""
    if kind == "cn":
        return floor(owed(book) + available_margin(book, market) / CN_RATIO)
    equity, blocked = oracle.equity_in_hundredths(book, oracle.names_of(market, "us"))
    if equity < oracle.LEAST_EQUITY * 100:
        return 0
    # assets after buying with debt D are E + D: half of (E + D - blocked) and blocked <= E
    return floor(Fraction((equity - blocked) * 2 + blocked - equity, 100))
