"""Accounts that came, closed or changed hands since a state."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.lake import lake_info, table_files
from data_contracts.units import IntArray
from features.tallies.full import BucketAccounts, Calendar
from features.tallies.state import AccountState, State, stamp
from features.tallies.values import Tallies


@dataclass(frozen=True)
class AccountChanges:
    """The state with its accounts brought up to date, the accounts before, clients to rebuild."""

    state: State
    before: AccountState
    touched: IntArray


def account_changes(state: State, calendar: Calendar) -> AccountChanges:
    """Read the buckets whose account files changed since the state.

    A client is to be rebuilt if one of its accounts is new, became another client's, or opened
    since: fills of an account count from then on.
    """
    before = state.accounts
    for bucket in range(lake_info(state.root).buckets):
        stamps = dict(stamp(state.root, p) for p in table_files(state.root, "accounts", bucket))
        if any(state.files.get(name) != found for name, found in stamps.items()):
            state = _with_bucket(state, bucket, BucketAccounts.read(state.root, bucket, calendar))
    now = state.accounts
    place = pc.index_in(now.account_ids, value_set=before.account_ids)
    place = np.asarray(place.fill_null(-1)).astype(np.int64) if now is not before else None
    day, day_before = calendar.sessions[calendar.t], np.datetime64(state.session)
    opened = now.client[(now.opened_on <= day) & (now.opened_on > day_before)]
    touched = [opened]
    if place is not None:
        old = np.where(place >= 0, before.client[place], -1)
        opened_then = np.where(
            place >= 0, before.opened_on[place], np.datetime64("NaT", "D")
        )  # an account whose opening day was corrected
        changed = (old != now.client) | (opened_then != now.opened_on)
        gone = ~np.isin(np.arange(len(before.client)), place)
        touched += [old[changed & (old >= 0)], now.client[changed], before.client[gone]]
    return AccountChanges(state, before, np.unique(np.concatenate(touched)))


def _with_bucket(state: State, bucket: int, read: BucketAccounts) -> State:
    """The state with the accounts of one bucket as they are known now; new clients come last."""
    known = pc.index_in(read.clients, value_set=state.client_ids)
    code = np.asarray(known.fill_null(-1)).astype(np.int64)
    fresh = np.flatnonzero(code < 0)
    code[fresh] = len(state.client_ids) + np.arange(len(fresh))
    more = Tallies.empty(len(fresh), state.tallies.t)
    old, rows = state.accounts, read.current
    keep = np.flatnonzero(state.bucket[old.client] != bucket)
    return replace(
        state,
        client_ids=pa.concat_arrays([state.client_ids, read.clients.take(pa.array(fresh))]),
        bucket=np.concatenate([state.bucket, np.full(len(fresh), bucket, dtype=np.int64)]),
        accounts=AccountState(
            pa.concat_arrays(
                [
                    old.account_ids.take(pa.array(keep)),
                    read.accounts.take(pa.array(read.rows.account[rows])),
                ]
            ),
            np.concatenate([old.client[keep], code[read.rows.client[rows]]]),
            np.concatenate([old.opened_on[keep], read.rows.opened_on[rows]]),
            np.concatenate([old.closed_on[keep], read.rows.closed_on[rows]]),
        ),
        tallies=Tallies(
            state.tallies.t,
            np.concatenate([state.tallies.sums, more.sums]),
            np.concatenate([state.tallies.decayed, more.decayed]),
            np.concatenate([state.tallies.last, more.last]),
        ),
    )
