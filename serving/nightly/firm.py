"""The lender's own terms of a night: capital, quota, funding, as they were known at the cut-off."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.lake import decimal_to_int, lake_info, latest_versions, read_table, visible_rows
from data_contracts.snapshot import ScenarioPaths
from data_contracts.units import RATIO_ONE, IntArray, format_decimal
from features.calendar import cut_off
from features.panel import PricePanel
from models.law.firm import quota_by_law
from models.margin.security import FirmTerms
from models.policy import Policy
from models.price.capital import (
    expected_shortfall,
    firm_losses,
    firm_tail,
    market_tail,
    tail_charge_bps,
)


def date_of(session: np.datetime64) -> dt.date:
    """A session of the panel as a date."""
    day: dt.date = session.astype("datetime64[D]").item()
    return day


def effective_date(panel: PricePanel, t: int) -> dt.date:
    """The session after row t; past the calendar's end, the next weekday."""
    if t + 1 < len(panel.sessions):
        return date_of(panel.sessions[t + 1])
    day = date_of(panel.sessions[t]) + dt.timedelta(days=1)
    while day.weekday() > 4:
        day += dt.timedelta(days=1)
    return day


def _known(root: Path, name: str, as_of: dt.date, key: tuple[str, ...]) -> pa.Table:
    """Rows of sessions up to a day, of each key the version known at that day's cut-off."""
    table = visible_rows(read_table(root, name), cut_off(as_of, lake_info(root).mic))
    return latest_versions(table.filter(pc.less_equal(table["session"], as_of)), key)


def firm_terms(root: Path, as_of: dt.date, policy: Policy) -> FirmTerms:
    """Capital, headroom and utilisation: the lake's last ``firm_state`` at or before a day.

    The quota counts no further than the law lets the firm's capital carry it.
    """
    table = _known(root, "firm_state", as_of, ("session",)).sort_by("session")
    if table.num_rows == 0:
        raise InputError(
            f"{root}: firm_state has no row at or before {as_of};"
            " add the lender's capital and quota"
        )
    last = table.slice(table.num_rows - 1)
    capital, quota, drawn = (
        int(decimal_to_int(last[n])[0]) for n in ("net_capital_amt", "quota_amt", "drawn_amt")
    )
    quota = quota_by_law(quota, capital, policy)
    used = drawn * RATIO_ONE // quota if quota > 0 else RATIO_ONE
    return FirmTerms(capital, max(quota - drawn, 0), min(used, RATIO_ONE))


def funding_bps(root: Path, as_of: dt.date) -> int | None:
    """The curve's shortest tenor of at least 30 days, last known at a day; None without one."""
    if not (root / "rates").is_dir():
        return None
    table = _known(root, "rates", as_of, ("session", "tenor_days"))
    table = table.filter(pc.greater_equal(table["tenor_days"], 30))
    if table.num_rows == 0:
        return None
    ordered = table.sort_by([("session", "descending"), ("tenor_days", "ascending")])
    return int(ordered["rate_bps"][0].as_py())


def tier_shifts(risk_bps: IntArray, clients: IntArray) -> tuple[int, ...]:
    """One shift per tier so that the mean risk charge with it never falls along the tiers.

    Parameters
    ----------
    risk_bps, clients : int64, shape (7,), by tier the sum of the risk charge and the clients
    """
    shifts, highest, last = [], 0, 0
    for total, count in zip(risk_bps.tolist(), clients.tolist(), strict=True):
        mean = total // count if count else highest
        last = max(last, highest - mean)
        shifts.append(last)
        highest = max(highest, mean + last)
    return tuple(shifts)


def firm_capital(
    paths: ScenarioPaths | None, policy: Policy, path_loss: IntArray | None
) -> tuple[IntArray | None, str | None]:
    """The firm's tail, and its expected shortfall in money, rounded up, from the first pass's sums.

    No tail where the firm loses the same on every path; neither without a scenario set.
    """
    if paths is None or path_loss is None:
        return None, None
    losses = firm_losses(path_loss)
    tail = firm_tail(paths, policy, losses)
    weight = market_tail(paths, policy) if tail is None else tail
    return tail, format_decimal(-(-expected_shortfall(losses, weight) // RATIO_ONE), 2)


def tail_risk(
    paths: ScenarioPaths | None,
    policy: Policy,
    path_loss: IntArray | None,
    tail: IntArray | None,
) -> IntArray:
    """By tier what the tail adds to the sum of the risk charges, int64, shape (7,), bps."""
    if paths is None or path_loss is None:
        return np.zeros(7, dtype=np.int64)
    return tail_charge_bps(path_loss, market_tail(paths, policy) if tail is None else tail, policy)
