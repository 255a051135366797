"""Positions of another lender as a book: collateral, debt, and a threshold that takes a haircut's place.

For lending against one kind of collateral, as on-chain lending does it: a position is liquidated as
soon as collateral x threshold falls below debt, there are no calls, no deadlines and no clients to
cure. No policy pack describes such a lender, so nothing is decided: the positions are stressed only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import RATIO_ONE, FloatArray, IntArray
from training.stress.book import StressBook
from training.stress.desk import run_path
from training.stress.kernel import Lines
from training.stress.scenario import Names, Scenario, price_path
from training.table_read import numbers, read_any

PACK: Final = "none"
"""No policy pack: ``decide`` knows none of this name and refuses it."""
MICRO: Final = 1_000_000
UNIT_PRICE: Final = 1_000_000
"""A unit of collateral at first, 0.0001: fine enough for moves of a millionth."""
LIQUIDATION_COST_E6: Final = 50_000
"""Five per cent to whoever liquidates; the protocols publish 1 % to 7.5 % for this collateral."""
FALLS: Final = (0.0, 0.05, 0.10, 0.20, 0.30, 0.40, 0.50)


@dataclass(frozen=True)
class Positions:
    """Collateral and debt in one unit of account, and each account's liquidation threshold."""

    collateral: FloatArray
    debt: FloatArray
    threshold: FloatArray


def read_positions(path: Path) -> Positions:
    """Columns ``collateral``, ``debt``, ``threshold`` of a CSV or Parquet file; others are ignored.

    A threshold above 1 is in basis points.

    Raises
    ------
    InputError
        If a column is missing, empty or negative, or a threshold is not in (0, 1].
    """
    table = read_any(path)
    found = []
    for name in ("collateral", "debt", "threshold"):
        if name not in table.column_names:
            raise InputError(
                f"{path} has no column {name!r}; positions need collateral, debt, threshold"
            )
        values = numbers(table, name)
        if not bool(np.isfinite(values).all()) or bool((values < 0).any()):
            raise InputError(
                f"{path}: column {name!r} has a missing or negative value; remove the row"
            )
        found.append(values)
    threshold = np.where(found[2] > 1, found[2] / 10_000, found[2])
    if bool(((threshold <= 0) | (threshold > 1)).any()):
        raise InputError(f"{path}: a threshold lies outside 0 to 1 (0 to 10000 in basis points)")
    return Positions(found[0], found[1], threshold)


def book_of_positions(positions: Positions) -> tuple[StressBook, Names]:
    """One name a threshold, with the threshold as its haircut; money in millionths of the unit."""
    levels, symbol = np.unique(positions.threshold, return_inverse=True)
    accounts = len(symbol)
    shares = np.rint(positions.collateral * MICRO * 100 / UNIT_PRICE).astype(np.int64)
    book = StressBook(
        (),
        np.arange(accounts + 1, dtype=np.int64),
        symbol.astype(np.int64),
        shares,
        np.zeros(accounts, dtype=np.int64),
        np.rint(positions.debt * MICRO).astype(np.int64),
        np.arange(accounts, dtype=np.int64),
        np.rint(levels * RATIO_ONE).astype(np.int64),
    )
    price: IntArray = np.full(len(levels), UNIT_PRICE, dtype=np.int64)
    return book, Names(price, np.ones(len(levels)), np.zeros(len(levels)))


LINES: Final = Lines(RATIO_ONE, RATIO_ONE, 1_050_000, 0, LIQUIDATION_COST_E6)
"""Liquidated at a health factor of 1, until it is 1.05 again; at once."""


def _units(micro: int) -> str:
    return f"{micro // MICRO}.{micro % MICRO:06d}"


def positions_report(path: Path, scenario: Scenario, seed: int) -> dict[str, Any]:
    """What falls of the collateral against the debt do to the positions of a file.

    ``falls`` happen in one step, the scenario over its sessions. Amounts are decimal strings in the file's unit of account. The scenario's volatility does not
    apply: there is one price.
    """
    positions = read_positions(path)
    book, names = book_of_positions(positions)
    cures = np.zeros(book.clients, dtype=np.int64)

    def row(name: str, one: Scenario) -> dict[str, Any]:
        found = run_path(book, price_path(one, names, seed), one.depth_ratio, LINES, cures)
        return {
            "name": name,
            "fall_ratio": -one.shock_ratio,
            "liquidated": found.forced,
            "sold": _units(found.sold_amt),
            "shortfalls": found.shortfalls,
            "shortfall": _units(found.shortfall_amt),
            "insolvent_debt": _units(found.insolvent_debt_amt),
        }

    indebted = book.owed > 0
    health = np.full(book.clients, np.nan)
    health[indebted] = (positions.collateral * positions.threshold)[indebted] / positions.debt[
        indebted
    ]
    falls = [row(f"fall {f:.0%}", Scenario("fall", -f, sessions=1)) for f in FALLS]
    return {
        "policy": PACK,
        "accounts": book.clients,
        "indebted": int(indebted.sum()),
        "collateral": _units(int((book.shares * UNIT_PRICE // 100).sum())),
        "debt": _units(int(book.owed.sum())),
        "health_below_110_share": float(np.mean(health[indebted] < 1.10))
        if indebted.any()
        else None,
        "health_below_125_share": float(np.mean(health[indebted] < 1.25))
        if indebted.any()
        else None,
        "scenario": row(scenario.name, scenario),
        "falls": falls,
    }
