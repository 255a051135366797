"""The full build: every bucket of a lake scanned, several at once, one thread a bucket."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.lake import lake_info, read_table
from data_contracts.units import BoolArray, IntArray
from features.calendar import cut_offs
from features.panel import DateArray
from features.rows import AccountRows, Names, account_rows, read_accounts
from features.tallies.kernel import Int32Array, day_sums
from features.tallies.scan import (
    Fills,
    Scanner,
    UInt64Array,
    name_codes,
    symbols_of,
    trade_files,
)
from features.tallies.values import Tallies

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Calendar:
    """The sessions of a lake and their cut-offs; ``t`` is the session of the build."""

    sessions: DateArray
    cut_offs: IntArray
    t: int

    def digest(self, t: int) -> str:
        """SHA-256 of the sessions up to one."""
        return hashlib.sha256(self.sessions[: t + 1].tobytes()).hexdigest()

    @property
    def cut(self) -> int:
        """The instant whose knowledge counts, microseconds since 1970 UTC."""
        return int(self.cut_offs[self.t])

    @staticmethod
    def read(root: Path, session: dt.date) -> Calendar:
        """The calendar of a lake at one of its sessions.

        Raises
        ------
        InputError
            If the day is no session of the lake.
        """
        days = np.sort(np.asarray(read_table(root, "sessions")["session"]).astype("datetime64[D]"))
        t = int(np.searchsorted(days, np.datetime64(session)))
        if t == len(days) or days[t] != np.datetime64(session):
            within = f"; its sessions run from {days[0]} to {days[-1]}" if len(days) else ""
            raise InputError(f"{session} is no session of the lake{within}")
        return Calendar(days, cut_offs(days, lake_info(root).mic), t)


@dataclass(frozen=True)
class Days:
    """Sums of clients' sessions, by client then session; see ``DAY_COLUMNS``."""

    client: Int32Array
    session: Int32Array
    numbers: IntArray

    @staticmethod
    def of(fills: Fills, rows: IntArray, actor: IntArray, symbols: int, calendar: Calendar) -> Days:
        """Sum the chosen fills; ``actor`` is each account's client, -1 for none."""
        client = actor[fills.account[rows]]
        rows, client = rows[client >= 0], client[client >= 0]
        session = np.searchsorted(calendar.cut_offs, fills.event[rows]).astype(np.int64)
        name = name_codes(fills.account[rows], fills.symbol[rows], symbols)
        values = (name, fills.buy[rows], fills.value[rows], fills.financed[rows])
        return Days(*day_sums(client, session, *values, len(calendar.sessions)))


@dataclass(frozen=True)
class BucketAccounts:
    """Accounts of a bucket as known at a cut-off; clients are positions among ``clients``."""

    accounts: pa.Array
    clients: pa.Array
    actor: IntArray
    rows: AccountRows
    current: IntArray

    @staticmethod
    def read(root: Path, bucket: int, calendar: Calendar) -> BucketAccounts:
        """Read the accounts of a bucket."""
        table = read_accounts(root, bucket)
        names = Names(
            accounts=_ascending(table["account_id"]),
            clients=_ascending(table["client_id"]),
            symbols=pa.array([], pa.string()),
            sessions=calendar.sessions,
            cut_offs=calendar.cut_offs,
        )
        rows = account_rows(table, names)
        current = np.flatnonzero(rows.versions.current(calendar.cut))
        opened = current[rows.opened_on[current] <= calendar.sessions[calendar.t]]
        actor = np.full(len(names.accounts), -1, dtype=np.int64)
        actor[rows.account[opened]] = rows.client[opened]
        return BucketAccounts(names.accounts, names.clients, actor, rows, current)

    def listed(self, calendar: Calendar) -> BoolArray:
        """Clients with an open account."""
        day, rows = calendar.sessions[calendar.t], self.current
        still = (self.rows.opened_on[rows] <= day) & ~(self.rows.closed_on[rows] <= day)
        out = np.zeros(len(self.clients), dtype=bool)
        out[self.rows.client[rows[still]]] = True
        return out


def _ascending(column: pa.ChunkedArray) -> pa.Array:
    unique = pc.unique(column)
    return unique.take(pc.sort_indices(unique))


@dataclass(frozen=True)
class BucketTallies:
    """What a bucket's clients add up to; ``days`` and ``ids`` only where a state is kept.

    ``shared`` are numbers of accounts that share a trade with another, see ``Fills``.
    """

    accounts: BucketAccounts
    listed: BoolArray
    tallies: Tallies
    days: Days | None
    ids: UInt64Array | None
    shared: pa.Array


def tally_bucket(
    root: Path, bucket: int, calendar: Calendar, scanner: Scanner, symbols: int, keep: bool
) -> BucketTallies:
    """Scan one bucket."""
    accounts = BucketAccounts.read(root, bucket, calendar)
    fills = scanner.read(trade_files(root, bucket), accounts.accounts, calendar.cut)
    rows = fills.current(calendar.cut)
    days = Days.of(fills, rows, accounts.actor, symbols, calendar)
    tallies = Tallies.empty(len(accounts.clients), calendar.t)
    tallies.add(days.client, days.session, days.numbers)
    return BucketTallies(
        accounts,
        accounts.listed(calendar),
        tallies,
        days if keep else None,
        np.sort(fills.ids) if keep else None,
        accounts.accounts.take(pa.array(fills.shared)),
    )


@dataclass(frozen=True)
class LakeTallies:
    """The tallies of all listed clients, by bucket then client number."""

    session: dt.date
    client_ids: pa.Array
    tallies: Tallies


def tally_buckets(
    root: Path,
    calendar: Calendar,
    threads: int,
    *,
    keep: bool = False,
    progress: Progress | None = None,
) -> list[BucketTallies]:
    """Scan every bucket of a lake.

    The answer does not depend on ``threads``: a bucket is one thread's, and buckets share nothing.
    """
    symbols, buckets = symbols_of(root), lake_info(root).buckets
    idle: SimpleQueue[Scanner] = SimpleQueue()
    scanners = [Scanner(symbols) for _ in range(max(1, min(threads, buckets)))]
    for scanner in scanners:
        idle.put(scanner)

    def one(bucket: int) -> BucketTallies:
        scanner = idle.get()
        try:
            return tally_bucket(root, bucket, calendar, scanner, len(symbols), keep)
        finally:
            idle.put(scanner)

    out = []
    try:
        with ThreadPoolExecutor(len(scanners)) as pool:
            for done in pool.map(one, range(buckets)):
                out.append(done)
                if progress:
                    progress(len(out), buckets)
    finally:
        for scanner in scanners:
            scanner.close()
    return out


def gather(session: dt.date, parts: list[BucketTallies]) -> LakeTallies:
    """The listed clients of all buckets, one after the other."""
    tallies = [part.tallies.take(np.flatnonzero(part.listed)) for part in parts]
    ids = [part.accounts.clients.filter(pa.array(part.listed)) for part in parts]
    joined = Tallies(
        tallies[0].t,
        np.concatenate([x.sums for x in tallies]),
        np.concatenate([x.decayed for x in tallies]),
        np.concatenate([x.last for x in tallies]),
    )
    return LakeTallies(session, pa.concat_arrays(ids), joined)


def tally_lake(
    root: Path, session: dt.date, threads: int = 1, progress: Progress | None = None
) -> LakeTallies:
    """The full build of a lake's tallies at a session."""
    calendar = Calendar.read(root, session)
    return gather(session, tally_buckets(root, calendar, threads, progress=progress))
