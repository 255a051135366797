"""The nightly build: a state of an earlier session, and only what was learned since.

New fills of new sessions are added, sessions that left a window are taken out. A client is rebuilt
from all its fills if one of them is late, corrected or delivered again, or if an account came or
changed hands: then what was counted for it before is replaced. Either way the sums are those of a
full build, integer for integer.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.lake import table_files
from data_contracts.units import IntArray
from features.tallies.changed import AccountChanges, account_changes
from features.tallies.full import (
    Calendar,
    Days,
    LakeTallies,
    Progress,
    gather,
    tally_buckets,
)
from features.tallies.kernel import DAY_COLUMNS, WINDOWS, take_days
from features.tallies.scan import NewFills, Scanner, UInt64Array, symbols_of, trade_files
from features.tallies.state import Night, State, read_state, stamp, write_base, write_state
from features.tallies.values import NO_SESSION, Tallies

CLIENTS_AT_ONCE: Final = 20_000
"""Clients rebuilt together; bounds the memory of a night after a large re-delivery."""


@dataclass(frozen=True)
class Advanced:
    """What a nightly build answers: the tallies, and how much of the lake it had to look at."""

    lake: LakeTallies
    new_rows: int
    rebuilt: int


def build_with_state(
    root: Path, session: dt.date, threads: int = 1, progress: Progress | None = None
) -> LakeTallies:
    """A full build that leaves a state for the next night."""
    calendar = Calendar.read(root, session)
    parts = tally_buckets(root, calendar, threads, keep=True, progress=progress)
    clients, bucket, accounts, tallies = write_base(root, session, parts, len(calendar.sessions))
    state = State(
        root=root,
        session=session,
        cut=calendar.cut,
        calendar=calendar.digest(calendar.t),
        files={},
        client_ids=clients,
        bucket=bucket,
        accounts=accounts,
        shared=pa.concat_arrays([part.shared for part in parts]),
        tallies=tallies,
        base=session.isoformat(),
        nights=(),
    )
    write_state(replace(state, files=_counted(state, {})), None)
    return gather(session, parts)


def _counted(state: State, before: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Files whose rows are all known by the state's cut-off and need not be opened again."""
    out: dict[str, tuple[int, int]] = {}
    for table in ("trades", "accounts"):
        for path in table_files(state.root, table):
            name, found = stamp(state.root, path)
            if before.get(name) == found or _latest(path) <= state.cut:
                out[name] = found
    return out


def _latest(path: Path) -> int:
    """The last instant at which a row of a file becomes visible, from its statistics."""
    latest = 0
    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        names = [metadata.schema.column(k).path for k in range(metadata.num_columns)]
        for name in ("event_at", "known_at"):
            for group in range(metadata.num_row_groups):
                found = metadata.row_group(group).column(names.index(name)).statistics
                if found is None or not found.has_min_max:
                    return int(np.iinfo(np.int64).max)
                instant = np.datetime64(found.max.replace(tzinfo=None), "us")
                latest = max(latest, int(instant.astype(np.int64)))
    return latest


def advance(root: Path, session: dt.date, since: dt.date, threads: int = 1) -> Advanced:
    """The tallies at a session from the state of an earlier one; leaves the state of this one.

    Raises
    ------
    InputError
        If there is no such state, it is not earlier, or the calendar before it changed.
    """
    state, calendar = read_state(root, since), Calendar.read(root, session)
    t0 = state.tallies.t
    if t0 >= calendar.t:
        raise InputError(f"--since is {since}, which is not before {session}; give an earlier one")
    if calendar.digest(t0) != state.calendar:
        raise InputError(
            f"the sessions up to {since} changed since its state was written; leave --since out"
            " for a full build"
        )
    changes = account_changes(state, calendar)
    state = changes.state
    symbols = symbols_of(root)
    files = _new_files(state)
    scanner = Scanner(symbols, threads)
    try:
        new = scanner.new(files, state.cut, calendar.cut)
        return _Night(state, calendar, changes, new, scanner, len(symbols), files).run()
    finally:
        scanner.close()


