"""Sums of clients' sessions: what fills add up to, kept until it leaves every window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_contracts.units import IntArray
from features.tallies.kernel import DAY_COLUMNS, Int8Array, Int32Array, day_sums, take_days
from features.versions import combine


@dataclass(frozen=True)
class Days:
    """Sums of clients' sessions, by client then session; see ``DAY_COLUMNS``."""

    client: Int32Array
    session: Int32Array
    numbers: IntArray

    @staticmethod
    def nothing() -> Days:
        """No days."""
        none = np.zeros(0, dtype=np.int32)
        return Days(none, none, np.zeros((0, len(DAY_COLUMNS)), dtype=np.int64))

    @staticmethod
    def together(parts: Sequence[Days]) -> Days:
        """Several, one after the other."""
        return Days(
            np.concatenate([part.client for part in parts]),
            np.concatenate([part.session for part in parts]),
            np.concatenate([part.numbers for part in parts]),
        )

    def of_clients(self, first: int) -> Days:
        """The same with the clients numbered from ``first`` on."""
        return Days(self.client + np.int32(first), self.session, self.numbers)


@dataclass(frozen=True)
class FillColumns:
    """What the sums of a session are made of, one array a column, one element a fill.

    ``account`` and ``symbol`` are codes, ``event`` is in microseconds since 1970 UTC, ``value`` is
    quantity times price in 0.0001.
    """

    account: IntArray
    symbol: IntArray
    event: IntArray
    buy: np.ndarray[tuple[int], np.dtype[np.bool_]]
    value: IntArray
    financed: np.ndarray[tuple[int], np.dtype[np.bool_]]


def days_of(
    fills: FillColumns, rows: IntArray, actor: IntArray, symbols: int, cut_offs: IntArray
) -> Days:
    """Sum the chosen fills; ``actor`` is each account's client, -1 for none."""
    client = actor[fills.account[rows]]
    rows, client = rows[client >= 0], client[client >= 0]
    session = np.searchsorted(cut_offs, fills.event[rows]).astype(np.int64)
    name = combine((fills.account[rows], 1), (fills.symbol[rows], max(symbols, 1)))
    values = (name, fills.buy[rows], fills.value[rows], fills.financed[rows])
    return Days(*day_sums(client, session, *values, len(cut_offs)))


@dataclass(frozen=True)
class DaySegment:
    """Days by session, in one or several groups of clients.

    ``count`` is 1 for a session's sums and -1 where those counted before are taken back;
    ``edges`` (groups, sessions + 1) says where the days of each session stand.
    """

    client: Int32Array
    numbers: IntArray
    count: Int8Array
    edges: IntArray

    @staticmethod
    def of(parts: Sequence[tuple[Days, int]], sessions: int) -> DaySegment:
        """One group of several days, each with its count."""
        days = Days.together([part for part, _ in parts])
        count = np.repeat(
            np.array([sign for _, sign in parts], dtype=np.int8),
            [len(part.client) for part, _ in parts],
        )
        order = np.argsort(days.session, kind="stable")
        edges = np.searchsorted(days.session[order], np.arange(sessions + 1)).astype(np.int64)
        numbers = np.where(count[:, None] < 0, -days.numbers, days.numbers)
        return DaySegment(days.client[order], numbers[order], count[order], edges[None, :])

    @staticmethod
    def together(parts: Sequence[DaySegment]) -> DaySegment:
        """Several as one of as many groups as they have together."""
        widest = max(part.edges.shape[1] for part in parts)
        starts = np.cumsum([0] + [len(part.client) for part in parts])
        edges = [
            # Of sessions that came after a part was made it has no days.
            np.pad(part.edges, ((0, 0), (0, widest - part.edges.shape[1])), mode="edge") + start
            for part, start in zip(parts, starts, strict=False)
        ]
        return DaySegment(
            np.concatenate([part.client for part in parts]),
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.count for part in parts]),
            np.concatenate(edges),
        )

    def take_out(self, sessions: range, sums: IntArray) -> None:
        """Take the days of some sessions out of a window's sums (columns, clients)."""
        last = self.edges.shape[1] - 1
        first, stop = (min(max(s, 0), last) for s in (sessions.start, sessions.stop))
        if first < stop:
            take_days(self.client, self.numbers, self.count, self.edges, first, stop, sums)
