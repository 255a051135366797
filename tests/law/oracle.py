"""The law again, from the rules' own text, in exact integers: does an allowed debt break it?

Imports nothing from ``models``: a mistake there must not be able to hide here. The dates and ratios
below are written out a second time on purpose. Amounts are minor units; sums of value x haircut are
in ``SCALE``-ths of one, so that nothing is ever rounded.

China. SSE and SZSE margin trading rules, available margin 保证金可用余额, financing side:
    cash + sum(collateral shares x haircut)
    + sum((value of financed shares - amount financed) x haircut), a loss being taken in full
    - sum(amount financed x margin ratio of the contract) - interest
A new contract of amount P at ratio m needs P x m of it. A contract keeps the ratio of the day it
was opened; since the close of 2023-09-08 lender and client may agree on 80 % for older ones. A
contract that finances more shares than the account holds finances what is held, pro rata.

United States. 12 CFR 220.12: equity of 50 % of margin securities and of 100 % of others. FINRA Rule
4210(b): 2,000 dollars of equity, 25,000 of a pattern day trader until 2026-06-03.

Contracts for difference. ESMA Decision (EU) 2018/796, FCA PS19/18, PS20/10: a retail client posts a
share of each contract's exposure by the class of its underlying; the contracts of an account are
closed when its funds and unrealised results are less than half of that. No contract on a
crypto-asset is sold to a retail client of the United Kingdom since 2021-01-06. A contract is booked
as the units held and the part of their price at opening that was not posted.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from data_contracts.case import Book, Case
from data_contracts.snapshot import MarketSnapshot

NONE: Final = -(2**63)
MICRO: Final = 1_000_000
SCALE: Final = 100 * MICRO
"""Shares x price is in hundredths of a minor unit, a haircut in millionths."""

DAY: Final = dt.date
RATIOS: Final = (
    (DAY(2010, 3, 31), 500_000),
    (DAY(2015, 11, 23), 1_000_000),
    (DAY(2023, 9, 9), 800_000),
    (DAY(2026, 1, 19), 1_000_000),
)
LOWERED_BY_AGREEMENT: Final = (DAY(2023, 9, 9), 800_000)
ORDINARY, INDEX, TREASURY, ETF, FUND = 650_000, 700_000, 950_000, 900_000, 800_000
CROWDED: Final = 250_000
SUITABLE_SINCE: Final = DAY(2015, 7, 1)
LEAST_MONTHS, LEAST_ASSETS = 6, 500_000_00
SINGLE_CLIENT: Final = 50_000
REG_T: Final = 500_000
LEAST_EQUITY, DAY_TRADER_EQUITY = 2_000_00, 25_000_00
DAY_TRADER_FROM, DAY_TRADER_UNTIL = DAY(2001, 9, 28), DAY(2026, 6, 3)
CONTRACTS: Final = ("eu-cfd", "uk-cfd")
LEVERAGE: Final = {
    "fx_major": 30, "fx_minor": 20, "gold": 20, "index_major": 20, "index_minor": 10,
    "commodity": 10, "share": 5, "government_bond": 5, "crypto": 2, "other": 5,
}  # fmt: skip
UK_BONDS_FROM, UK_BONDS = DAY(2019, 8, 1), 30
UK_CRYPTO_BAN: Final = DAY(2021, 1, 6)


@dataclass(frozen=True)
class Name:
    """A security as the rules see it: price in 0.0001, haircut in 1e-6."""

    price: int
    haircut: int
    financed: bool
    board: str = ""


UNKNOWN: Final = Name(0, 0, False)


def _haircut(market: MarketSnapshot, k: int) -> int:
    if not market.collateral_eligible[k]:
        return 0
    if market.special_treatment[k]:
        return 0
    published, board = int(market.haircut[k]), market.board[k]
    fixed = {"treasury": TREASURY, "etf": ETF, "fund": FUND, "bond": FUND}.get(board)
    if fixed is not None:
        return fixed if published == NONE else max(0, min(published, fixed))
    # above 65 % a share must be a constituent of an index, whose most is 70 %
    return ORDINARY if published == NONE else max(0, min(published, INDEX))


def names_of(market: MarketSnapshot, kind: str) -> dict[str, Name]:
    """Every security of a snapshot."""
    found = {}
    for k, symbol in enumerate(market.symbols):
        price = int(market.price[k])
        crowded = kind == "cn" and int(market.financing_ratio[k]) >= CROWDED
        found[symbol] = Name(
            0 if price == NONE else price,
            _haircut(market, k),
            bool(market.margin_eligible[k]) and not crowded,
            market.board[k],
        )
    return found


@lru_cache(maxsize=100_000)
def ratio_on(day: dt.date) -> int:
    """The exchange's financing margin ratio when a day begins."""
    return [ratio for since, ratio in RATIOS if since <= day][-1]


