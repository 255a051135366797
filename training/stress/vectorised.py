"""The path engine in vectorised NumPy: what it is checked against, and what it is timed against."""

from __future__ import annotations

import numpy as np

from data_contracts.units import BoolArray, IntArray
from training.stress.book import StressBook
from training.stress.kernel import (
    ACCOUNTS_SOLD,
    CALLED,
    CALLS_MADE,
    CURED,
    FORCED,
    INSOLVENT_DEBT_AMT,
    ONE,
    SHORTFALL_AMT,
    SHORTFALLS,
    SOLD_AMT,
    Lines,
    empty_totals,
)
from training.stress.scenario import PricePath

BLOCK = 65_536


def walk_vectorised(
    book: StressBook, path: PricePath, depth: int, lines: Lines, cures: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """The totals, shares sold and events of ``kernel.walk`` over a whole book, account blocks at once."""
    totals, sold, events = empty_totals(*path.price.shape)
    count = np.diff(book.pointer)
    width = max(int(count.max()), 1) if book.clients else 1
    for first in range(0, book.clients, BLOCK):
        last = min(first + BLOCK, book.clients)
        n = last - first
        row = np.repeat(np.arange(n), count[first:last])
        column = np.arange(book.pointer[first], book.pointer[last]) - np.repeat(
            book.pointer[first:last], count[first:last]
        )
        symbol, shares = np.zeros((n, width), np.int64), np.zeros((n, width), np.int64)
        inside = slice(book.pointer[first], book.pointer[last])
        symbol[row, column], shares[row, column] = book.symbol[inside], book.shares[inside]
        _block(
            symbol, shares, book.cash[first:last].copy(), book.owed[first:last].copy(),
            cures[first:last] == 1, path, book.haircut, depth, lines, totals, sold, events,
        )  # fmt: skip
    return totals, sold, events


def _block(
    symbol: IntArray,
    shares: IntArray,
    own: IntArray,
    debt: IntArray,
    cures: BoolArray,
    path: PricePath,
    haircut: IntArray,
    depth: int,
    lines: Lines,
    totals: IntArray,
    sold: IntArray,
    events: IntArray,
) -> None:
    n, width = symbol.shape
    left = shares.copy()
    called_at = np.full(n, -1)
    was_called, was_forced, forcing = (np.zeros(n, dtype=bool) for _ in range(3))
    share = haircut[symbol]
    for t in range(len(path.price)):
        price, is_open = path.price[t], path.open_to_sale[t]
        quote = price[symbol]
        counted = own + (quote * left // 100 * share // ONE).sum(axis=1)
        live = debt > 0
        below = live & (counted * ONE < debt * lines.call)
        called_at = np.where(live & ~below, -1, called_at)
        forcing &= below | ~live
        fresh = below & (called_at < 0)
        called_at = np.where(fresh, t, called_at)
        events[t, CALLS_MADE] += int(fresh.sum())
        was_called |= fresh
        late = below & (t - called_at >= lines.deadline)
        pays = late & cures & ~forcing
        paid = np.clip((debt * lines.target - counted * ONE) // lines.target + 1, 0, debt)
        debt = np.where(pays, debt - paid, debt)
        totals[CURED] += int(pays.sum())
        called_at = np.where(pays, -1, called_at)
        forcing |= below & ~pays & (late | (counted * ONE < debt * lines.force))
        selling = forcing & below & ~pays
        used = np.where(selling, np.minimum(own, debt), 0)
        own, debt, counted = own - used, debt - used, counted - used
        sold_now = np.zeros(n, dtype=bool)
        for h in range(width):
            q, part = quote[:, h], share[:, h]
            slope = lines.target * (ONE - lines.cost) // ONE - part
            lacking = debt * lines.target - counted * ONE
            selling &= (lacking >= 0) & (debt > 0)
            can = selling & (is_open[symbol[:, h]] == 1) & (q > 0) & (slope > 0)
            need = lacking // np.maximum(slope, 1) + 1
            most = np.minimum(left[:, h], shares[:, h] * depth // ONE)
            wanted = (np.where(can, need, 0) * 100 + q - 1) // np.maximum(q, 1)
            quantity = np.where(can, np.minimum(most, wanted), 0)
            was_forced |= quantity > 0
            sold_now |= quantity > 0
            worth = q * quantity // 100
            proceeds = worth * (ONE - lines.cost) // ONE
            left[:, h] -= quantity
            np.add.at(sold[t], symbol[:, h], quantity)
            totals[SOLD_AMT] += int(worth.sum())
            counted = counted - worth * part // ONE
            over = np.maximum(proceeds - debt, 0)
            own, counted = own + over, counted + over
            debt = debt - (proceeds - over)
        events[t, ACCOUNTS_SOLD] += int(sold_now.sum())
    totals[CALLED] += int(was_called.sum())
    totals[FORCED] += int(was_forced.sum())
    assets = own + (path.price[-1][symbol] * left // 100).sum(axis=1)
    short = (debt > 0) & (assets < debt)
    totals[SHORTFALL_AMT] += int((debt - assets)[short].sum())
    totals[INSOLVENT_DEBT_AMT] += int(debt[short].sum())
    totals[SHORTFALLS] += int(short.sum())
