"""United States: Regulation T, and the equity that FINRA Rule 4210 asks for."""

from __future__ import annotations

import numpy as np

from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import RATIO_ONE, BoolArray, IntArray
from models.margin.book import BookColumns
from models.margin.exact import over, part_up
from models.policy import Policy


def _supported(equity: IntArray, margin: int) -> IntArray:
    """Debt D with D = E (1 - m) / m, rounded down: all assets bought with it need equity m."""
    return over(np.maximum(equity, 0), margin, RATIO_ONE - margin)


def least_equity(books: BookColumns, policy: Policy, day_trader: BoolArray | None) -> IntArray:
    """Equity below which nothing is lent, minor units, shape (N,)."""
    least = np.full(books.n, policy["minimum_equity_amt"], dtype=np.int64)
    name = "day_trader_minimum_equity_amt"
    if day_trader is not None and name in policy:
        least = np.where(day_trader, np.maximum(least, policy[name]), least)
    return least


def limit(
    books: BookColumns,
    market: MarketSnapshot,
    policy: Policy,
    equity: IntArray,
    day_trader: BoolArray | None,
) -> IntArray:
    """Most debt: equity, less what may not be margined, covers the initial ratio of all.

    Initial margin asks for more than maintenance, intraday or not, unless a pack says otherwise;
    the stricter holds.
    """
    unlendable = np.ones(len(books.holding_symbol), dtype=bool)
    known = books.holding_symbol >= 0
    unlendable[known] = ~market.margin_eligible[books.holding_symbol[known]]
    blocked_value = part_up(
        np.where(unlendable, books.holding_value, 0), policy["nonmargin_security_margin_ratio"]
    )
    blocked = books.per_book(blocked_value, books.holding_book)
    margin = max(
        policy[name]
        for name in ("initial_margin_ratio", "maintenance_margin_ratio", "intraday_margin_ratio")
        if name in policy
    )
    most = _supported(equity - blocked, margin)
    return np.where(equity >= least_equity(books, policy, day_trader), most, 0)