@lru_cache(maxsize=100_000)
def contract_ratio(opened: dt.date, today: dt.date) -> int:
    """Least ratio of a contract that is open today."""
    own = ratio_on(min(opened, today))
    since, lower = LOWERED_BY_AGREEMENT
    return min(own, lower) if opened < since <= today else own


def owed(book: Book) -> int:
    """Principal of the contracts and cash below zero."""
    return sum(c.outstanding_amt for c in book.contracts) + max(-book.cash_amt, 0)


def available_margin(book: Book, names: dict[str, Name], today: dt.date) -> int:
    """保证金可用余额, in ``SCALE``-ths of a minor unit."""
    total = book.cash_amt * SCALE
    held = {p.symbol: p.quantity_shares for p in book.positions}
    listed: dict[str, int] = {}
    for c in book.contracts:
        if c.symbol is not None:
            listed[c.symbol] = listed.get(c.symbol, 0) + (c.quantity_shares or 0)
    financed_of: dict[str, int] = {}
    for c in book.contracts:
        name = UNKNOWN if c.symbol is None else names.get(c.symbol, UNKNOWN)
        financed = 0
        if c.symbol is not None:
            financed, have = c.quantity_shares or 0, held.get(c.symbol, 0)
            if listed[c.symbol] > have:
                financed = financed * have // listed[c.symbol]
            financed_of[c.symbol] = financed_of.get(c.symbol, 0) + financed
        # value in hundredths of a minor unit
        gain = financed * name.price - c.outstanding_amt * 100
        total += gain * name.haircut if gain > 0 else gain * MICRO
        ratio = max(c.ratio_at_opening, contract_ratio(c.opened_on, today))
        total -= c.outstanding_amt * 100 * ratio + c.accrued_amt * SCALE
    for symbol, shares in held.items():
        name = names.get(symbol, UNKNOWN)
        free = shares - financed_of.get(symbol, 0)
        total += free * name.price * name.haircut
    return total


def equity_in_hundredths(book: Book, names: dict[str, Name]) -> tuple[int, int]:
    """Equity, and the value of holdings that may not be bought on margin; 0.01 minor units."""
    value = blocked = 0
    for p in book.positions:
        name = names.get(p.symbol, UNKNOWN)
        worth = p.quantity_shares * name.price
        value += worth
        if not name.financed:
            blocked += worth
    interest = sum(c.accrued_amt for c in book.contracts)
    return value + (max(book.cash_amt, 0) - owed(book) - interest) * 100, blocked


def leverage(board: str, kind: str, today: dt.date) -> int:
    """Most exposure over margin of a class; the least of all where the class is not known."""
    if kind == "uk-cfd" and board == "government_bond" and today >= UK_BONDS_FROM:
        return UK_BONDS
    return LEVERAGE.get(board, min(LEVERAGE.values()))


def sold_to_retail(board: str, kind: str, today: dt.date) -> bool:
    """Whether a retail client may be sold a contract of the class."""
    return not (kind == "uk-cfd" and board == "crypto" and today >= UK_CRYPTO_BAN)


