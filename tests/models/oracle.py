"""The statutory limits again, from the rules' text, in exact fractions.

Imports nothing from the code under test: a mistake there must not be able to hide here.

China: SSE and SZSE margin trading rules, definition of the available margin (保证金可用余额), long
side: cash + sum(collateral shares x haircut) + sum((value of financed shares - amount financed) x
haircut, the haircut being 100 % for a loss) - sum(amount financed x margin ratio) - interest. The
ratio is the one in force when the contract was opened; new financing is available margin / ratio.
Collateral shares are those held less those financed. United States: 12 CFR 220.12(a), equity of
50 % of margin securities and 100 % of others; FINRA Rule 4210(b)(4), 2,000 dollars.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor

from data_contracts.case import Book
from data_contracts.snapshot import MarketSnapshot

NONE = -(2**63)
MICRO = 1_000_000
# on 2024-03-18; the test of the packs' dates is elsewhere
CN_RATIO = Fraction(8, 10)
ORDINARY, INDEX, SPECIAL = Fraction(65, 100), Fraction(70, 100), Fraction(0)
REG_T = Fraction(1, 2)
LEAST_EQUITY = 200_000


def price(market: MarketSnapshot, symbol: str | None) -> Fraction:
    """Price of one share in minor units; an unknown or unpriced share is worth nothing."""
    if symbol not in market.symbols:
        return Fraction(0)
    quoted = int(market.price[market.symbols.index(symbol)])
    return Fraction(0) if quoted == NONE else Fraction(quoted, 100)


def haircut(market: MarketSnapshot, symbol: str | None) -> Fraction:
    """The published haircut, within the exchange's maximum."""
    if symbol not in market.symbols:
        return Fraction(0)
    k = market.symbols.index(symbol)
    if not market.collateral_eligible[k]:
        return Fraction(0)
    published = int(market.haircut[k])
    if market.special_treatment[k]:
        return SPECIAL
    return ORDINARY if published == NONE else min(Fraction(published, MICRO), INDEX)


def available_margin(book: Book, market: MarketSnapshot) -> Fraction:
    """保证金可用余额 in minor units."""
    total = Fraction(book.cash_amt)
    held = {p.symbol: Fraction(p.quantity_shares) for p in book.positions}
    for c in book.contracts:
        financed = Fraction(c.quantity_shares or 0)
        if c.symbol is not None:
            held[c.symbol] = held.get(c.symbol, Fraction(0)) - financed
        gain = financed * price(market, c.symbol) - c.outstanding_amt
        total += gain * haircut(market, c.symbol) if gain > 0 else gain
        total -= Fraction(c.outstanding_amt * c.ratio_at_opening, MICRO) + c.accrued_amt
    for symbol, shares in held.items():
        total += shares * price(market, symbol) * haircut(market, symbol)
    return total


def owed(book: Book) -> int:
    """Principal of the contracts and cash below zero."""
    return sum(c.outstanding_amt for c in book.contracts) + max(-book.cash_amt, 0)


def statutory_limit(book: Book, market: MarketSnapshot, kind: str) -> int:
    """The most debt, minor units, that law and exchange allow; may be negative."""
    if kind == "cn":
        return floor(owed(book) + available_margin(book, market) / CN_RATIO)
    value = {p.symbol: p.quantity_shares * price(market, p.symbol) for p in book.positions}
    interest = sum(c.accrued_amt for c in book.contracts)
    assets = sum(value.values(), Fraction(max(book.cash_amt, 0)))
    equity = assets - owed(book) - interest
    if equity < LEAST_EQUITY:
        return 0
    blocked = sum(
        (v for s, v in value.items() if s in market.symbols
         and not market.margin_eligible[market.symbols.index(s)]), Fraction(0),
    )  # fmt: skip
    # assets after buying with debt D are E + D: REG_T x (E + D - blocked) + blocked <= E
    return floor((equity - blocked) / REG_T + blocked - equity)
