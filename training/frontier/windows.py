"""Which months accounts open in, which sessions are counted, and what may be learnt from before."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import NULL, FloatArray, IntArray
from features.panel import PricePanel
from models.margin.scenarios import year_rise

TERM_SESSIONS: Final = 243
"""A contract of 182 days, rolled over once: so long the limit of the opening holds."""
GAP_DAYS: Final = 20
"""No holiday closes an exchange for longer: the data stop and begin again."""


@dataclass(frozen=True)
class Window:
    """Accounts open from ``first`` to ``last``; what happens from ``count_from`` on is counted."""

    name: str
    first: dt.date
    count_from: dt.date
    last: dt.date


WINDOWS: Final = (
    Window("2015-04..07", dt.date(2014, 9, 1), dt.date(2015, 4, 1), dt.date(2015, 7, 31)),
    Window("2016", dt.date(2016, 1, 4), dt.date(2016, 1, 4), dt.date(2016, 12, 31)),
    Window("2017..2019", dt.date(2017, 1, 3), dt.date(2017, 1, 3), dt.date(2019, 12, 31)),
)
EARLIER: Final = Window(
    "2007..2014H1", dt.date(2007, 7, 2), dt.date(2007, 7, 2), dt.date(2014, 6, 30)
)
FROZEN_UNTIL: Final = dt.date(2015, 3, 31)
"""The second table: scales of 2014-09 to 2015-03 are kept."""


def before(window: Window) -> tuple[Window, ...]:
    """The windows that end before a window opens: all that may teach or tune what it tests."""
    return tuple(w for w in (EARLIER, *WINDOWS) if w.last < window.first)


@dataclass(frozen=True)
class Vintage:
    """A month's openings: panel rows of its sessions, and of the last one known when it begins."""

    month: str
    rows: IntArray
    known: int


def vintages(panel: PricePanel, window: Window) -> tuple[Vintage, ...]:
    """The months of a window as panel rows.

    Raises
    ------
    InputError
        If the market does not hold the window.
    """
    days = panel.sessions.astype("datetime64[D]")
    inside = np.flatnonzero(
        (days >= np.datetime64(window.first)) & (days <= np.datetime64(window.last))
    )
    if len(inside) < 40 or inside[0] < 60:
        raise InputError(
            f"window {window.name} needs sessions from {window.first} to {window.last} and 60 before;"
            f" the market runs {days[0]} to {days[-1]}; import the files of these years"
        )
    month = days[inside].astype("datetime64[M]")
    made = []
    for m in np.unique(month):
        rows = inside[month == m]
        made.append(Vintage(str(m), rows, int(rows[0]) - 1))
    return tuple(made)


def year_rises(market: FloatArray, months: tuple[Vintage, ...]) -> FloatArray:
    """The market's rise in the year known before each month, NaN with a shorter history.

    Parameters
    ----------
    market : returns of the equal-weighted market, one a session of the panel
    """
    rises = [year_rise(market, m.known) for m in months]
    return np.array([np.nan if r is None else r for r in rises])


def history_end(panel: PricePanel, known: int, least: int) -> int:
    """The last row of the history before a vintage, which never spans a gap in the data.

    With fewer than ``least`` sessions since a gap it is the last row before the gap.
    """
    days = panel.sessions[: known + 1].astype("datetime64[D]").astype(np.int64)
    gaps = np.flatnonzero(np.diff(days) > GAP_DAYS)
    if len(gaps) and known - int(gaps[-1]) < least:
        return int(gaps[-1])
    return known


def part_of(panel: PricePanel, first: int, last: int) -> tuple[PricePanel, IntArray]:
    """Rows ``first`` to ``last`` of a panel and the names with a price there, and their positions."""
    rows = slice(first, last + 1)
    names = np.flatnonzero((panel.close[rows] != NULL).any(axis=0)).astype(np.int64)
    return panel.part(rows, names), names