def margin_of_contracts(book: Book, names: dict[str, Name], kind: str, today: dt.date) -> Fraction:
    """Initial margin of the open contracts, minor units: of the exposure at opening, or of today's
    where that is more."""
    held = {p.symbol: p.quantity_shares for p in book.positions}
    listed: dict[str, int] = {}
    for c in book.contracts:
        if c.symbol is not None:
            listed[c.symbol] = listed.get(c.symbol, 0) + (c.quantity_shares or 0)
    total = Fraction(0)
    for symbol, units in held.items():
        name = names.get(symbol, UNKNOWN)
        total += Fraction(units * name.price, 100 * leverage(name.board, kind, today))
    for c in book.contracts:
        name = UNKNOWN if c.symbol is None else names.get(c.symbol, UNKNOWN)
        times = leverage(name.board, kind, today)
        units, have = c.quantity_shares or 0, held.get(c.symbol or "", 0)
        if c.symbol is None:
            units = 0
        elif listed[c.symbol] > have:
            units = units * have // listed[c.symbol]
        posted = Fraction(c.ratio_at_opening, MICRO)
        if not Fraction(1, times) <= posted < 1:
            posted = Fraction(1, times)
        more = c.outstanding_amt / (1 - posted) - Fraction(units * name.price, 100)
        total += max(more, Fraction(0)) / times
    return total


def must_close(book: Book, names: dict[str, Name], kind: str, today: dt.date) -> bool:
    """Whether a retail account's funds and results are less than half of its margin."""
    funds = Fraction(equity_in_hundredths(book, names)[0], 100)
    interest = sum(c.accrued_amt for c in book.contracts)
    return owed(book) + interest > 0 and 2 * funds < margin_of_contracts(book, names, kind, today)


def law_allows(
    book: Book,
    debt: int,
    names: dict[str, Name],
    kind: str,
    today: dt.date,
    day_trader: bool,
    *,
    opens: str | None = None,
    professional: bool = False,
) -> bool:
    """Whether borrowing up to ``debt`` keeps the rules: the contract is opened and looked at.

    ``opens`` is the name that is bought; where none is said, the worst that may be.
    """
    new = debt - owed(book)
    if new <= 0:
        return True
    if kind in CONTRACTS:
        if professional:
            return True
        board = names.get(opens, UNKNOWN).board if opens is not None else ""
        times = leverage(board, kind, today)
        if board not in LEVERAGE:
            sold = [b for b in LEVERAGE if sold_to_retail(b, kind, today)]
            times = min(leverage(b, kind, today) for b in sold)
        funds = Fraction(equity_in_hundredths(book, names)[0], 100)
        exposure = new + max(book.cash_amt, 0)
        open_now = margin_of_contracts(book, names, kind, today)
        return open_now + Fraction(exposure, times) <= funds
    if kind == "cn":
        # what is bought is worth what it cost: no gain and no loss on the new contract yet
        after = available_margin(book, names, today) - new * 100 * ratio_on(today)
        return after >= 0
    equity, blocked = equity_in_hundredths(book, names)
    least = LEAST_EQUITY
    if day_trader and DAY_TRADER_FROM <= today <= DAY_TRADER_UNTIL:
        least = DAY_TRADER_EQUITY
    if equity < least * 100:
        return False
    margined = equity + debt * 100 - blocked
    return margined * REG_T + blocked * MICRO <= equity * MICRO


def _pooled(own: Book, others: tuple[Book, ...]) -> Book:
    from data_contracts.case import Holding

    shares: dict[str, int] = {}
    contracts = list(own.contracts)
    for b in (own, *others):
        for p in b.positions:
            shares[p.symbol] = shares.get(p.symbol, 0) + p.quantity_shares
    for b in others:
        contracts += b.contracts
    cash = own.cash_amt + sum(b.cash_amt for b in others)
    return Book(cash, tuple(Holding(s, q) for s, q in shares.items()), tuple(contracts))


