"""Books in columns: cash, holdings and loans of many clients as flat integer arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from data_contracts.case import Book, Holding
from data_contracts.errors import InputError
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import MAX_AMT, NULL, IntArray

EPOCH_ORDINAL: Final = 719_163
"""1970-01-01 as ``date.toordinal`` counts."""
MINOR_PER_PRICE: Final = 100
"""Prices are in 0.0001 and money in 0.01: shares x price // 100 is minor units."""


@dataclass(frozen=True)
class BookColumns:
    """N books. Holdings and loans are flat, sorted by book; symbols are positions in the snapshot.

    Attributes
    ----------
    cash : int64, shape (N,), minor units, never negative
    overdraft : int64, shape (N,), cash below zero: money owed that no contract lists
    debt : int64, shape (N,), principal of the contracts and the overdraft
    accrued : int64, shape (N,), interest owed
    holding_book, holding_symbol, holding_value : int64, shape (M,); symbol -1 is unknown to the
        snapshot and worth 0
    loan_book, loan_symbol, loan_outstanding, loan_ratio : int64, shape (L,)
    loan_value : int64, shape (L,), value of the shares a loan finances, of those still held
    loan_opened : int64, shape (L,), day a loan was opened, days since 1970
    """

    n: int
    cash: IntArray
    overdraft: IntArray
    debt: IntArray
    accrued: IntArray
    holding_book: IntArray
    holding_symbol: IntArray
    holding_value: IntArray
    loan_book: IntArray
    loan_symbol: IntArray
    loan_outstanding: IntArray
    loan_ratio: IntArray
    loan_value: IntArray
    loan_opened: IntArray

    @property
    def owed(self) -> IntArray:
        """Debt and interest, minor units."""
        return self.debt + self.accrued

    def per_book(self, values: IntArray, of: IntArray) -> IntArray:
        """Integer sums of a flat column by book, shape (N,)."""
        out = np.zeros(self.n, dtype=np.int64)
        np.add.at(out, of, values)
        return out


def _ints(values: list[int]) -> IntArray:
    return np.array(values, dtype=np.int64)


def _value(quantity: IntArray, symbol: IntArray, market: MarketSnapshot) -> IntArray:
    if len(market.symbols) == 0:
        return np.zeros(len(quantity), dtype=np.int64)
    price = np.where(symbol >= 0, market.price[np.maximum(symbol, 0)], 0)
    price = np.where(price == NULL, 0, price)
    worth = price.astype(np.float64) * quantity.astype(np.float64)
    too_large = worth > float(MAX_AMT * MINOR_PER_PRICE)
    if bool(too_large.any()):
        k = int(np.flatnonzero(too_large)[0])
        raise InputError(
            f"{quantity[k]} shares of {market.symbols[symbol[k]]} are worth more than 90 billion;"
            " correct the quantity or the price"
        )
    return quantity * price // MINOR_PER_PRICE


def _financed_and_held(holdings: IntArray, loans: IntArray, width: int) -> IntArray:
    """Shares each loan finances, cut pro rata where its book holds fewer than its loans list.

    Shares that were sold can back nothing, whatever the contract still says.
    """
    quantity = loans[:, 2].copy()
    of = np.flatnonzero((loans[:, 1] >= 0) & (quantity > 0))
    if len(of) == 0:
        return quantity
    key = loans[of, 0] * width + loans[of, 1]
    keys, place = np.unique(key, return_inverse=True)
    listed = np.zeros(len(keys), dtype=np.int64)
    np.add.at(listed, place, quantity[of])
    known = holdings[:, 1] >= 0
    holding_key = holdings[known, 0] * width + holdings[known, 1]
    held = np.zeros(len(keys), dtype=np.int64)
    at = np.minimum(np.searchsorted(keys, holding_key), len(keys) - 1)
    listed_too = keys[at] == holding_key
    np.add.at(held, at[listed_too], holdings[known, 2][listed_too])
    for k in np.flatnonzero((listed > held)[place]):
        row, group = of[k], place[k]
        quantity[row] = int(quantity[row]) * int(held[group]) // int(listed[group])
    return quantity


