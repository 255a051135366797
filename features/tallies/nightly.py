"""The nightly build: a state of an earlier session, and only what was learned since.

New fills of new sessions are added, sessions that left a window are taken out. A client is summed
again from all its fills, which the state keeps beside the lake, if one of them is late, corrected
or delivered again, or if an account came or changed hands: then what was counted for it before is
replaced. Either way the sums are those of a full build, integer for integer. A night so costs what
its own rows cost, and one pass over the sums.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.lake import lake_info, refuse_stopped
from data_contracts.units import BoolArray, IntArray
from features.tallies.base import build_with_state, with_latest
from features.tallies.days import Days, DaySegment, days_of
from features.tallies.fills import (
    FillRows,
    FillSegment,
    pairs_of,
    repeated,
    shared_accounts,
    with_partners,
)
from features.tallies.full import BucketAccounts, Calendar, LakeTallies
from features.tallies.kernel import WINDOWS
from features.tallies.registry import NOBODY, Registry
from features.tallies.scan import (
    EVER,
    Delivered,
    Scanner,
    source_code,
    symbols_of,
    unknown,
)
from features.tallies.state import (
    WAY_OUT,
    Files,
    Held,
    Segment,
    State,
    new_folder,
    only_build,
    read_state,
    write_state,
)
from features.tallies.values import NO_SESSION, Tallies

__all__ = ["Advanced", "advance", "build_with_state"]

CLIENTS_AT_ONCE: Final = 20_000
"""Clients summed again together; bounds the memory of a night after a large re-delivery."""
JOINED: Final = 16
"""So many segments of equally many nights become one, so that there never are many."""


@dataclass(frozen=True)
class Advanced:
    """What a nightly build answers: the tallies, and how much it had to look at."""

    lake: LakeTallies
    new_rows: int
    rebuilt: int


def advance(
    root: Path,
    session: dt.date,
    since: dt.date,
    threads: int = 1,
    meanwhile: Callable[[LakeTallies], object] | None = None,
) -> Advanced:
    """The tallies at a session from the state of an earlier one; leaves the state of this one.

    ``meanwhile`` is called with the tallies while the state goes to the disk; it is not for what
    must not be done before that is there.

    Raises
    ------
    InputError
        If there is no such state or it does not fit the lake any more, or is not earlier.
    """
    refuse_stopped(root)
    # A connection takes its time to come; what does not need it goes on beside it.
    with ThreadPoolExecutor(max(threads, 1)) as pool, Scanner.soon(pool, threads) as scanner:
        calendar = Calendar.read(root, session)
        with only_build(root):
            state = read_state(root, since)
            if state.tallies.t >= calendar.t:
                raise InputError(
                    f"--since is {since}, which is not before {session}; give an earlier one"
                )
            if calendar.digest(state.tallies.t) != state.calendar:
                raise InputError(
                    f"the sessions up to {since} changed since its state was written; {WAY_OUT}"
                )
            trades, places = _trade_files(state)
            after = [state.cut if k < len(state.trades.names) else EVER for k in places]
            reading = pool.submit(
                lambda: scanner().delivered(
                    [root / trades.names[k] for k in places], after, calendar.cut
                )
            )
            registry, accounts = _registry(state, calendar)
            new = reading.result()
            trades.latest[places] = new.latest
            coded = _coded(root, registry, new, places)
            night = _Night(state, calendar, registry, trades, coded, pool, threads)
            rebuilt = night.run()
            written = night.state(accounts, rebuilt)
            lake = written.lake_tallies(calendar)
            writing = pool.submit(write_state, written, new_folder(root, session))
            if meanwhile is not None:
                meanwhile(lake)
            writing.result()
    return Advanced(lake, len(new.ids), len(rebuilt.clients))


def _trade_files(state: State) -> tuple[Files, list[int]]:
    """All trade files by number, and the numbers of those with rows that are not counted yet."""
    now = Files.listed(state.root, "trades")
    found, counted = now.stamps(), state.trades.stamps()
    for name, stamp in counted.items():
        if found.get(name) != stamp:
            what = "was changed" if name in found else "is gone"
            raise InputError(
                f"{name} was counted in the feature state of {state.session} and {what} since;"
                f" {WAY_OUT}"
            )
    fresh = [k for k, name in enumerate(now.names) if name not in counted]
    still = np.flatnonzero(state.trades.latest > state.cut).tolist()
    files = state.trades.followed_by(now.take(fresh))
    return files, still + list(range(len(counted), len(files.names)))


def _registry(state: State, calendar: Calendar) -> tuple[Registry, Files]:
    """The registry with the accounts of buckets whose files changed, and the files now."""
    now, before = Files.listed(state.root, "accounts"), state.accounts
    stamps, then = now.stamps(), before.stamps()
    latest = dict(zip(before.names, before.latest.tolist(), strict=True))
    same = [
        k for k, name in enumerate(now.names) if then.get(name) == stamps[name]
    ]  # their statistics need not be read again
    other = sorted(set(range(len(now.names))) - set(same))
    for k in same:
        now.latest[k] = latest[now.names[k]]
    if other:
        now.latest[other] = with_latest(state.root, now.take(other)).latest
    gone = {name for name in then if name not in stamps}
    buckets = {_bucket(name) for name in gone | {now.names[k] for k in other}}
    buckets |= {_bucket(now.names[k]) for k in same if now.latest[k] > state.cut}
    read = (
        (bucket, BucketAccounts.read(state.root, bucket, calendar)) for bucket in sorted(buckets)
    )
    return state.registry.with_buckets(read), now


def _bucket(name: str) -> int:
    return int(name.split("/")[1].removeprefix("bucket="))


@dataclass(frozen=True)
class _New:
    """The fills of a night in the registry's codes."""

    registry: Registry
    fills: Delivered


