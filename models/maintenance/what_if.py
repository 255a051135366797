"""What if the client deposits, sells, repays or asks for less, or prices move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data_contracts.case import Book, Case, Holding, Loan
from data_contracts.errors import InputError
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, RATIO_ONE


@dataclass(frozen=True)
class Deposit:
    """Cash paid in, minor units; negative is a withdrawal."""

    amount_amt: int


@dataclass(frozen=True)
class Sell:
    """Shares sold at the snapshot's price; the proceeds repay first, what is left stays as cash."""

    symbol: str
    quantity_shares: int


@dataclass(frozen=True)
class Repay:
    """Debt repaid from the account's cash, minor units."""

    amount_amt: int


@dataclass(frozen=True)
class AskLess:
    """Another amount asked for, minor units."""

    requested_debt_amt: int


@dataclass(frozen=True)
class PriceMove:
    """Prices multiplied by 1 + ``move_ratio`` (1e-6), of one name or, with none, of all."""

    move_ratio: int
    symbol: str | None = None


Lever = Deposit | Sell | Repay | AskLess | PriceMove


def repaid(contracts: Sequence[Loan], amount: int, symbol: str | None) -> tuple[list[Loan], int]:
    """Contracts after a repayment, and what is left of it.

    Contracts in ``symbol`` come first, then the others, the oldest first; interest before
    principal.
    """
    order = sorted(
        range(len(contracts)),
        key=lambda k: (contracts[k].symbol != symbol, contracts[k].opened_on, k),
    )
    after = list(contracts)
    for k in order:
        c = after[k]
        interest = min(amount, c.accrued_amt)
        principal = min(amount - interest, c.outstanding_amt)
        amount -= interest + principal
        after[k] = replace(
            c,
            accrued_amt=c.accrued_amt - interest,
            outstanding_amt=c.outstanding_amt - principal,
        )
    return [c for c in after if c.outstanding_amt or c.accrued_amt], amount


def _price(market: MarketSnapshot, symbol: str) -> int:
    k = market.index.get(symbol)
    if k is None or market.price[k] == NULL:
        return 0
    return int(market.price[k])


def _sold(book: Book, lever: Sell, market: MarketSnapshot) -> Book:
    held = {p.symbol: p.quantity_shares for p in book.positions}
    have = held.get(lever.symbol, 0)
    if not 0 <= lever.quantity_shares <= have:
        raise InputError(
            f"{lever.quantity_shares} shares of {lever.symbol} cannot be sold; the account holds"
            f" {have}"
        )
    proceeds = lever.quantity_shares * _price(market, lever.symbol) // 100
    overdraft = max(-book.cash_amt, 0)
    covered = min(overdraft, proceeds)
    contracts, left = repaid(book.contracts, proceeds - covered, lever.symbol)
    held[lever.symbol] = have - lever.quantity_shares
    # the shares a contract financed leave with the sale, the rest of them stays listed
    contracts = [
        replace(c, quantity_shares=min(c.quantity_shares, held[lever.symbol]))
        if c.symbol == lever.symbol and c.quantity_shares is not None
        else c
        for c in contracts
    ]
    positions = tuple(Holding(s, q) for s, q in held.items() if q > 0)
    return Book(book.cash_amt + covered + left, positions, tuple(contracts))


def what_if(
    case: Case, market: MarketSnapshot, levers: Sequence[Lever]
) -> tuple[Case, MarketSnapshot]:
    """The case and the market after some levers, in order. Features stay those of the case.

    Raises
    ------
    InputError
        If more is sold, repaid or withdrawn than there is.
    """
    book = case.book
    for lever in levers:
        match lever:
            case Deposit(amount):
                if book.cash_amt + amount < 0 and amount < 0:
                    raise InputError("more is withdrawn than the account has in cash")
                book = replace(book, cash_amt=book.cash_amt + amount)
            case Sell():
                book = _sold(book, lever, market)
            case Repay(amount):
                if not 0 <= amount <= max(book.cash_amt, 0):
                    raise InputError("more is repaid than the account has in cash")
                contracts, left = repaid(book.contracts, amount, None)
                book = Book(book.cash_amt - amount + left, book.positions, tuple(contracts))
            case AskLess(requested):
                request = replace(case.request, requested_debt_amt=requested)
                case = replace(case, request=request)
            case PriceMove(move, symbol):
                market = moved(market, move, symbol)
    return replace(case, book=book), market


def moved(market: MarketSnapshot, move_ratio: int, symbol: str | None) -> MarketSnapshot:
    """The snapshot with prices moved, rounded down, never below zero."""
    if symbol is not None and symbol not in market.index:
        raise InputError(f"the snapshot has no {symbol}; name one of its symbols")
    factor = max(RATIO_ONE + move_ratio, 0)
    of = np.ones(len(market.symbols), dtype=bool)
    if symbol is not None:
        of = np.array([s == symbol for s in market.symbols], dtype=bool)
    whole, rest = np.divmod(np.where(market.price == NULL, 0, market.price), RATIO_ONE)
    price = whole * factor + rest * factor // RATIO_ONE
    return replace(market, price=np.where(of & (market.price != NULL), price, market.price))
