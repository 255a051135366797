"""Crowding of the night: how much of each name is bought on margin, from the lake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from data_contracts.lake import decimal_to_int, latest_versions, read_table, visible_rows
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, RATIO_ONE, IntArray
from features.calendar import cut_off
from models.law.eligible import stopped
from models.policy import Policy

TABLE = "security_financing"


def financing_ratios(root: Path, market: MarketSnapshot) -> IntArray:
    """Margin debt over tradable value by session known at the cut-off, 1e-6, shape (T, N).

    Rounded up; ``NULL`` where the table has no row or no float.
    """
    empty = np.zeros((0, len(market.symbols)), dtype=np.int64)
    if not (root / TABLE).is_dir():
        return empty
    table = visible_rows(read_table(root, TABLE), cut_off(market.session, market.mic))
    table = latest_versions(table, ("symbol", "session"))
    table = table.filter(pc.less_equal(table["session"], market.session))
    if table.num_rows == 0:
        return empty
    days = sorted(set(table["session"].to_pylist()))
    row = {day: k for k, day in enumerate(days)}
    out = np.full((len(days), len(market.symbols)), NULL, dtype=np.int64)
    balance = decimal_to_int(table["financing_balance_amt"])
    worth = decimal_to_int(table["float_value_amt"])
    for k, (symbol, day) in enumerate(
        zip(table["symbol"].to_pylist(), table["session"].to_pylist(), strict=True)
    ):
        column = market.index.get(symbol)
        if column is not None and worth[k] > 0:
            # Python integers: a float's worth in minor units times a million passes int64
            out[row[day], column] = -(-int(balance[k]) * RATIO_ONE // int(worth[k]))
    return out


def with_crowding(market: MarketSnapshot, root: Path, policy: Policy) -> MarketSnapshot:
    """The snapshot with each name's last known share, and stopped names off the margin list."""
    if "crowding_stop_ratio" not in policy:
        return market
    ratios = financing_ratios(root, market)
    if len(ratios) == 0:
        return market
    last = np.full(len(market.symbols), NULL, dtype=np.int64)
    for row in ratios:
        last = np.where(row == NULL, last, row)
    eligible = market.margin_eligible & ~stopped(ratios, policy)
    return replace(market, financing_ratio=last, margin_eligible=eligible)
