"""Cash, shares and loans of one client, and of the related group around it."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import Final

from data_contracts.errors import InputError
from data_contracts.units import MAX_AMT, RATIO_ONE, format_decimal

TIERS: Final = (1, 2, 3, 4, 5, 6, 7)
MAX_SHARES: Final = 1_000_000_000_000
MAX_BPS: Final = 1_000_000
"""Largest rate, 10,000 % a year; it keeps sums of rates far inside int64."""
MAX_OPENING_RATIO: Final = 10 * RATIO_ONE
"""Exchanges ask for one to two times the loan at most; ten times is a wrong unit."""


def check_amount(value: int, what: str, *, negative: bool = False) -> None:
    """Refuse an amount beyond what a decision can hold, or a negative one."""
    if abs(value) > MAX_AMT or (value < 0 and not negative):
        low = "-90 billion" if negative else "0"
        raise InputError(
            f"{what} is {format_decimal(value, 2)}; it must lie between {low} and 90 billion;"
            " correct the amount or the currency unit"
        )


def check_range(value: int, low: int, high: int, what: str) -> None:
    """Refuse an integer outside a range, both ends included."""
    if not low <= value <= high:
        raise InputError(f"{what} is {value}; it must lie between {low} and {high}")


@dataclass(frozen=True)
class Holding:
    """Shares held at the as-of session."""

    symbol: str
    quantity_shares: int

    def __post_init__(self) -> None:
        check_range(self.quantity_shares, 0, MAX_SHARES, f"position {self.symbol}: quantity_shares")


@dataclass(frozen=True)
class Loan:
    """An open loan contract. ``quantity_shares`` are the shares bought with it and still held."""

    contract_id: str
    symbol: str | None
    kind: str
    opened_on: dt.date
    due_on: dt.date | None
    quantity_shares: int | None
    outstanding_amt: int
    accrued_amt: int
    ratio_at_opening: int
    rate_bps: int
    rule_pack: str

    def __post_init__(self) -> None:
        what = f"contract {self.contract_id}"
        check_amount(self.outstanding_amt, f"{what}: outstanding_amt")
        check_amount(self.accrued_amt, f"{what}: accrued_amt")
        if self.quantity_shares is not None:
            check_range(self.quantity_shares, 0, MAX_SHARES, f"{what}: quantity_shares")
        if not 0 <= self.ratio_at_opening <= MAX_OPENING_RATIO:
            raise InputError(
                f"{what}: ratio_at_opening is {format_decimal(self.ratio_at_opening, 6)};"
                ' it must lie between 0 and 10, where "0.500000" means 50 %'
            )
        check_range(self.rate_bps, 0, MAX_BPS, f"{what}: rate_bps")


@dataclass(frozen=True)
class Book:
    """Cash, shares and loans of one client."""

    cash_amt: int
    positions: tuple[Holding, ...] = ()
    contracts: tuple[Loan, ...] = ()

    def __post_init__(self) -> None:
        check_amount(self.cash_amt, "cash_amt", negative=True)
        symbols = [p.symbol for p in self.positions]
        if len(set(symbols)) != len(symbols):
            twice = min(name for name, count in Counter(symbols).items() if count > 1)
            raise InputError(f"position {twice} is listed twice; add the quantities up")

    @property
    def debt_amt(self) -> int:
        """Principal owed."""
        return sum(c.outstanding_amt for c in self.contracts)

    @property
    def accrued_amt(self) -> int:
        """Interest owed."""
        return sum(c.accrued_amt for c in self.contracts)


@dataclass(frozen=True)
class RelatedGroup:
    """The other members of the client's related group, and the worst tier among all of them."""

    group_id: str
    others: tuple[Book, ...]
    worst_tier: int | None = None

    def __post_init__(self) -> None:
        if self.worst_tier is not None and self.worst_tier not in TIERS:
            raise InputError(f"group.worst_tier is {self.worst_tier}; tiers run from 1 (best) to 7")
