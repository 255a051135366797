"""Labels: what became of a client after an as-of session.

A **default** is the first of: a call not cured by its deadline; the immediate-close line crossed;
negative equity after liquidation. The label over h sessions is 1 if one falls on the sessions
t+1 .. t+h, 0 if none does, never called included; it is censored (-1) if the account is repaid and
closed before, if the market's data ends before, or if the client is already in default at t.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.compute as pc

from data_contracts.lake import read_table
from data_contracts.units import IntArray
from features.book import BookAsOf
from features.panel import PricePanel

HORIZON_SESSIONS: Final = 60
YEAR_SESSIONS: Final = 252
CENSORED: Final = -1


@dataclass(frozen=True)
class Outcomes:
    """Default and closing sessions of every client, ascending by client number.

    Attributes
    ----------
    client_ids : ascending
    default_client, default_session : int64, one entry a default event, by client then session
    closed_session : int64, shape (clients,), session the last account closed, a large number while open
    """

    client_ids: tuple[str, ...]
    default_client: IntArray
    default_session: IntArray
    closed_session: IntArray
    sessions: int


def load_outcomes(root: Path, panel: PricePanel) -> Outcomes:
    """Read every default and closing of a lake: the truth to learn from, not to score with."""
    accounts = read_table(root, "accounts", columns=["client_id", "closed_on", "known_at"])
    clients = sorted(set(accounts["client_id"].to_pylist()))
    index = {c: k for k, c in enumerate(clients)}
    closed = np.full(len(clients), np.iinfo(np.int64).max // 2, dtype=np.int64)
    for client, day in zip(
        accounts["client_id"].to_pylist(), accounts["closed_on"].to_pylist(), strict=True
    ):
        if day is not None:
            closed[index[client]] = np.searchsorted(panel.sessions, np.datetime64(day, "D"))
    events = read_table(root, "margin_events", columns=["client_id", "kind", "event_at"])
    events = events.filter(pc.equal(events["kind"], "default"))
    who = np.array([index[c] for c in events["client_id"].to_pylist()], dtype=np.int64)
    day = np.asarray(events["event_at"]).astype("datetime64[us]")
    # an event at or after a session's close belongs to that session
    when = np.searchsorted(panel.close_at, day, side="right") - 1
    order = np.lexsort((when, who))
    return Outcomes(
        tuple(clients), who[order], when[order].astype(np.int64), closed, len(panel.sessions)
    )


def default_labels(outcomes: Outcomes, book: BookAsOf, horizon: int) -> IntArray:
    """1 default, 0 none, -1 censored, shape (clients of the book,)."""
    index = {c: k for k, c in enumerate(outcomes.client_ids)}
    who = np.array([index[c] for c in book.client_ids], dtype=np.int64)
    t = book.t
    inside = (outcomes.default_session > t) & (outcomes.default_session <= t + horizon)
    hit = np.zeros(len(outcomes.client_ids), dtype=bool)
    hit[outcomes.default_client[inside]] = True
    label = hit[who].astype(np.int64)
    incomplete = (t + horizon >= outcomes.sessions) | (outcomes.closed_session[who] <= t + horizon)
    label[incomplete & ~hit[who]] = CENSORED
    if t + horizon >= outcomes.sessions:
        # counting only those that defaulted early would overstate the rate
        label[:] = CENSORED
    label[book.in_default] = CENSORED
    return label
