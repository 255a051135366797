"""Mainland China: 保证金可用余额 by the exchanges' definition, and ratios of new contracts."""

from __future__ import annotations

import datetime as dt
from typing import Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, RATIO_ONE, IntArray
from models.margin.book import BookColumns
from models.margin.exact import over, part, part_up
from models.policy import Policy

EPOCH: Final = dt.date(1970, 1, 1)
_CEILING_OF_BOARD: Final = {
    "treasury": "haircut_max_treasury_ratio",
    "etf": "haircut_max_etf_ratio",
    "fund": "haircut_max_fund_ratio",
    "bond": "haircut_max_fund_ratio",
}
_LIMIT_OF_BOARD: Final = {
    "chinext": "price_limit_chinext_ratio",
    "star": "price_limit_star_ratio",
    "bse": "price_limit_bse_ratio",
}


def days(dates: tuple[dt.date, ...]) -> IntArray:
    """Dates as days since 1970, int64."""
    return np.array([(d - EPOCH).days for d in dates], dtype=np.int64)


def haircuts(market: MarketSnapshot, policy: Policy) -> IntArray:
    """Share of value counted as collateral per symbol, never above the exchange's maximum."""
    share, index = policy["haircut_max_share_ratio"], policy["haircut_max_index_share_ratio"]
    ceiling = [_CEILING_OF_BOARD.get(board) for board in market.board]
    ordinary = np.array([policy[c] if c else share for c in ceiling], dtype=np.int64)
    # a published haircut above the ordinary maximum of a share can only be an index constituent's
    greatest = np.array([policy[c] if c else index for c in ceiling], dtype=np.int64)
    special = policy["haircut_max_special_treatment_ratio"]
    given = market.haircut != NULL
    most = np.where(market.special_treatment, special, np.where(given, greatest, ordinary))
    counted = np.where(given, np.clip(market.haircut, 0, most), most)
    return np.where(market.collateral_eligible, counted, 0)


def contract_ratios(books: BookColumns, policy: Policy) -> IntArray:
    """Margin ratio that each open contract binds: its own, never below that of its opening day.

    Raises
    ------
    InputError
        If a contract was opened before the pack's first date: its rule is not known.
    """
    dates, least = policy.by_opening_day("financing_margin_ratio")
    since = days(dates)
    opened = np.minimum(books.loan_opened, (policy.effective_on - EPOCH).days)
    at = np.searchsorted(since, opened, side="right") - 1
    unknown = np.flatnonzero(at < 0)
    if len(unknown):
        day = EPOCH + dt.timedelta(days=int(opened[unknown[0]]))
        raise InputError(
            f"a contract was opened on {day}; policy pack {policy.pack!r} is known from"
            f" {dates[0]}; correct opened_on or extend the pack"
        )
    return np.maximum(books.loan_ratio, np.array(least, dtype=np.int64)[at])


def available_margin(books: BookColumns, market: MarketSnapshot, policy: Policy) -> IntArray:
    """保证金可用余额, minor units: what may still back new contracts, by the exchanges' definition.

    cash + haircut x value of collateral shares + haircut x gain of financed shares (a loss in full)
    - principal x margin ratio of the contract's opening day - accrued interest.
    """
    cut = haircuts(market, policy)
    cut_of = np.zeros(len(books.holding_symbol), dtype=np.int64)
    known = books.holding_symbol >= 0
    cut_of[known] = cut[books.holding_symbol[known]]
    loan_cut = np.zeros(len(books.loan_symbol), dtype=np.int64)
    named = books.loan_symbol >= 0
    loan_cut[named] = cut[books.loan_symbol[named]]
    all_shares = books.per_book(part(books.holding_value, cut_of), books.holding_book)
    gain = books.loan_value - books.loan_outstanding
    counted = np.where(gain >= 0, part(gain, loan_cut), gain)
    # the shares that a contract financed are collateral through its gain only
    counted -= part_up(books.loan_value, loan_cut)
    counted -= part_up(books.loan_outstanding, contract_ratios(books, policy))
    by_contract = books.per_book(counted, books.loan_book)
    cash = books.cash - books.overdraft
    return cash + all_shares + by_contract - books.accrued


def lock_gaps(market: MarketSnapshot, policy: Policy) -> IntArray:
    """Loss over the sessions to a forced sale if each closes limit-down, 1e-6, rounded up.

    The published limit or the board's, whichever is wider; the deadline and one session to sell.
    """
    names = [_LIMIT_OF_BOARD.get(b, "price_limit_main_ratio") for b in market.board]
    main = policy["price_limit_main_ratio"]
    board = np.array([policy.get(n, main) for n in names], dtype=np.int64)
    on_main = np.array([n == "price_limit_main_ratio" for n in names], dtype=bool)
    special = policy["price_limit_special_treatment_ratio"]
    board = np.where(market.special_treatment & on_main, special, board)
    limit = np.clip(np.maximum(market.price_limit, board), 0, RATIO_ONE)
    kept = np.full(len(limit), RATIO_ONE, dtype=np.int64)
    for _ in range(policy["call_deadline_sessions"] + 1):
        kept = kept * (RATIO_ONE - limit) // RATIO_ONE
    return RATIO_ONE - kept


def house_margin_ratios(
    market: MarketSnapshot, policy: Policy, buying: IntArray | None
) -> IntArray | int:
    """Margin ratio that the house asks of a new contract, 1e-6, never below the exchange's.

    max(constant - haircut, floor) with the haircut of the name that is bought; where that is not
    known, an ordinary share's is the prudent guess. ``buying`` holds positions in the snapshot,
    negative for an unknown name or none.
    """
    floor = max(policy["financing_margin_ratio"], policy["house_margin_ratio_floor_ratio"])
    constant = policy["house_margin_ratio_constant_ratio"]
    ordinary = max(floor, constant - policy["haircut_max_share_ratio"])
    if buying is None or not bool((buying >= 0).any()):
        return ordinary
    cut = haircuts(market, policy)
    own = np.maximum(constant - cut[np.maximum(buying, 0)], floor)
    return np.where(buying >= 0, own, ordinary)


def limits(
    books: BookColumns, market: MarketSnapshot, policy: Policy, buying: IntArray | None
) -> tuple[IntArray, IntArray]:
    """Most debt by the exchanges' ratio and by the house's, minor units, not negative."""
    available = available_margin(books, market, policy)

    def most(ratio: IntArray | int) -> IntArray:
        return np.asarray(np.maximum(books.debt + over(available, ratio), 0), dtype=np.int64)

    return most(policy["financing_margin_ratio"]), most(house_margin_ratios(market, policy, buying))