def _coded(root: Path, registry: Registry, new: Delivered, places: list[int]) -> _New:
    """Accounts and symbols of new fills as codes, files by number."""
    account = registry.accounts_of(new.account_ids, new.bucket)
    if (account < 0).any():
        wrong = int(np.flatnonzero(account < 0)[0])
        raise unknown("account_id", new.account_ids[wrong].as_py())
    symbols = new.symbols.cast(pa.large_string())
    found = pc.index_in(symbols, value_set=registry.symbols)
    if found.null_count:
        listed = symbols_of(root).cast(pa.large_string())
        wrong = symbols.filter(pc.invert(pc.is_in(symbols, value_set=listed)))
        if len(wrong):
            raise unknown("symbol", wrong[0].as_py())
        more = listed.filter(pc.invert(pc.is_in(listed, value_set=registry.symbols)))
        registry = replace(registry, symbols=pa.concat_arrays([registry.symbols, more]))
        found = pc.index_in(symbols, value_set=registry.symbols)
    code = np.asarray(found).astype(np.int64)
    file = np.asarray(places, dtype=np.int64)[new.source >> 32] if len(places) else new.source
    return _New(
        registry,
        replace(
            new,
            columns=replace(new.columns, account=account, symbol=code[new.columns.symbol]),
            source=source_code(file, new.source & 0xFFFFFFFF),
        ),
    )


@dataclass(frozen=True)
class _Rebuilt:
    """Clients summed again: now, and as they were counted; accounts found to share a trade."""

    clients: IntArray
    after: Days
    before: Days
    shared: IntArray


