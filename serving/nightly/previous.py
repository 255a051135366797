"""The last published decision of each client, as the next night's steps and hysteresis need it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np

from data_contracts.case import TIERS, Previous
from data_contracts.lake import decimal_to_int
from features.panel import PricePanel
from serving.nightly.segments import read_decisions


def previous_decisions(
    segments: list[Path], panel: PricePanel, last_as_of: dt.date, as_of: dt.date
) -> dict[str, Previous]:
    """Read the segments of the last run.

    Month and quarter budgets start again with the calendar month and quarter. A client that was in
    tier D comes back as tier 7.
    """
    since = panel.session_index(np.datetime64(as_of)) - panel.session_index(
        np.datetime64(last_as_of)
    )
    same_month = (last_as_of.year, last_as_of.month) == (as_of.year, as_of.month)
    same_quarter = (last_as_of.year, (last_as_of.month - 1) // 3) == (
        as_of.year,
        (as_of.month - 1) // 3,
    )
    out: dict[str, Previous] = {}
    names = [
        "client_id", "soft_cap_amt", "rate_bps", "tier", "candidate_tier", "candidate_sessions",
        "month_change_bps", "quarter_changes",
    ]  # fmt: skip
    for path in segments:
        table = read_decisions(path, names)
        soft = decimal_to_int(table["soft_cap_amt"])
        columns = [table[n].to_pylist() for n in names]
        for k, client in enumerate(columns[0]):
            tier = columns[3][k]
            out[client] = Previous(
                soft_cap_amt=int(soft[k]),
                rate_bps=columns[2][k],
                tier=TIERS[-1] if tier == "D" else int(tier),
                candidate_tier=columns[4][k],
                candidate_sessions=columns[5][k],
                month_change_bps=columns[6][k] if same_month else 0,
                quarter_changes=columns[7][k] if same_quarter else 0,
                sessions_since=max(1, since),
            )
    return out