def _new_files(state: State) -> list[Path]:
    out = []
    for path in table_files(state.root, "trades"):
        name, found = stamp(state.root, path)
        if state.files.get(name) != found:
            out.append(path)
    return out


class _Night:
    """One night's work, from a state whose accounts are up to date."""

    def __init__(
        self,
        state: State,
        calendar: Calendar,
        changes: AccountChanges,
        new: NewFills,
        scanner: Scanner,
        symbols: int,
        files: list[Path],
    ) -> None:
        self.state, self.calendar, self.changes = state, calendar, changes
        self.new, self.scanner, self.symbols, self.files = new, scanner, symbols, files
        self.clients = len(state.client_ids)
        self.beside: pa.Array = state.shared
        found = pc.index_in(new.account_ids, value_set=state.accounts.account_ids)
        self.account = np.asarray(found.fill_null(-1)).astype(np.int64)

    def run(self) -> Advanced:
        state, calendar, new = self.state, self.calendar, self.new
        t0, t = state.tallies.t, calendar.t
        actor = self.actor(calendar.sessions[t])
        client = np.where(self.account >= 0, actor[self.account], -1)
        session = np.searchsorted(calendar.cut_offs, new.event).astype(np.int64)
        order = np.argsort(new.ids, kind="stable")
        again = np.zeros(len(order), dtype=bool)
        same = np.flatnonzero(new.ids[order][1:] == new.ids[order][:-1])
        again[order[same]] = again[order[same + 1]] = True
        seen = state.seen(new.ids, new.bucket)
        touched = np.zeros(self.clients, dtype=bool)
        touched[self.changes.touched] = True
        touched[client[(client >= 0) & ((session <= t0) | again | seen)]] = True
        self.beside = pc.unique(
            pa.concat_arrays([state.shared, new.account_ids.filter(pa.array(again | seen))])
        )
        found = self.rebuild(np.flatnonzero(touched), actor)
        lost = ~np.isin(new.ids[seen], found.ids_before)
        if lost.any():  # the fill was another client's before
            touched[self.owners(new.ids[seen][lost], new.bucket[seen][lost])] = True
            found = self.rebuild(np.flatnonzero(touched), actor)

        then = state.tallies
        tallies = Tallies(t, then.sums.copy(), then.decayed.copy(), then.last.copy())
        for window, length in enumerate(WINDOWS):
            for who, numbers, count in state.leaving(range(t0 - length + 1, t - length + 1)):
                take_days(who, numbers, count, window, tallies.sums)
        mine = np.flatnonzero((client >= 0) & ~touched[client])
        days = Days.of(new.fills(self.account), mine, actor, self.symbols, calendar)
        tallies.add(days.client, days.session, days.numbers)

        rebuilt, after, before = np.flatnonzero(touched), found.after, found.before
        tallies.sums[rebuilt] = 0
        tallies.decayed[rebuilt] = 0.0
        tallies.last[rebuilt] = NO_SESSION
        tallies.add(after.client, after.session, after.numbers)
        parts = [(days, 1), (after, 1), (before, -1)]
        night = Night(
            client=np.concatenate([d.client for d, _ in parts]),
            session=np.concatenate([d.session for d, _ in parts]),
            numbers=np.concatenate([d.numbers * sign for d, sign in parts]),
            count=np.concatenate([np.full(len(d.client), s, dtype=np.int8) for d, s in parts]),
            ids=new.ids,
            id_bucket=new.bucket,
        )
        name = calendar.sessions[t].item()
        written = replace(
            state,
            session=name,
            cut=calendar.cut,
            calendar=calendar.digest(t),
            shared=pc.unique(pa.concat_arrays([state.shared, found.shared])),
            tallies=tallies,
            nights=(*state.nights, name.isoformat()),
        )
        write_state(replace(written, files=self.counted()), night)
        return Advanced(written.lake_tallies(calendar), len(new.ids), len(rebuilt))

    def counted(self) -> dict[str, tuple[int, int]]:
        """The files counted before, and the new ones if all of their rows are known by now."""
        out = dict(self.state.files)
        if not self.new.more_to_come:
            out |= dict(stamp(self.state.root, path) for path in self.files)
        for path in table_files(self.state.root, "accounts"):
            name, found = stamp(self.state.root, path)
            if out.get(name) != found and _latest(path) <= self.calendar.cut:
                out[name] = found
        return out

    def actor(self, day: np.datetime64) -> IntArray:
        """The client of each account that is opened by a day."""
        accounts = self.state.accounts
        return np.where(accounts.opened_on <= day, accounts.client, -1)

    def rebuild(self, clients: IntArray, actor: IntArray) -> _Rebuilt:
        """All fills of some clients, summed as known now and as known at the state's cut-off."""
        parts = [_Rebuilt.nothing()]
        old, before = self.changes.before, self.state.session
        was = np.where(old.opened_on <= np.datetime64(before), old.client, -1)
        for start in range(0, len(clients), CLIENTS_AT_ONCE):
            some = clients[start : start + CLIENTS_AT_ONCE]
            ids = [
                accounts.account_ids.filter(pa.array(np.isin(accounts.client, some)))
                for accounts in (self.state.accounts, old)
            ]
            names = pc.unique(pa.concat_arrays([*ids, self.beside]))
            names = names.take(pc.sort_indices(names))
            buckets = np.unique(self.state.bucket[some]).tolist()
            files = [path for b in buckets for path in trade_files(self.state.root, b)]
            if not files or not len(names):
                continue
            fills = self.scanner.read_accounts(files, names, self.calendar.cut)
            sums: list[Days] = []
            mine = np.zeros(0, dtype=np.int64)
            for cut, accounts, owner in (
                (self.calendar.cut, self.state.accounts, actor),
                (self.state.cut, old, was),
            ):
                place = pc.index_in(names, value_set=accounts.account_ids)
                place = np.asarray(place.fill_null(-1)).astype(np.int64)
                mine = np.where(place >= 0, owner[place], -1)
                mine[~np.isin(mine, some)] = -1
                rows = fills.current(cut)
                sums.append(Days.of(fills, rows, mine, self.symbols, self.calendar))
            known = fills.ids[(fills.visible <= self.state.cut) & (mine[fills.account] >= 0)]
            shared = names.take(pa.array(fills.shared))
            parts.append(_Rebuilt(sums[0], sums[1], known, shared))
        return _Rebuilt.together(parts)

    def owners(self, ids: UInt64Array, bucket: IntArray) -> IntArray:
        """Clients to whom some trade numbers belonged at the state's cut-off, by full scan."""
        files = [p for b in np.unique(bucket).tolist() for p in trade_files(self.state.root, b)]
        accounts = self.scanner.accounts_of(files, ids, self.state.cut)
        old = self.changes.before
        place = np.asarray(pc.index_in(accounts, value_set=old.account_ids).drop_null())
        return np.unique(old.client[place])


@dataclass(frozen=True)
class _Rebuilt:
    """Sums of rebuilt clients now and before, and hashes of the trade numbers known before."""

    after: Days
    before: Days
    ids_before: UInt64Array
    shared: pa.Array

    @staticmethod
    def nothing() -> _Rebuilt:
        none = np.zeros(0, dtype=np.int32)
        days = Days(none, none, np.zeros((0, len(DAY_COLUMNS)), dtype=np.int64))
        return _Rebuilt(days, days, np.zeros(0, dtype=np.uint64), pa.array([], pa.string()))

    @staticmethod
    def together(parts: list[_Rebuilt]) -> _Rebuilt:
        def join(days: list[Days]) -> Days:
            return Days(
                np.concatenate([d.client for d in days]),
                np.concatenate([d.session for d in days]),
                np.concatenate([d.numbers for d in days]),
            )

        return _Rebuilt(
            join([p.after for p in parts]),
            join([p.before for p in parts]),
            np.concatenate([p.ids_before for p in parts]),
            pa.concat_arrays([p.shared for p in parts]),
        )