def _floor_equity(book: Book, names: dict[str, Name]) -> int:
    """Equity in minor units with each holding rounded down, not below zero."""
    value = sum(
        p.quantity_shares * names.get(p.symbol, UNKNOWN).price // 100 for p in book.positions
    )
    interest = sum(c.accrued_amt for c in book.contracts)
    return max(value + max(book.cash_amt, 0) - owed(book) - interest, 0)


def breach(
    case: Case,
    market: MarketSnapshot,
    names: dict[str, Name],
    kind: str,
    today: dt.date,
    cap: int,
    statutory: int,
    outcome: str,
    forced: bool | None = None,
) -> str | None:
    """The rule that a decision breaks, or None. ``cap`` and ``statutory`` are what it states,
    ``forced`` whether it shows the account below its force line."""
    book, status = case.book, case.status
    debt = owed(book)
    opens, retail = case.request.symbol, not status.professional
    if kind in CONTRACTS and retail:
        if forced is False and must_close(book, names, kind, today):
            return "the close-out at half of the margin"
        sold = opens is None or sold_to_retail(names.get(opens, UNKNOWN).board, kind, today)
        if cap > debt and not sold:
            return "a contract that may not be sold to a retail client"
    if cap < 0 or cap > statutory:
        return "the cap is negative or above its own statutory term"
    for stated in (cap, statutory):
        if not law_allows(
            book,
            stated,
            names,
            kind,
            today,
            status.day_trader,
            opens=opens,
            professional=not retail,
        ):
            return "available margin" if kind == "cn" else "initial margin or least equity"
    symbol = case.request.symbol
    if symbol is not None and cap > debt and not names.get(symbol, UNKNOWN).financed:
        return "a name that may not be bought on margin"
    single = max(market.net_capital_amt, 0) * SINGLE_CLIENT // MICRO
    if cap > single:
        return "single client over net capital"
    if cap > debt + max(market.headroom_amt, 0):
        return "the firm's quota"
    if case.override is not None and cap > case.override.max_debt_amt:
        return "an override that tightens"
    applies = case.request.kind == "application"
    if kind == "cn" and applies and today >= SUITABLE_SINCE:
        short = status.experience_months is not None and status.experience_months < LEAST_MONTHS
        poor = status.mean_assets_amt is not None and status.mean_assets_amt < LEAST_ASSETS
        if (short or poor) and (cap > 0 or outcome != "decline"):
            return "suitability of an applicant"
    if (status.sanctioned or status.margin_state in ("overdue", "defaulted")) and cap > 0:
        return "a refused client"
    if case.group is not None and case.group.others:
        return _group_breach(case, market, names, kind, today, cap, single)
    return None


def _group_breach(
    case: Case,
    market: MarketSnapshot,
    names: dict[str, Name],
    kind: str,
    today: dt.date,
    cap: int,
    single: int,
) -> str | None:
    """A related group borrows as one client; each has its part by equity."""
    group = case.group
    assert group is not None
    whole = _pooled(case.book, group.others)
    mine = _floor_equity(case.book, names)
    total = mine + sum(_floor_equity(b, names) for b in group.others)
    if total == 0:
        return "a group without equity" if cap > 0 else None
    # the part of the whole that this cap stands for, rounded down
    stands_for = cap * total // mine if mine else (1 if cap else 0)
    if mine == 0:
        return "a member without equity" if cap > 0 else None
    if stands_for > single:
        return "single client over net capital, as a group"
    if stands_for > owed(whole) + max(market.headroom_amt, 0):
        return "the firm's quota, as a group"
    least = stands_for - total // mine - 1
    opens = case.request.symbol
    if not law_allows(whole, least, names, kind, today, case.status.day_trader, opens=opens):
        return "the group's own limit by law"
    return None
