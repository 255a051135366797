"""Balances and holdings over sessions, as dense arrays that are exact at any cut-off.

Rows that arrive in time and are never corrected stand in a dense array (sessions, accounts) built
once. What was late or was corrected later is put right at each as-of, so that the answer is what
was known then; there are few such rows, which is what makes an as-of cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_contracts.lake import read_table
from data_contracts.units import NULL, BoolArray, IntArray
from features.panel import PricePanel
from features.rows import OPEN_END, Names, dates, integers, is_set, session_codes
from features.versions import (
    NEVER,
    Versions,
    combine,
    encode,
    final_rows,
    find_versions,
    timestamps,
)

Int32Array = npt.NDArray[np.int32]

BALANCE_COLUMNS: Final = ("cash_amt", "debt_amt", "accrued_amt")


@dataclass(frozen=True)
class Balances:
    """End-of-session cash, principal and interest.

    Attributes
    ----------
    dense : one int64 array (sessions, accounts) a column, ``NULL`` where there is no timely row
    base : session of the first row of ``dense``, the first that has a balance
    account, session, values, versions : the late or corrected rows, in order of session
    """

    dense: dict[str, IntArray]
    base: int
    account: IntArray
    session: IntArray
    values: dict[str, IntArray]
    versions: Versions

    def window(
        self, accounts: IntArray, first: int, last: int, cut: int
    ) -> tuple[IntArray, IntArray, IntArray]:
        """Cash, principal and interest, each (sessions, accounts), of ``first`` to ``last``.

        A missing session carries the one before it, as far back as ``first``; ``NULL`` before.
        """
        # Here, so that a process that reads no lake loads no compiler.
        from features.loops import carry, gathered

        low, high = (int(k) for k in np.searchsorted(self.session, [first, last + 1]))
        rows = low + np.flatnonzero(self.versions.current(cut, slice(low, high)))
        place = np.full(self.dense["cash_amt"].shape[1], -1, dtype=np.int64)
        place[accounts] = np.arange(len(accounts))
        column = place[self.account[rows]]
        rows, column = rows[column >= 0], column[column >= 0]
        out = []
        for name in BALANCE_COLUMNS:
            block = gathered(self.dense[name], self.base, first, last, accounts, NULL)
            block[self.session[rows] - first, column] = self.values[name][rows]
            out.append(block)
        carry(out[0], out[1], out[2], NULL)
        return out[0], out[1], out[2]


def load_balances(root: Path, names: Names, bucket: int | None) -> Balances:
    """Read the balances of a lake."""
    # Here, so that a process that reads no lake loads no compiler.
    from features.tallies.held import spread

    wanted = ["account_id", "session", *BALANCE_COLUMNS, "event_at", "known_at"]
    table = read_table(root, "balances", bucket=bucket, columns=wanted, coded=["account_id"])
    account = encode(table["account_id"], names.accounts, "balances.account_id")
    session = session_codes(dates(table["session"]), names.sessions, "balances.session")
    values = {name: integers(table[name]) for name in BALANCE_COLUMNS}
    base = int(session.min()) if len(session) else 0
    shape = (len(names.sessions) - base, len(names.accounts))
    known = timestamps(table["known_at"])
    cash, debt, accrued = values.values()
    blocks, timely = spread(
        account, session, cash, debt, accrued, known, timestamps(table["event_at"]),
        names.cut_offs, base, shape[0], shape[1], NULL,
    )  # fmt: skip
    other = np.flatnonzero(~timely)
    other = other[np.argsort(session[other], kind="stable")]
    # all versions of a balance that is late or was corrected are among these
    key = combine((session[other], len(names.sessions)), (account[other], len(names.accounts)))
    return Balances(
        dense=dict(zip(BALANCE_COLUMNS, blocks, strict=True)),
        base=base,
        account=account[other],
        session=session[other],
        values={name: column[other] for name, column in values.items()},
        versions=find_versions(table.take(pa.array(other)), key),
    )


@dataclass(frozen=True)
class Intervals:
    """Holdings over sessions ``start`` to ``end``, both included; one array a column.

    ``client`` is an index into the book, ``account`` a lake-wide code.
    """

    client: IntArray
    account: IntArray
    symbol: IntArray
    start: IntArray
    end: IntArray
    quantity_shares: IntArray
    cost_amt: IntArray


@dataclass(frozen=True)
class Holdings:
    """Holdings as versioned intervals in order of ``visible_at``.

    Attributes
    ----------
    value : int64 (sessions, accounts), sum of quantity times close over the final versions
    base : session of the first row of ``value``, the first with a holding
    final : for each row the last version of its key
    """

    account: Int32Array
    symbol: Int32Array
    start: Int32Array
    end: Int32Array
    quantity_shares: IntArray
    cost_amt: IntArray
    versions: Versions
    final: IntArray
    close: IntArray
    value: IntArray
    base: int

    def rows(self, first: int, last: int, cut: int) -> IntArray:
        """Rows that count at the cut-off and touch sessions ``first`` to ``last``."""
        seen = int(np.searchsorted(self.versions.visible_at, cut, side="right"))
        counts = self.versions.superseded_at[:seen] > cut
        counts &= self.end[:seen] >= first
        counts &= self.start[:seen] <= last
        return np.flatnonzero(counts)

    def intervals(self, rows: IntArray, client: IntArray) -> Intervals:
        """Some of the rows, widened to int64."""
        return Intervals(
            client,
            self.account[rows].astype(np.int64),
            self.symbol[rows].astype(np.int64),
            self.start[rows].astype(np.int64),
            self.end[rows].astype(np.int64),
            self.quantity_shares[rows],
            self.cost_amt[rows],
        )

    def value_window(
        self, rows: IntArray, accounts: IntArray, first: int, last: int, cut: int
    ) -> IntArray:
        """Sum of quantity times close, in 0.0001, (sessions, accounts), as known at the cut-off.

        ``rows`` is the answer of ``rows`` for the same sessions and cut-off.
        """
        out = window_rows(self.value, self.base, first, last, 0)
        seen = int(np.searchsorted(self.versions.visible_at, cut, side="right"))
        # Added: what counted then and was replaced later. Taken away: what was not known yet.
        added = rows[self.final[rows] != rows]
        final = self.final[added]
        same = (
            (self.quantity_shares[added] == self.quantity_shares[final])
            & (self.start[added] == self.start[final])
            & (np.minimum(self.end[added], last) == np.minimum(self.end[final], last))
        )
        unknown = (self.start[seen:] <= last) & (self.end[seen:] >= first)
        unknown &= self.versions.superseded_at[seen:] == NEVER  # final versions only
        unknown[final[same] - seen] = False
        self._add(out, added[~same], first, last, 1)
        self._add(out, seen + np.flatnonzero(unknown), first, last, -1)
        return out[:, accounts]

    def _add(self, out: IntArray, rows: IntArray, first: int, last: int, sign: int) -> None:
        low = np.maximum(self.start[rows], first).astype(np.int64)
        high = np.minimum(self.end[rows], last).astype(np.int64)
        session, row = expand(low, high)
        price = self.close[session, self.symbol[rows][row]]
        amount = sign * self.quantity_shares[rows][row] * np.where(price == NULL, 0, price)
        np.add.at(out, (session - first, self.account[rows][row]), amount)


def window_rows(dense: IntArray, base: int, first: int, last: int, empty: int) -> IntArray:
    """A copy of sessions ``first`` to ``last`` of an array whose first row is session ``base``."""
    out = np.full((last - first + 1, dense.shape[1]), empty, dtype=np.int64)
    start = max(first, base)
    if start <= last:
        out[start - first :] = dense[start - base : last + 1 - base]
    return out


def expand(low: IntArray, high: IntArray) -> tuple[IntArray, IntArray]:
    """Every session of intervals with both ends included, and the interval it belongs to.

    >>> expand(np.array([3, 8]), np.array([4, 8]))
    (array([3, 4, 8]), array([0, 0, 1]))
    """
    length = np.maximum(high - low + 1, 0)
    row = np.repeat(np.arange(len(low)), length)
    before = np.cumsum(length) - length
    return np.arange(len(row)) - np.repeat(before - low, length), row


def load_holdings(root: Path, panel: PricePanel, names: Names, bucket: int | None) -> Holdings:
    """Read the positions of a lake and value their final versions at every session."""
    wanted = ["account_id", "symbol", "from_session", "to_session", "quantity_shares", "cost_amt"]
    words = ("account_id", "symbol")
    columns = [*wanted, "event_at", "known_at"]
    table = read_table(root, "positions", bucket=bucket, columns=columns, coded=words)
    account = encode(table["account_id"], names.accounts, "positions.account_id")
    symbol = encode(table["symbol"], names.symbols, "positions.symbol")
    start = session_codes(dates(table["from_session"]), names.sessions, "positions.from_session")
    to_session = dates(table["to_session"])
    end = np.full(len(start), OPEN_END, dtype=np.int64)
    closed = is_set(to_session)
    end[closed] = session_codes(to_session[closed], names.sessions, "positions.to_session")
    key = combine(
        (account, len(names.accounts)), (symbol, len(names.symbols)), (start, len(names.sessions))
    )
    versions = find_versions(table, key)
    order = np.argsort(versions.visible_at, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    final = place[final_rows(key, timestamps(table["known_at"]))[order]]
    account, symbol, start, end = account[order], symbol[order], start[order], end[order]
    quantity = integers(table["quantity_shares"])[order]
    last = final == np.arange(len(final))
    base = int(start.min()) if len(start) else 0
    return Holdings(
        account=account.astype(np.int32),
        symbol=symbol.astype(np.int32),
        start=start.astype(np.int32),
        end=end.astype(np.int32),
        quantity_shares=quantity,
        cost_amt=integers(table["cost_amt"])[order],
        versions=versions.take(order),
        final=final,
        close=panel.close,
        value=_value(panel, base, len(names.accounts), last, account, symbol, start, end, quantity),
        base=base,
    )


def _value(
    panel: PricePanel,
    base: int,
    accounts: int,
    last: BoolArray,
    account: IntArray,
    symbol: IntArray,
    start: IntArray,
    end: IntArray,
    quantity: IntArray,
) -> IntArray:
    # Here, so that a process that reads no lake loads no compiler.
    from features.tallies.held import held_value

    sessions = len(panel.sessions) - base
    close = np.ascontiguousarray(np.where(panel.close[base:] == NULL, 0, panel.close[base:]).T)
    rows = np.flatnonzero(last)
    ends = np.minimum(end[rows] - base, sessions - 1)
    blocks = held_value(
        account[rows], symbol[rows], start[rows] - base, ends, quantity[rows], close, accounts
    )
    return np.ascontiguousarray(blocks.T)
