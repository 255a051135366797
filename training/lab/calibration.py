"""How a book compares with what is known of margin books.

The ranges are assumptions, and the habits in ``people`` were chosen so that a US book of 2006 to
2022 falls into them: agreement on those years is no evidence that the clients are realistic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_contracts.tables.account import MARGIN_EVENT_KINDS
from data_contracts.units import BoolArray, IntArray
from training.lab.simulate import LabBook

HORIZON = 60
STEP = 20
"""Sessions between the as-of sessions of the default rate."""
# Ranges a book of a market with calm and crash should fall in: assumptions, not measurements.
_RANGES = {
    "default_60_of_debtors": (0.007, 0.025),
    "cured_within_deadline": (0.35, 0.60),
    "calls_per_default": (1.2, 6.0),
    "shortfalls_per_default": (0.0, 0.05),
    "defaults_in_worst_tenth_of_months": (0.40, 1.0),
    "share_of_accounts_with_debt": (0.25, 0.70),
}


@dataclass(frozen=True)
class Calibrated:
    """A quantity of a book and the range it is expected in."""

    quantity: str
    low: float
    high: float
    achieved: float
    kind: str = "assumed"


def _events(book: LabBook, kind: str) -> tuple[IntArray, IntArray]:
    """Client and session of each event of a kind."""
    columns = book.tables["margin_events"]
    chosen = np.asarray(columns["kind"].indices) == MARGIN_EVENT_KINDS.index(kind)
    days = np.asarray(columns["event_at"])[chosen].astype("datetime64[D]")
    session = np.searchsorted(book.tables["firm_state"]["session"], days)
    return book.row_client["margin_events"][chosen], session.astype(np.int64)


def _default_follows(book: LabBook, client: IntArray, session: IntArray) -> BoolArray:
    """Whether a default falls within ``HORIZON`` sessions after each (client, session)."""
    width = len(book.tables["firm_state"]["session"]) + HORIZON + 1
    who, when = _events(book, "default")
    at = np.sort(who * width + when)
    here = client * width + session
    upto = np.searchsorted(at, here + HORIZON, side="right")
    return np.asarray(upto > np.searchsorted(at, here, side="right"))


def calibration(book: LabBook) -> list[Calibrated]:
    """The quantities of a book; NaN where it has no such events."""
    balances = book.tables["balances"]
    sessions = book.tables["firm_state"]["session"]
    session = np.asarray(np.searchsorted(sessions, balances["session"]), dtype=np.int64)
    as_of = (session % STEP == 0) & (session < len(sessions) - HORIZON)
    debtor = np.asarray(balances["debt_amt"] > 0)
    chosen = as_of & debtor
    follows = _default_follows(book, book.row_client["balances"][chosen], session[chosen])
    counts = {kind: len(_events(book, kind)[0]) for kind in MARGIN_EVENT_KINDS}
    month = sessions[_events(book, "default")[1]].astype("datetime64[M]").astype(np.int64)
    months = len(np.unique(sessions.astype("datetime64[M]")))
    per_month = np.sort(np.unique(month, return_counts=True)[1])[::-1]
    nan = float("nan")
    defaults, calls = counts["default"], counts["call"]
    achieved = {
        "default_60_of_debtors": float(follows.mean()) if len(follows) else nan,
        "cured_within_deadline": counts["cure"] / calls if calls else nan,
        "calls_per_default": calls / defaults if defaults else nan,
        "shortfalls_per_default": counts["shortfall"] / defaults if defaults else nan,
        "defaults_in_worst_tenth_of_months": (
            float(per_month[: max(months // 10, 1)].sum()) / defaults if defaults else nan
        ),
        "share_of_accounts_with_debt": float(debtor.mean()),
    }
    return [Calibrated(name, *_RANGES[name], value) for name, value in achieved.items()]
