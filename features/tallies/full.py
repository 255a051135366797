"""The full build: every bucket of a lake scanned, several at once, one thread a bucket."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.lake import lake_info, read_table, refuse_stopped
from data_contracts.units import BoolArray, IntArray
from features.calendar import cut_offs
from features.panel import DateArray
from features.rows import AccountRows, Names, account_rows, read_accounts
from features.tallies.days import Days, DaySegment, days_of
from features.tallies.fills import FillSegment, repeated, shared_accounts
from features.tallies.scan import Fills, Scanner, symbols_of, text_codes, trade_files
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
class Kept:
    """What a state keeps of a bucket; accounts and clients are positions in the bucket.

    ``shared`` are pairs of accounts that share a trade.
    """

    fills: FillSegment
    days: DaySegment
    shared: IntArray


@dataclass(frozen=True)
class BucketTallies:
    """What a bucket's clients add up to; ``kept`` only where a state is kept."""

    accounts: BucketAccounts
    listed: BoolArray
    tallies: Tallies
    kept: Kept | None


def tally_bucket(
    root: Path,
    bucket: int,
    calendar: Calendar,
    scanner: Scanner,
    symbols: int,
    files: Sequence[Path],
    keep: bool,
) -> BucketTallies:
    """Scan one bucket."""
    accounts = BucketAccounts.read(root, bucket, calendar)
    fills = scanner.read(files, accounts.accounts, calendar.cut, keep)
    rows = fills.current(calendar.cut)
    days = days_of(fills, rows, accounts.actor, symbols, calendar.cut_offs)
    tallies = Tallies.empty(len(accounts.clients), calendar.t)
    tallies.add(days.client, days.session, days.numbers)
    kept = _kept(fills, days, len(calendar.sessions)) if keep else None
    return BucketTallies(accounts, accounts.listed(calendar), tallies, kept)


def _kept(fills: Fills, days: Days, sessions: int) -> Kept:
    if fills.trade_ids is None or fills.source is None:
        raise ValueError("a state is kept of fills that were read with keep")
    some = np.zeros(len(fills.ids), dtype=np.int64)
    segment = FillSegment.of(
        fills, fills.known, fills.source, fills.trade_ids, fills.ids, some, buckets=1
    )
    rows = repeated(fills.ids)
    key = text_codes(fills.trade_ids.take(pa.array(rows)))
    shared = shared_accounts(key, fills.account[rows])
    return Kept(segment, DaySegment.of([(days, 1)], sessions), shared)


@dataclass(frozen=True)
class LakeTallies:
    """The tallies of all listed clients, by bucket then client number."""

    session: dt.date
    client_ids: pa.Array
    tallies: Tallies

    @staticmethod
    def gather(session: dt.date, parts: Sequence[BucketTallies]) -> LakeTallies:
        """The listed clients of all buckets, one after the other."""
        listed = [np.flatnonzero(part.listed) for part in parts]
        ids = [part.accounts.clients.filter(pa.array(part.listed)) for part in parts]
        tallies = [part.tallies.take(rows) for part, rows in zip(parts, listed, strict=True)]
        return LakeTallies(session, pa.concat_arrays(ids), Tallies.together(tallies))


def tally_buckets(
    root: Path,
    calendar: Calendar,
    threads: int,
    *,
    keep: Sequence[Sequence[Path]] | None = None,
    progress: Progress | None = None,
) -> Iterator[BucketTallies]:
    """Scan every bucket of a lake; the answers come in the order of the buckets.

    ``keep`` asks for what a state keeps, and names the trade files of each bucket. The answers do
    not depend on ``threads``: a bucket is one thread's, and buckets share nothing. Few buckets are
    in memory at once.
    """
    symbols, buckets = symbols_of(root), lake_info(root).buckets
    idle: SimpleQueue[Scanner] = SimpleQueue()
    scanners = [Scanner(symbols) for _ in range(max(1, min(threads, buckets)))]
    for scanner in scanners:
        idle.put(scanner)

    def one(bucket: int) -> BucketTallies:
        scanner = idle.get()
        try:
            files = trade_files(root, bucket) if keep is None else keep[bucket]
            return tally_bucket(
                root, bucket, calendar, scanner, len(symbols), files, keep is not None
            )
        finally:
            idle.put(scanner)

    try:
        with ThreadPoolExecutor(len(scanners)) as pool:
            ahead = len(scanners) + 2
            running = deque(pool.submit(one, bucket) for bucket in range(min(ahead, buckets)))
            for bucket in range(buckets):
                done = running.popleft().result()
                if bucket + ahead < buckets:
                    running.append(pool.submit(one, bucket + ahead))
                yield done
                if progress:
                    progress(bucket + 1, buckets)
    finally:
        for scanner in scanners:
            scanner.close()


def tally_lake(
    root: Path, session: dt.date, threads: int = 1, progress: Progress | None = None
) -> LakeTallies:
    """The full build of a lake's tallies at a session.

    Raises
    ------
    InputError
        If the last check stopped the lake, or the day is no session of it.
    """
    refuse_stopped(root)
    calendar = Calendar.read(root, session)
    parts = list(tally_buckets(root, calendar, threads, progress=progress))
    return LakeTallies.gather(session, parts)