class _Night:
    """One night's work on a state, with the registry and the files of now."""

    def __init__(
        self,
        state: State,
        calendar: Calendar,
        registry: Registry,
        trades: Files,
        new: _New,
        pool: Executor,
        threads: int,
    ) -> None:
        self.threads = threads
        self.before, self.calendar, self.trades = state, calendar, trades
        self.registry, self.new = new.registry, new.fills
        self.t, self.t0 = calendar.t, state.tallies.t
        self.day, self.day0 = calendar.sessions[self.t], calendar.sessions[self.t0]
        self.actor = self.registry.actor(self.day)
        more = len(self.actor) - len(state.registry.client)
        self.was = np.concatenate(
            [state.registry.actor(self.day0), np.full(more, NOBODY, dtype=np.int64)]
        )
        self.changed = registry.changed_since(state.registry, calendar, self.day0)
        n = self.new
        buckets = lake_info(state.root).buckets
        # Put in order while it is found out who has to be summed again.
        self.ordered = pool.submit(
            FillSegment.of, n.columns, n.known, n.source, n.trade_ids, n.ids, n.bucket, buckets
        )
        self.rank = trades.rank()

    @property
    def fills(self) -> FillSegment:
        """The fills of the night, by account."""
        return self.ordered.result()

    def run(self) -> _Rebuilt:
        """Sum again whoever has to be, and add what is new of all others."""
        touched, pairs = self.touched()
        rebuilt = self.rebuild(np.flatnonzero(touched), pairs)
        client = self.actor[self.new.columns.account]
        mine = np.flatnonzero((client >= 0) & ~touched[client])
        self.days = days_of(
            self.new.columns, mine, self.actor, len(self.registry.symbols), self.calendar.cut_offs
        )
        self.tallies = self.summed(rebuilt)
        return rebuilt

    def touched(self) -> tuple[BoolArray, IntArray]:
        """Clients to be summed again, and pairs of accounts that may share a trade."""
        new, registry = self.new, self.registry
        account = new.columns.account
        session = np.searchsorted(self.calendar.cut_offs, new.columns.event)
        again = session <= self.t0
        twice = repeated(new.ids)
        twice = twice[np.lexsort((new.ids[twice], new.bucket[twice]))]
        left, right = twice[:-1], twice[1:]
        same = (new.ids[left] == new.ids[right]) & (new.bucket[left] == new.bucket[right])
        left, right = left[same], right[same]
        again[left] = again[right] = True
        pairs = [registry.shared, pairs_of(account[left], account[right])]
        owners = [self.changed]
        for segment in self.before.segments:
            rows, old = segment.fills.find(new.ids, new.bucket, self.threads)
            again[rows] = True
            pairs.append(pairs_of(account[rows], old))
            owners += [self.actor[old], self.was[old]]
        owners.append(self.actor[account[again]])
        owners.append(self.was[account[again]])
        out = np.zeros(len(registry.client_ids), dtype=bool)
        for some in owners:
            out[some[some >= 0]] = True
        return out, np.concatenate(pairs)

    def rebuild(self, clients: IntArray, pairs: IntArray) -> _Rebuilt:
        """All fills of some clients, summed as known now and as they were counted."""
        after, before = [Days.nothing()], [Days.nothing()]
        shared = [np.zeros((0, 2), dtype=np.int64)]
        segments = [segment.fills for segment in self.before.segments]
        for start in range(0, len(clients), CLIENTS_AT_ONCE):
            some = np.zeros(len(self.registry.client_ids) + 1, dtype=bool)  # the last is nobody's
            some[clients[start : start + CLIENTS_AT_ONCE]] = True
            chosen = with_partners(some[self.actor] | some[self.was], pairs)
            accounts = np.flatnonzero(chosen)
            old = FillRows.together([segment.take(accounts) for segment in segments])
            rows = FillRows.together([old, self.fills.take(accounts)])
            key = rows.keys(self.registry.account_bucket)
            columns, everything = rows.columns(), np.arange(len(rows.account))
            for out, among, cut, owner in (
                (after, everything, self.calendar.cut, self.actor),
                (before, everything[: len(old.account)], self.before.cut, self.was),
            ):
                count = rows.current(key, self.rank, among, cut)
                mine = np.where(some[owner], owner, NOBODY)
                out.append(
                    days_of(
                        columns, count, mine, len(self.registry.symbols), self.calendar.cut_offs
                    )
                )
            shared.append(shared_accounts(key, rows.account))
        return _Rebuilt(
            clients, Days.together(after), Days.together(before), np.concatenate(shared)
        )

    def summed(self, rebuilt: _Rebuilt) -> Tallies:
        """The sums of all clients at the new session."""
        then, clients = self.before.tallies, len(self.registry.client_ids)
        out = replace(then, t=self.t)  # its arrays were read for this and nobody else has them
        if clients > len(then.last):
            out = Tallies.together([out, Tallies.empty(clients - len(then.last), self.t)])
        for window, length in enumerate(WINDOWS):
            left = range(self.t0 - length + 1, self.t - length + 1)
            for segment in self.before.segments:
                segment.days.take_out(left, out.sums[window])
        out.add(self.days.client, self.days.session, self.days.numbers)
        out.sums[:, :, rebuilt.clients] = 0
        out.decayed[rebuilt.clients] = 0.0
        out.last[rebuilt.clients] = NO_SESSION
        out.add(rebuilt.after.client, rebuilt.after.session, rebuilt.after.numbers)
        return out

    def state(self, accounts: Files, rebuilt: _Rebuilt) -> State:
        """The state of the new session."""
        before = self.before
        days = [(self.days, 1), (rebuilt.after, 1), (rebuilt.before, -1)]
        segment = Segment(self.fills, DaySegment.of(days, len(self.calendar.sessions)), nights=1)
        segments, held = (*before.segments, segment), (*before.held.segments, None)
        while len(segments) > JOINED and len({s.nights for s in segments[-JOINED:]}) == 1:
            if segments[-1].nights == 0:
                break
            joined = Segment.together(segments[-JOINED:])
            segments, held = (*segments[:-JOINED], joined), (*held[:-JOINED], None)
        registry = self.registry
        if len(rebuilt.shared):
            registry = registry.with_shared(rebuilt.shared)
            if len(registry.shared) == len(before.registry.shared):
                registry = self.registry
        return State(
            root=before.root,
            session=self.day.item(),
            cut=self.calendar.cut,
            calendar=self.calendar.digest(self.t),
            trades=self.trades,
            accounts=accounts,
            registry=registry,
            tallies=self.tallies,
            segments=segments,
            held=Held(before.held.registry if registry is before.registry else None, held),
        )