def book_columns(
    books: Sequence[Book], market: MarketSnapshot, names: Sequence[str] | None = None
) -> BookColumns:
    """Books as columns, valued at the snapshot's prices. ``names`` are for messages only.

    Raises
    ------
    InputError
        If a holding or a book is worth more than the amounts a decision can hold.
    """
    index = market.index
    holding = [
        (k, index.get(p.symbol, -1), p.quantity_shares)
        for k, b in enumerate(books)
        for p in b.positions
    ]
    loans = [
        (
            k,
            -1 if c.symbol is None else index.get(c.symbol, -1),
            0 if c.quantity_shares is None else c.quantity_shares,
            c.outstanding_amt,
            c.accrued_amt,
            c.ratio_at_opening,
            c.opened_on.toordinal() - EPOCH_ORDINAL,
        )
        for k, b in enumerate(books)
        for c in b.contracts
    ]
    return flat_columns(
        _ints([b.cash_amt for b in books]),
        np.array(holding, dtype=np.int64).reshape(-1, HOLDING_WIDTH),
        np.array(loans, dtype=np.int64).reshape(-1, LOAN_WIDTH),
        market,
        names,
    )


HOLDING_WIDTH: Final = 3
LOAN_WIDTH: Final = 7


def flat_columns(
    cash: IntArray,
    holdings: IntArray,
    loans: IntArray,
    market: MarketSnapshot,
    names: Sequence[str] | None = None,
) -> BookColumns:
    """The same from flat rows, sorted by book.

    Parameters
    ----------
    cash : int64, shape (N,), minor units, below zero an overdraft
    holdings : int64, shape (M, 3): book, position in the snapshot (-1 unknown), shares
    loans : int64, shape (L, 7): book, position in the snapshot (-1 for none), shares financed,
        outstanding, accrued, ratio at opening, day opened since 1970

    Raises
    ------
    InputError
        If a holding or a book is worth more than the amounts a decision can hold.
    """
    n = len(cash)
    overdraft = np.maximum(-cash, 0)
    financed = _financed_and_held(holdings, loans, max(len(market.symbols), 1))
    owed = np.zeros((2, n), dtype=np.int64)
    for place, column in enumerate((3, 4)):
        np.add.at(owed[place], loans[:, 0], loans[:, column])
    made = BookColumns(
        n=n,
        cash=np.maximum(cash, 0),
        overdraft=overdraft,
        debt=owed[0] + overdraft,
        accrued=owed[1],
        holding_book=holdings[:, 0],
        holding_symbol=holdings[:, 1],
        holding_value=_value(holdings[:, 2], holdings[:, 1], market),
        loan_book=loans[:, 0],
        loan_symbol=loans[:, 1],
        loan_outstanding=loans[:, 3],
        loan_ratio=loans[:, 5],
        loan_value=_value(financed, loans[:, 1], market),
        loan_opened=loans[:, 6],
    )
    assets = made.per_book(made.holding_value, made.holding_book) + made.cash
    beyond = np.flatnonzero((assets > MAX_AMT) | (made.owed > MAX_AMT))
    if len(beyond):
        k = int(beyond[0])
        called = f"book {k}" if names is None else names[k]
        raise InputError(f"{called}: assets or debt exceed 90 billion; decide on it by hand")
    return made


def pooled(own: Book, others: Sequence[Book], name: str = "the client") -> Book:
    """The book of a related group: cash, shares and loans of all members together.

    Raises
    ------
    InputError
        If the group together holds more than a decision can.
    """
    quantities: dict[str, int] = {}
    for book in (own, *others):
        for p in book.positions:
            quantities[p.symbol] = quantities.get(p.symbol, 0) + p.quantity_shares
    try:
        return Book(
            sum(b.cash_amt for b in (own, *others)),
            tuple(Holding(s, q) for s, q in sorted(quantities.items())),
            # two members may use one contract number
            tuple(
                replace(c, contract_id=f"{k}/{c.contract_id}")
                for k, b in enumerate((own, *others))
                for c in b.contracts
            ),
        )
    except InputError as error:
        raise InputError(f"{name}: the related group together: {error}") from None
